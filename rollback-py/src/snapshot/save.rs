//! Walks over a state and notes what is in every mutable object of it.

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyByteArrayMethods, PyDict, PyFrozenSet, PyList, PySet, PyTuple};

use super::array::{self, Storage};
use super::plan::{Kind, Plans, fields};
use super::saved::{OBJECTS_MAX, Part, Saved};
use crate::errors::Error;

/// One walk. It uses a list of what is still to be visited instead of recursion, so that a linked
/// list of any length is no problem.
pub(crate) struct Walk<'a, 'py> {
    py: Python<'py>,
    plans: &'a mut Plans,
    saved: &'a mut Saved,
    /// Objects that another snapshot already holds are not visited again.
    outer: Option<&'a Saved>,
    pending: Vec<(Bound<'py, PyAny>, u32, Kind)>,
}

impl<'a, 'py> Walk<'a, 'py> {
    pub(crate) fn new(
        py: Python<'py>,
        plans: &'a mut Plans,
        saved: &'a mut Saved,
        outer: Option<&'a Saved>,
    ) -> Self {
        Self { py, plans, saved, outer, pending: Vec::new() }
    }

    /// Visits everything that can be reached from `root`.
    pub(crate) fn run(&mut self, root: &Bound<'py, PyAny>) -> Result<(), Error> {
        self.note(root)?;
        while let Some((object, plan, kind)) = self.pending.pop() {
            if self.saved.visited_count() > OBJECTS_MAX {
                return Err(Error::TooManyObjects { max: OBJECTS_MAX });
            }
            self.object(&object, plan, kind)?;
        }
        Ok(())
    }

    /// Puts a value on the list, unless nothing is to be saved of it.
    fn note(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Error> {
        let (plan, kind) = self.plans.of(value)?;
        if kind.is_leaf() && self.plans.is_plain_value(plan) {
            return Ok(());
        }
        if self.outer.is_some_and(|outer| outer.was_visited(value)) {
            return Ok(());
        }
        if self.saved.visit(value) {
            self.pending.push((value.clone(), plan, kind));
        }
        Ok(())
    }

    fn object(&mut self, object: &Bound<'py, PyAny>, plan: u32, kind: Kind) -> Result<(), Error> {
        self.content(object, kind)?;
        let (has_dict, slots) = self.plans.layout(plan);
        if kind == Kind::Opaque {
            return Ok(());
        }
        if has_dict {
            let fields = fields(object)?;
            self.pairs(object, &fields, Part::Fields)?;
        }
        if let Some(slots) = slots {
            let start = self.saved.references.len();
            for slot in slots.iter() {
                let value = slot
                    .descriptor
                    .bind(self.py)
                    .call_method1(pyo3::intern!(self.py, "__get__"), (object, object.get_type()));
                self.optional(value.ok())?;
            }
            self.saved.add(object, Part::Slots, start, slots.len());
        }
        Ok(())
    }

    fn content(&mut self, object: &Bound<'py, PyAny>, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::List => self.list(object.cast::<PyList>()?),
            Kind::Dict => self.pairs(object, object.cast::<PyDict>()?, Part::Dict),
            Kind::Tuple => {
                for element in object.cast::<PyTuple>()?.iter() {
                    self.note(&element)?;
                }
                Ok(())
            }
            Kind::Array => self.array(object),
            Kind::Set => {
                let elements = object.cast::<PySet>()?.iter();
                self.elements(object, Part::Set, elements.map(Ok))
            }
            Kind::FrozenSet => {
                for element in object.cast::<PyFrozenSet>()?.iter() {
                    self.note(&element)?;
                }
                Ok(())
            }
            Kind::Deque => self.elements(object, Part::Deque, object.try_iter()?),
            Kind::OrderedDict => self.ordered_dict(object),
            Kind::ByteArray => {
                let start = self.saved.bytes.len();
                self.saved.bytes.extend_from_slice(&object.cast::<PyByteArray>()?.to_vec());
                self.saved.add(object, Part::ByteArray, start, self.saved.bytes.len() - start);
                Ok(())
            }
            Kind::Function => self.cells(object),
            Kind::Cell => {
                let start = self.saved.references.len();
                self.optional(object.getattr(pyo3::intern!(self.py, "cell_contents")).ok())?;
                self.saved.add(object, Part::Cell, start, 1);
                Ok(())
            }
            _ => self.special(object, kind),
        }
    }

    /// Kinds that are reached through attributes or methods of their own.
    fn special(&mut self, object: &Bound<'py, PyAny>, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::BoundMethod | Kind::BoundBuiltin => self.attribute(object, "__self__"),
            Kind::Generator => self.attribute(object, "bit_generator"),
            Kind::Partial => {
                for name in ["func", "args", "keywords"] {
                    self.attribute(object, name)?;
                }
                Ok(())
            }
            Kind::BitGenerator => {
                let state = object.getattr(pyo3::intern!(self.py, "state"))?;
                self.value(object, Part::RandomState, state)
            }
            Kind::RandomState => {
                let state = object.call_method1("get_state", (false,))?;
                self.value(object, Part::RandomState, state)
            }
            Kind::PythonRandom => {
                let state = object.call_method0(pyo3::intern!(self.py, "getstate"))?;
                self.value(object, Part::RandomState, state)
            }
            Kind::Rect | Kind::Vector => {
                let coordinates =
                    PyTuple::new(self.py, object.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
                self.value(object, Part::Coordinates, coordinates.into_any())
            }
            Kind::TypedArray => {
                let copy = object.call_method0("__copy__")?;
                let start = self.saved.references.len();
                self.saved.references.push(Some(copy.unbind()));
                self.saved.add(object, Part::TypedArray, start, 1);
                Ok(())
            }
            Kind::Opaque => {
                self.opaque(object);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn list(&mut self, list: &Bound<'py, PyList>) -> Result<(), Error> {
        let start = self.saved.references.len();
        for element in list.iter() {
            self.note(&element)?;
            self.saved.references.push(Some(element.unbind()));
        }
        self.saved.add(list.as_any(), Part::List, start, self.saved.references.len() - start);
        Ok(())
    }

    fn pairs(
        &mut self,
        object: &Bound<'py, PyAny>,
        dict: &Bound<'py, PyDict>,
        part: Part,
    ) -> Result<(), Error> {
        let start = self.saved.references.len();
        for (key, value) in dict.iter() {
            if part == Part::Dict {
                self.note(&key)?;
            }
            self.note(&value)?;
            self.saved.references.push(Some(key.unbind()));
            self.saved.references.push(Some(value.unbind()));
        }
        self.saved.add(object, part, start, self.saved.references.len() - start);
        Ok(())
    }

    fn ordered_dict(&mut self, object: &Bound<'py, PyAny>) -> Result<(), Error> {
        let start = self.saved.references.len();
        for key in object.try_iter()? {
            let key = key?;
            let value = object.cast::<PyDict>()?.get_item(&key)?;
            self.note(&key)?;
            self.saved.references.push(Some(key.unbind()));
            self.optional(value)?;
        }
        let len = self.saved.references.len() - start;
        self.saved.add(object, Part::OrderedDict, start, len);
        Ok(())
    }

    fn elements(
        &mut self,
        object: &Bound<'py, PyAny>,
        part: Part,
        elements: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    ) -> Result<(), Error> {
        let start = self.saved.references.len();
        for element in elements {
            self.optional(Some(element?))?;
        }
        self.saved.add(object, part, start, self.saved.references.len() - start);
        Ok(())
    }

    fn array(&mut self, object: &Bound<'py, PyAny>) -> Result<(), Error> {
        let array = object.cast::<PyUntypedArray>()?;
        let part = match array::storage(array)? {
            // The encoder reads it where it is.
            Storage::Constant => return Ok(()),
            Storage::Objects => {
                if !array.dtype().getattr("fields")?.is_none() {
                    // Objects inside records: only numpy knows where.
                    self.opaque(object);
                    return Ok(());
                }
                let elements = object.getattr("flat")?;
                return self.elements(object, Part::ObjectArray, elements.try_iter()?);
            }
            Storage::Contiguous => Part::Array,
            Storage::Strided => Part::StridedArray,
            Storage::View => {
                if let Some(owner) = array::owner(array)? {
                    self.note(&owner)?;
                }
                Part::ArrayView
            }
        };
        let start = self.saved.bytes.len();
        let len = array::append_bytes(array, &mut self.saved.bytes)?;
        self.saved.add(object, part, start, len);
        Ok(())
    }

    /// An object that only `copy.deepcopy` may know how to save.
    fn opaque(&mut self, object: &Bound<'py, PyAny>) {
        let place = self.saved.opaque.len();
        self.saved.opaque.push(object.clone().unbind());
        self.saved.add(object, Part::Copied, place, 0);
    }

    /// A function is shared; what it closes over is state and is written back in its cells.
    fn cells(&mut self, function: &Bound<'py, PyAny>) -> Result<(), Error> {
        let closure = function.getattr(pyo3::intern!(self.py, "__closure__"))?;
        if let Ok(closure) = closure.cast::<PyTuple>() {
            for cell in closure.iter() {
                self.note(&cell)?;
            }
        }
        Ok(())
    }

    fn attribute(&mut self, object: &Bound<'py, PyAny>, name: &str) -> Result<(), Error> {
        let value = object.getattr(name)?;
        self.note(&value)
    }

    /// An entry of one value that is made anew for each snapshot.
    fn value(
        &mut self,
        object: &Bound<'py, PyAny>,
        part: Part,
        value: Bound<'py, PyAny>,
    ) -> Result<(), Error> {
        let start = self.saved.references.len();
        self.optional(Some(value))?;
        self.saved.add(object, part, start, 1);
        Ok(())
    }

    fn optional(&mut self, value: Option<Bound<'py, PyAny>>) -> Result<(), Error> {
        if let Some(value) = &value {
            self.note(value)?;
        }
        self.saved.references.push(value.map(Bound::unbind));
        Ok(())
    }
}
