//! Writes the contents of a snapshot back into the very objects they came from, so that every
//! reference that anybody holds stays valid. What has not changed is not written.

use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyByteArrayMethods, PyDict, PyList, PySet, PyTuple};
use rustc_hash::FxHashMap;

use super::array;
use super::copied::copies_again;
use super::plan::{Plans, fields};
use super::saved::{Entry, Part, Saved};
use crate::errors::Error;

/// Restores the state. On an error the state is undefined.
pub(crate) fn restore(py: Python<'_>, plans: &mut Plans, saved: &Saved) -> Result<(), Error> {
    let fresh = copies_again(py, saved)?;
    let restorer = Restorer { py, saved, fresh };
    // Dictionaries and sets come last: placing a key may call a `__hash__` that reads its fields.
    let (keyed, others): (Vec<_>, Vec<_>) = saved
        .entries
        .iter()
        .partition(|entry| matches!(entry.part, Part::Dict | Part::Set | Part::OrderedDict));
    for entry in others.into_iter().chain(keyed) {
        restorer.entry(plans, entry)?;
    }
    Ok(())
}

struct Restorer<'a, 'py> {
    py: Python<'py>,
    saved: &'a Saved,
    /// From the address of each object that had to be copied to the copy that takes its place.
    fresh: FxHashMap<usize, Bound<'py, PyAny>>,
}

impl<'py> Restorer<'_, 'py> {
    fn entry(&self, plans: &mut Plans, entry: &Entry) -> Result<(), Error> {
        let object = entry.object.bind(self.py);
        match entry.part {
            Part::Fields => self.pairs(&fields(object)?, entry),
            Part::Dict => self.pairs(object.cast::<PyDict>()?, entry),
            Part::List => self.list(object.cast::<PyList>()?, entry),
            Part::Array | Part::StridedArray => {
                array::write_bytes(object.cast::<PyUntypedArray>()?, self.saved.bytes(entry))
            }
            Part::ArrayView => self.view(object, entry),
            Part::Slots => self.slots(plans, object, entry),
            Part::OrderedDict => self.ordered_dict(object, entry),
            Part::Set => self.set(object.cast::<PySet>()?, entry),
            Part::Deque => self.deque(object, entry),
            Part::ObjectArray => {
                let flat = object.getattr("flat")?;
                for (index, value) in self.values(entry).enumerate() {
                    flat.set_item(index, value)?;
                }
                Ok(())
            }
            Part::Cell => self.cell(object, entry),
            Part::ByteArray => {
                let array = object.cast::<PyByteArray>()?;
                let bytes = self.saved.bytes(entry);
                if array.to_vec() != bytes {
                    array.call_method1("clear", ())?;
                    array.call_method1("extend", (pyo3::types::PyBytes::new(self.py, bytes),))?;
                }
                Ok(())
            }
            Part::RandomState => self.random_state(object, entry),
            Part::Coordinates => {
                let Some(value) = self.values(entry).next().flatten() else { return Ok(()) };
                object.call_method1("update", value.cast::<PyTuple>()?.clone())?;
                Ok(())
            }
            Part::TypedArray => {
                let Some(value) = self.values(entry).next().flatten() else { return Ok(()) };
                let all = pyo3::types::PySlice::full(self.py);
                Ok(object.set_item(all, value)?)
            }
            Part::Copied => Ok(()),
        }
    }

    /// The saved references, with copies in place of what had to be copied.
    fn values<'s>(
        &'s self,
        entry: &'s Entry,
    ) -> impl DoubleEndedIterator<Item = Option<Bound<'py, PyAny>>> + ExactSizeIterator + 's {
        self.saved.references(entry).iter().map(|value| {
            let value = value.as_ref()?.bind(self.py);
            if self.fresh.is_empty() {
                return Some(value.clone());
            }
            Some(self.fresh.get(&(value.as_ptr() as usize)).unwrap_or(value).clone())
        })
    }

    fn pairs(&self, dict: &Bound<'py, PyDict>, entry: &Entry) -> Result<(), Error> {
        let saved = self.saved.references(entry);
        let mut changed = Vec::new();
        let mut same_keys = dict.len() * 2 == saved.len();
        if same_keys {
            let mut live = dict.iter();
            for pair in saved.chunks_exact(2) {
                let ([Some(key), Some(value)], Some((live_key, live_value))) = (pair, live.next())
                else {
                    same_keys = false;
                    break;
                };
                if !live_key.is(key) {
                    same_keys = false;
                    break;
                }
                let value = self.current(value);
                if !live_value.is(&value) {
                    changed.push((live_key, value));
                }
            }
        }
        if same_keys {
            for (key, value) in changed {
                dict.set_item(key, value)?;
            }
            return Ok(());
        }
        dict.clear();
        for pair in saved.chunks_exact(2) {
            if let [Some(key), Some(value)] = pair {
                dict.set_item(self.current(key), self.current(value))?;
            }
        }
        Ok(())
    }

    fn current(&self, value: &Py<PyAny>) -> Bound<'py, PyAny> {
        let value = value.bind(self.py);
        if self.fresh.is_empty() {
            return value.clone();
        }
        self.fresh.get(&(value.as_ptr() as usize)).unwrap_or(value).clone()
    }

    fn list(&self, list: &Bound<'py, PyList>, entry: &Entry) -> Result<(), Error> {
        if list.len() == entry.len {
            for (index, value) in self.values(entry).enumerate() {
                let Some(value) = value else { continue };
                if !list.get_item(index)?.is(&value) {
                    list.set_item(index, value)?;
                }
            }
            return Ok(());
        }
        let values = PyList::new(self.py, self.values(entry).flatten().collect::<Vec<_>>())?;
        Ok(list.set_slice(0, list.len(), values.as_any())?)
    }

    /// A view over an array is restored with its owner; a view over anything else writes for itself.
    fn view(&self, object: &Bound<'py, PyAny>, entry: &Entry) -> Result<(), Error> {
        let array = object.cast::<PyUntypedArray>()?;
        if array::owner(array)?.is_some() {
            return Ok(());
        }
        array::write_bytes(array, self.saved.bytes(entry))
    }

    fn slots(
        &self,
        plans: &mut Plans,
        object: &Bound<'py, PyAny>,
        entry: &Entry,
    ) -> Result<(), Error> {
        let slots = plans.plan(object)?.slots.clone();
        for (slot, value) in slots.iter().zip(self.values(entry)) {
            let descriptor = slot.descriptor.bind(self.py);
            if let Some(value) = value {
                descriptor.call_method1(pyo3::intern!(self.py, "__set__"), (object, value))?;
            } else if descriptor.call_method1("__get__", (object, object.get_type())).is_ok() {
                descriptor.call_method1("__delete__", (object,))?;
            }
        }
        Ok(())
    }

    fn ordered_dict(&self, object: &Bound<'py, PyAny>, entry: &Entry) -> Result<(), Error> {
        object.call_method0("clear")?;
        let values: Vec<_> = self.values(entry).collect();
        for pair in values.chunks_exact(2) {
            if let [Some(key), Some(value)] = pair {
                // Not `object[key] = value`: a derived class may have made that do more.
                let base = self.py.import("collections")?.getattr("OrderedDict")?;
                base.call_method1("__setitem__", (object, key, value))?;
            }
        }
        Ok(())
    }

    fn set(&self, set: &Bound<'py, PySet>, entry: &Entry) -> Result<(), Error> {
        let same = !self.saved.refills
            && set.len() == entry.len
            && set.iter().zip(self.values(entry)).all(|(a, b)| b.is_some_and(|b| a.is(&b)));
        if same {
            return Ok(());
        }
        set.clear();
        for value in self.values(entry).flatten() {
            set.add(value)?;
        }
        Ok(())
    }

    fn deque(&self, object: &Bound<'py, PyAny>, entry: &Entry) -> Result<(), Error> {
        let same = object.len()? == entry.len
            && object
                .try_iter()?
                .zip(self.values(entry))
                .all(|(a, b)| matches!((a, b), (Ok(a), Some(b)) if a.is(&b)));
        if same {
            return Ok(());
        }
        object.call_method0("clear")?;
        for value in self.values(entry).flatten() {
            object.call_method1("append", (value,))?;
        }
        Ok(())
    }

    fn cell(&self, object: &Bound<'py, PyAny>, entry: &Entry) -> Result<(), Error> {
        let name = pyo3::intern!(self.py, "cell_contents");
        match self.values(entry).next().flatten() {
            Some(value) => Ok(object.setattr(name, value)?),
            None if object.getattr(name).is_ok() => Ok(object.delattr(name)?),
            None => Ok(()),
        }
    }

    fn random_state(&self, object: &Bound<'py, PyAny>, entry: &Entry) -> Result<(), Error> {
        let Some(state) = self.values(entry).next().flatten() else { return Ok(()) };
        if object.hasattr(pyo3::intern!(self.py, "state"))? {
            return Ok(object.setattr(pyo3::intern!(self.py, "state"), state)?);
        }
        let setter = if object.hasattr("setstate")? { "setstate" } else { "set_state" };
        object.call_method1(setter, (state,))?;
        Ok(())
    }
}
