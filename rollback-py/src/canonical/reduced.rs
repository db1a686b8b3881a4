//! Objects that Python cannot look into, as what pickling would keep of them.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use rustc_hash::FxHashMap;

use crate::errors::Error;
use crate::snapshot::{Plans, Saved, Walk};

/// The pickled forms of the objects that had to be copied.
#[derive(Default)]
pub(crate) struct Reduced {
    pub(super) saved: Saved,
    pub(super) forms: FxHashMap<usize, Result<Py<PyAny>, String>>,
}

impl Reduced {
    /// Takes the pickled form of every copy, and of every opaque object in those forms.
    pub(crate) fn new(py: Python<'_>, plans: &mut Plans, outer: &Saved) -> Result<Self, Error> {
        let mut reduced = Self::default();
        let Some(copies) = &outer.copies else { return Ok(reduced) };
        for (object, copy) in outer.opaque.iter().zip(copies.bind(py).iter()) {
            reduced.add(plans, outer, object.bind(py), &copy)?;
        }
        let mut next = 0;
        while let Some(object) = reduced.saved.opaque.get(next) {
            let object = object.clone_ref(py);
            reduced.add(plans, outer, object.bind(py), object.bind(py))?;
            next += 1;
        }
        Ok(reduced)
    }

    fn add<'py>(
        &mut self,
        plans: &mut Plans,
        outer: &Saved,
        object: &Bound<'py, PyAny>,
        copy: &Bound<'py, PyAny>,
    ) -> Result<(), Error> {
        let form = if let Ok(tuple) = copy.cast_exact::<PyTuple>() {
            // A tuple copied because of its elements: its form is the elements.
            Ok(tuple.to_list().into_any())
        } else {
            pickled_form(copy)
        };
        let form = match form {
            Ok(form) => {
                Walk::new(object.py(), plans, &mut self.saved, Some(outer)).run(&form)?;
                Ok(form.unbind())
            }
            Err(error) => Err(error.to_string()),
        };
        self.forms.insert(object.as_ptr() as usize, form);
        Ok(())
    }
}

/// What pickling would keep of an object, as plain containers.
pub(super) fn pickled_form<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let registered = py.import("copyreg")?.getattr("dispatch_table")?;
    let reduce = registered.call_method1("get", (object.get_type(),))?;
    let form = if reduce.is_none() {
        object.call_method1("__reduce_ex__", (4,))?
    } else {
        reduce.call1((object,))?
    };
    let Ok(tuple) = form.cast::<PyTuple>() else { return Ok(form) };
    let parts = PyList::empty(py);
    for (place, part) in tuple.iter().enumerate() {
        // The fourth and fifth are iterators over elements and items.
        if (3..=4).contains(&place) && !part.is_none() {
            parts.append(part.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
        } else {
            parts.append(part)?;
        }
    }
    Ok(parts.into_any())
}
