//! Objects whose state Python cannot see are copied by `copy.deepcopy`, all of a snapshot in one
//! call, so that they go on referring to each other. Everything else keeps its identity.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use rustc_hash::FxHashMap;

use super::plan::{Kind, Plans};
use super::saved::{Entry, Part, Saved};
use crate::errors::Error;

/// Copies what has to be copied. On failure: the objects that cannot be, with the reason.
pub(crate) fn copy_opaque<'py>(
    py: Python<'py>,
    plans: &mut Plans,
    saved: &mut Saved,
) -> Result<Vec<(Bound<'py, PyAny>, String)>, Error> {
    if saved.opaque.is_empty() {
        return Ok(Vec::new());
    }
    tuples_of_opaque(py, plans, saved)?;
    let opaque = PyList::new(py, saved.opaque.iter().map(|object| object.bind(py)))?;
    match deepcopy(py, opaque.as_any(), keep(py, &saved.entries)?) {
        Ok(copies) => {
            saved.copies = Some(copies.cast_into::<PyList>().map_err(PyErr::from)?.unbind());
            Ok(Vec::new())
        }
        Err(_) => {
            let mut failures = Vec::new();
            for object in opaque.iter() {
                if let Err(error) = deepcopy(py, &object, keep(py, &saved.entries)?) {
                    failures.push((object, error.to_string()));
                }
            }
            Ok(failures)
        }
    }
}

/// Copies the copies, since the environment will change what it is given.
pub(crate) fn copies_again<'py>(
    py: Python<'py>,
    saved: &Saved,
) -> Result<FxHashMap<usize, Bound<'py, PyAny>>, Error> {
    let Some(copies) = &saved.copies else { return Ok(FxHashMap::default()) };
    let copies = deepcopy(py, copies.bind(py).as_any(), keep(py, &saved.entries)?)?;
    let copies = copies.cast::<PyList>()?.iter();
    Ok(saved.opaque.iter().map(|object| object.as_ptr() as usize).zip(copies).collect())
}

/// The memo that makes `deepcopy` share every object that is restored in place.
fn keep<'py>(py: Python<'py>, entries: &[Entry]) -> Result<Bound<'py, PyDict>, Error> {
    let memo = PyDict::new(py);
    for entry in entries.iter().filter(|entry| entry.part != Part::Copied) {
        memo.set_item(entry.object.as_ptr() as usize, &entry.object)?;
    }
    Ok(memo)
}

fn deepcopy<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    memo: Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("copy")?.call_method1("deepcopy", (value, memo))
}

/// A tuple cannot be given new elements, so one that holds an opaque object is copied with it.
fn tuples_of_opaque(py: Python<'_>, plans: &mut Plans, saved: &mut Saved) -> Result<(), Error> {
    let mut found = true;
    while found {
        found = false;
        let opaque: FxHashMap<usize, ()> =
            saved.opaque.iter().map(|object| (object.as_ptr() as usize, ())).collect();
        let mut tuples = Vec::new();
        for reference in saved.references.iter().flatten() {
            let reference = reference.bind(py);
            if plans.of(reference)?.1 == Kind::Tuple
                && !opaque.contains_key(&(reference.as_ptr() as usize))
                && holds_any(reference, &opaque)?
            {
                tuples.push(reference.clone());
            }
        }
        for tuple in tuples {
            if saved.opaque.iter().any(|known| known.is(&tuple)) {
                continue;
            }
            found = true;
            let place = saved.opaque.len();
            saved.opaque.push(tuple.clone().unbind());
            saved.add(&tuple, Part::Copied, place, 0);
        }
    }
    Ok(())
}

/// Whether a tuple, or a tuple in it, holds one of the objects.
fn holds_any(tuple: &Bound<'_, PyAny>, wanted: &FxHashMap<usize, ()>) -> Result<bool, Error> {
    let mut pending = vec![tuple.clone()];
    while let Some(tuple) = pending.pop() {
        for element in tuple.cast::<PyTuple>()?.iter() {
            if wanted.contains_key(&(element.as_ptr() as usize)) {
                return Ok(true);
            }
            if element.is_instance_of::<PyTuple>() {
                pending.push(element);
            }
        }
    }
    Ok(false)
}
