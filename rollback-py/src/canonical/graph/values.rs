//! What a single value becomes: plain ones by their bytes, functions and classes by name, the rest by what they
//! consist of.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{
    PyBytes, PyComplex, PyComplexMethods, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple,
};

use super::{Writer, name_of};
use crate::canonical::emit;
use crate::canonical::places::Step;
use crate::canonical::reduced::{Reduced, pickled_form};
use crate::canonical::sink::{ByteSink, PathId, Sink};
use crate::errors::Error;
use crate::snapshot::{Kind, Saved, Walk};

impl<'py, S: Sink> Writer<'_, 'py, S> {
    pub(super) fn value(&mut self, value: &Bound<'py, PyAny>, path: PathId) -> Result<(), Error> {
        let (number, kind) = self.plans.of(value)?;
        let plain = self.plans.is_plain_value(number);
        let plan = self.plans.plan(value)?;
        let (exact, class) = (plan.exact, plan.name.clone());
        if plain && (exact || kind == Kind::NumpyScalar) {
            match kind {
                Kind::None => self.out.push(b'N'),
                Kind::Bool => self.out.push(if value.is_truthy()? { b'T' } else { b'F' }),
                Kind::Int => emit::int(&mut self.out, value.cast::<PyInt>()?)?,
                Kind::Float => emit::float_object(&mut self.out, value.cast::<PyFloat>()?),
                Kind::Str => emit::text(&mut self.out, value.cast::<PyString>()?)?,
                Kind::Bytes => {
                    emit::bytes(&mut self.out, b'b', value.cast::<PyBytes>()?.as_bytes())?;
                }
                Kind::Complex => {
                    let value = value.cast::<PyComplex>()?;
                    self.out.push(b'c');
                    emit::float(&mut self.out, value.real());
                    emit::float(&mut self.out, value.imag());
                }
                Kind::NumpyScalar => emit::scalar(&mut self.out, value)?,
                _ => return self.other(value, path, kind, exact, &class),
            }
            return Ok(());
        }
        self.other(value, path, kind, exact, &class)
    }

    fn other(
        &mut self,
        value: &Bound<'py, PyAny>,
        path: PathId,
        kind: Kind,
        exact: bool,
        class: &Arc<str>,
    ) -> Result<(), Error> {
        match kind {
            Kind::Enum => {
                self.out.push(b'e');
                emit::name(&mut self.out, class)?;
                emit::name(&mut self.out, &name_of(value, "_name_"))
            }
            Kind::Named => self.named(value),
            Kind::Skipped => {
                self.out.push(b'x');
                emit::name(&mut self.out, class)
            }
            Kind::Constant => self.constant(value, class, path),
            Kind::Tuple if exact && self.parts(value).1.is_empty() => {
                let elements = value.cast::<PyTuple>()?;
                self.out.push(b't');
                emit::count(&mut self.out, elements.len())?;
                self.sequence(path, elements.iter());
                Ok(())
            }
            Kind::FrozenSet if exact => {
                let elements = value.cast::<PyFrozenSet>()?.iter().collect();
                self.set(b'Z', elements, path)
            }
            Kind::BoundMethod | Kind::BoundBuiltin => {
                let owner = value.getattr("__self__")?;
                if owner.is_none() || owner.is_instance_of::<pyo3::types::PyModule>() {
                    return self.named(value);
                }
                self.out.push(b'm');
                emit::name(&mut self.out, &name_of(value, "__qualname__"))?;
                self.child(owner, path, || Step::Part("__self__"));
                Ok(())
            }
            Kind::Partial => {
                self.out.push(b'P');
                self.attributes(value, path, &["func", "args", "keywords"])
            }
            Kind::Generator => {
                self.out.push(b'G');
                self.attributes(value, path, &["bit_generator"])
            }
            Kind::Function => self.function(value, path),
            _ => self.object(value, path, kind, exact, class),
        }
    }

    fn function(&mut self, function: &Bound<'py, PyAny>, path: PathId) -> Result<(), Error> {
        let closure = function.getattr(pyo3::intern!(self.py, "__closure__"))?;
        let Ok(cells) = closure.cast::<PyTuple>() else { return self.named(function) };
        if !self.is_new(function)? {
            return Ok(());
        }
        self.out.push(b'k');
        emit::name(&mut self.out, &name_of(function, "__qualname__"))?;
        emit::count(&mut self.out, cells.len())?;
        let names = function.getattr("__code__")?.getattr("co_freevars")?;
        let start = self.tasks.len();
        for (cell, name) in cells.iter().zip(names.cast::<PyTuple>()?.iter()) {
            self.child(cell, path, || Step::Attribute(name));
        }
        self.reverse(start);
        Ok(())
    }

    fn named(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Error> {
        self.out.push(b'q');
        let mut name = name_of(value, "__qualname__");
        if name.is_empty() {
            name = name_of(value, "__name__");
        }
        if name.is_empty() {
            name = value.str()?.to_string_lossy().into_owned();
        }
        emit::name(&mut self.out, &name)
    }

    /// An object that was copied because nothing is known of it: by its pickled form.
    pub(super) fn copied(
        &mut self,
        object: &Bound<'py, PyAny>,
        class: &Arc<str>,
        path: PathId,
    ) -> Result<(), Error> {
        if self.is_lenient {
            return Ok(());
        }
        match self.reduced.forms.get(&(object.as_ptr() as usize)) {
            Some(Ok(form)) => {
                self.out.push(b'R');
                emit::name(&mut self.out, class)?;
                self.child(form.bind(self.py).clone(), path, || Step::Part(""));
                Ok(())
            }
            Some(Err(cause)) => Err(self.unencodable(class, path, cause.clone())),
            None => Err(self.unencodable(class, path, "it was not copied".to_owned())),
        }
    }

    /// An immutable value: by its pickled form, which has nothing to do with the rest of the state.
    fn constant(
        &mut self,
        value: &Bound<'py, PyAny>,
        class: &Arc<str>,
        path: PathId,
    ) -> Result<(), Error> {
        let form = pickled_form(value)
            .map_err(|error| self.unencodable(class, path, error.to_string()))?;
        let mut saved = Saved::default();
        Walk::new(self.py, self.plans, &mut saved, None).run(&form)?;
        let reduced = Reduced::default();
        let depth = self.deeper()?;
        let mut writer = Writer::new(self.py, self.plans, &saved, &reduced, ByteSink::default());
        writer.depth = depth;
        writer.root("", &form)?;
        let bytes = writer.sink.bytes;
        self.out.push(b'R');
        emit::name(&mut self.out, class)?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }
}
