//! What an object with an identity becomes: its parts as the snapshot holds them, each in canonical order.

use std::sync::Arc;

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple};

use super::{Task, Writer, name_of};
use crate::canonical::emit;
use crate::canonical::places::Step;
use crate::canonical::sink::{PathId, Sink};
use crate::errors::Error;
use crate::snapshot::{Entry, FieldOrder, Kind, Part, Saved, append_bytes};

impl<'a, 'py, S: Sink> Writer<'a, 'py, S> {
    /// An object with an identity: written once, a number ever after.
    pub(super) fn object(
        &mut self,
        object: &Bound<'py, PyAny>,
        path: PathId,
        kind: Kind,
        exact: bool,
        class: &Arc<str>,
    ) -> Result<(), Error> {
        if !self.is_new(object)? {
            return Ok(());
        }
        let (saved, parts) = self.parts(object);
        if kind == Kind::Array && parts.is_empty() {
            return self.array(object, None);
        }
        match parts {
            [only] if only.part == Part::Copied => return self.copied(object, class, path),
            [only] if exact => return self.part(object, saved, only, path),
            _ => {}
        }
        self.out.push(b'o');
        emit::name(&mut self.out, class)?;
        emit::count(&mut self.out, parts.len())?;
        if matches!(
            kind,
            Kind::Int | Kind::Float | Kind::Str | Kind::Bytes | Kind::Tuple | Kind::FrozenSet
        ) {
            self.base_value(object, kind, path)?;
        }
        for entry in parts.iter().rev() {
            self.tasks.push(Task::Part { object: object.clone(), saved, entry, path });
        }
        Ok(())
    }

    /// What an object of a class derived from an immutable built-in is besides its fields.
    fn base_value(
        &mut self,
        object: &Bound<'py, PyAny>,
        kind: Kind,
        path: PathId,
    ) -> Result<(), Error> {
        match kind {
            Kind::Int => emit::int(&mut self.out, object.cast::<PyInt>()?)?,
            Kind::Float => emit::float_object(&mut self.out, object.cast::<PyFloat>()?),
            Kind::Str => emit::text(&mut self.out, object.cast::<PyString>()?)?,
            Kind::Bytes => emit::bytes(&mut self.out, b'b', object.cast::<PyBytes>()?.as_bytes())?,
            Kind::Tuple => {
                let elements = object.cast::<PyTuple>()?;
                self.out.push(b't');
                emit::count(&mut self.out, elements.len())?;
                self.sequence(path, elements.iter());
            }
            _ => {
                let elements = object.cast::<PyFrozenSet>()?.iter().collect();
                self.set(b'Z', elements, path)?;
            }
        }
        Ok(())
    }

    pub(super) fn part(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        match entry.part {
            Part::Fields => self.fields(object, saved, entry, path),
            Part::Dict => self.dict(saved, entry, path),
            Part::Slots => self.slots(object, saved, entry, path),
            Part::Array | Part::StridedArray | Part::ArrayView => {
                self.array(object, Some(saved.bytes(entry)))
            }
            Part::ByteArray => emit::bytes(&mut self.out, b'B', saved.bytes(entry)),
            Part::Set => {
                let elements = self.references(saved, entry).flatten().collect();
                self.set(b'S', elements, path)
            }
            Part::OrderedDict => {
                self.out.push(b'D');
                emit::count(&mut self.out, entry.len)?;
                let elements: Vec<_> = self.references(saved, entry).flatten().collect();
                self.sequence(path, elements.into_iter());
                Ok(())
            }
            Part::List | Part::Deque | Part::ObjectArray => {
                self.out.push(match entry.part {
                    Part::List => b'l',
                    Part::Deque => b'D',
                    _ => b'O',
                });
                emit::count(&mut self.out, entry.len)?;
                let start = self.tasks.len();
                for (index, value) in saved.references(entry).iter().enumerate() {
                    if let Some(value) = value {
                        self.child(value.bind(self.py).clone(), path, || Step::Index(index));
                    }
                }
                self.reverse(start);
                Ok(())
            }
            Part::Cell | Part::RandomState | Part::Coordinates => {
                self.out.push(if entry.part == Part::Cell { b'C' } else { b'g' });
                match saved.references(entry) {
                    [Some(value)] => {
                        let step =
                            || Step::Part(if entry.part == Part::Cell { "" } else { "state" });
                        self.child(value.bind(self.py).clone(), path, step);
                    }
                    _ => self.out.push(b'U'),
                }
                Ok(())
            }
            Part::TypedArray => {
                let code = name_of(object, "typecode");
                let Some(Some(copy)) = saved.references(entry).first() else { return Ok(()) };
                let raw = copy.bind(self.py).call_method0("tobytes")?;
                self.out.push(b'A');
                emit::name(&mut self.out, &code)?;
                emit::bytes(&mut self.out, b'b', raw.cast::<PyBytes>()?.as_bytes())
            }
            Part::Copied => {
                let class = self.plans.plan(object)?.name.clone();
                self.copied(object, &class, path)
            }
        }
    }

    fn fields(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        let pairs = saved.references(entry);
        let order = self.field_order(object, pairs)?;
        self.out.push(b'F');
        emit::count(&mut self.out, order.fields.len())?;
        let start = self.tasks.len();
        for (place, encoded) in &order.fields {
            let (Some(Some(name)), Some(Some(value))) =
                (pairs.get(place * 2), pairs.get(place * 2 + 1))
            else {
                continue;
            };
            let key = (self.keys.len(), self.keys.len() + encoded.len());
            self.keys.extend_from_slice(encoded);
            let value = value.bind(self.py).clone();
            let name = name.bind(self.py);
            let path = self.place(path, &value, || Step::Attribute(name.clone()));
            self.push(value, path, key);
        }
        self.reverse(start);
        Ok(())
    }

    /// The canonical order of the names, remembered for the class.
    fn field_order(
        &mut self,
        object: &Bound<'py, PyAny>,
        pairs: &[Option<Py<PyAny>>],
    ) -> Result<Arc<FieldOrder>, Error> {
        let names = || pairs.iter().step_by(2).map(Option::as_ref);
        if let Some(order) = &self.plans.plan(object)?.order
            && order.fits(names())
        {
            return Ok(order.clone());
        }
        let class = self.plans.plan(object)?.name.clone();
        let mut fields = Vec::new();
        for (place, name) in names().enumerate() {
            let Some(name) = name else { continue };
            let name = name.bind(self.py);
            if self.plans.is_hashed(&class, &name.str()?.to_string_lossy()) {
                fields.push((place, self.isolated(name)?));
            }
        }
        fields.sort_by(|a, b| a.1.cmp(&b.1));
        let names = names().flatten().map(|name| name.clone_ref(self.py)).collect();
        let order = Arc::new(FieldOrder { names, fields });
        self.plans.plan(object)?.order = Some(order.clone());
        Ok(order)
    }

    fn dict(&mut self, saved: &'a Saved, entry: &'a Entry, path: PathId) -> Result<(), Error> {
        let pairs = saved.references(entry);
        self.out.push(b'd');
        emit::count(&mut self.out, pairs.len() / 2)?;
        let mut sorted = Vec::with_capacity(pairs.len() / 2);
        for pair in pairs.chunks_exact(2) {
            let [Some(key), Some(value)] = pair else { continue };
            let key = key.bind(self.py);
            if !self.is_plain_key(key)? {
                let elements: Vec<_> = self.references(saved, entry).flatten().collect();
                self.sequence(path, elements.into_iter());
                return Ok(());
            }
            let start = self.keys.len();
            if let Ok(text) = key.cast_exact::<PyString>() {
                emit::text(&mut self.keys, text)?;
            } else if let Ok(int) = key.cast_exact::<PyInt>() {
                emit::int(&mut self.keys, int)?;
            } else {
                let encoded = self.isolated(key)?;
                self.keys.extend_from_slice(&encoded);
            }
            sorted.push((start, self.keys.len(), key, value.bind(self.py)));
        }
        let keys = &self.keys;
        sorted.sort_by(|a, b| keys.get(a.0..a.1).cmp(&keys.get(b.0..b.1)));
        let start = self.tasks.len();
        for (from, to, key, value) in sorted {
            let path = self.place(path, value, || Step::Key(key.clone()));
            self.push(value.clone(), path, (from, to));
        }
        self.reverse(start);
        Ok(())
    }

    fn slots(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        let slots = self.plans.plan(object)?.slots.clone();
        let mut sorted: Vec<_> = slots.iter().zip(saved.references(entry)).collect();
        sorted.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        self.out.push(b'F');
        emit::count(&mut self.out, sorted.len())?;
        let start = self.tasks.len();
        for (slot, value) in sorted {
            let name = PyString::new(self.py, &slot.name);
            let from = self.keys.len();
            emit::text(&mut self.keys, &name)?;
            let key = (from, self.keys.len());
            match value {
                Some(value) => {
                    let value = value.bind(self.py).clone();
                    let path = self.place(path, &value, || Step::Attribute(name.into_any()));
                    self.push(value, path, key);
                }
                None => self.tasks.push(Task::Unset { path }),
            }
        }
        self.reverse(start);
        Ok(())
    }

    fn array(&mut self, object: &Bound<'py, PyAny>, saved: Option<&[u8]>) -> Result<(), Error> {
        let array = object.cast::<PyUntypedArray>()?;
        let swap = emit::array_head(&mut self.out, array)?;
        match saved {
            Some(bytes) if !swap => {
                self.sink.write(&self.out);
                self.sink.write(bytes);
                self.written += self.out.len() + bytes.len();
                self.out.clear();
            }
            Some(bytes) => emit::elements(&mut self.out, &array.dtype(), swap, bytes),
            None => {
                let mut bytes = Vec::new();
                append_bytes(array, &mut bytes)?;
                emit::elements(&mut self.out, &array.dtype(), swap, &bytes);
            }
        }
        Ok(())
    }

    /// Elements in the order of their own encodings.
    pub(super) fn set(
        &mut self,
        tag: u8,
        elements: Vec<Bound<'py, PyAny>>,
        path: PathId,
    ) -> Result<(), Error> {
        self.out.push(tag);
        emit::count(&mut self.out, elements.len())?;
        let mut sorted = Vec::with_capacity(elements.len());
        for element in elements {
            sorted.push((self.isolated(&element)?, element));
        }
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let start = self.tasks.len();
        for (_, element) in sorted {
            self.child(element, path, || Step::Element);
        }
        self.reverse(start);
        Ok(())
    }
}
