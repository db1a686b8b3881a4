//! Whether two saved states are the same in everything that a later step could see. In doubt it does not know.
//!
//! The walks that saved them visited objects in an order that depends on the state alone. So two states are the same if
//! their entries are, one by one: the same parts, the same bytes, and references that lead to the same values, or
//! to objects that were met at the same place.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString, PyTuple};

use super::saved::{Part, Saved};

/// Compares two states: `Some(false)` where they differ, `None` where it cannot be told.
pub(super) fn compare(py: Python<'_>, one: &Saved, other: &Saved) -> PyResult<Option<bool>> {
    let is_alike = one.entries.len() == other.entries.len()
        && one.references.len() == other.references.len()
        && one.bytes == other.bytes;
    if !is_alike {
        return Ok(Some(false));
    }
    let mut is_known = one.copies.is_none() && other.copies.is_none();
    for (a, b) in one.entries.iter().zip(&other.entries) {
        if (a.part, a.start, a.len) != (b.part, b.start, b.len) {
            return Ok(Some(false));
        }
        // Of an object made anew nothing is known but its parts: its class must be the same, and say no more.
        let (object, other) = (a.object.bind(py), b.object.bind(py));
        is_known &= object.is(other)
            || object.get_type().is(other.get_type())
                && (is_all_parts(a.part) || a.part == Part::Array && is_same_form(object, other)?);
    }
    for (a, b) in one.references.iter().zip(&other.references) {
        match (a, b) {
            (None, None) => {}
            (Some(a), Some(b)) => match is_same(py, (one, a), (other, b), DEPTH_MAX)? {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => is_known = false,
            },
            _ => return Ok(Some(false)),
        }
    }
    Ok(is_known.then_some(true))
}

/// Whether the parts of an object with such a part are all there is of it.
fn is_all_parts(part: Part) -> bool {
    match part {
        Part::Fields
        | Part::Slots
        | Part::Dict
        | Part::OrderedDict
        | Part::List
        | Part::Set
        | Part::ByteArray
        | Part::Cell => true,
        // The form of an array, the length limit of a deque and the like are not among the parts.
        Part::Deque
        | Part::ObjectArray
        | Part::Array
        | Part::StridedArray
        | Part::ArrayView
        | Part::RandomState
        | Part::Coordinates
        | Part::TypedArray
        | Part::Copied => false,
    }
}

/// Whether two plain arrays have the same shape and type of elements.
fn is_same_form(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(one.getattr("shape")?.eq(other.getattr("shape")?)?
        && one.getattr("dtype")?.eq(other.getattr("dtype")?)?)
}

fn is_same(
    py: Python<'_>,
    (one, a): (&Saved, &Py<PyAny>),
    (other, b): (&Saved, &Py<PyAny>),
    depth: usize,
) -> PyResult<Option<bool>> {
    match (one.first_entry(a), other.first_entry(b)) {
        (Some(a), Some(b)) => return Ok(Some(a == b)),
        (None, None) => {}
        _ => return Ok(Some(false)),
    }
    if a.is(b) {
        return Ok(Some(true));
    }
    let (value, another) = (a.bind(py), b.bind(py));
    if !value.get_type().is(another.get_type()) {
        return Ok(Some(false));
    }
    if let (Ok(value), Ok(another)) =
        (value.cast_exact::<PyFloat>(), another.cast_exact::<PyFloat>())
    {
        return Ok(Some(value.value().to_bits() == another.value().to_bits()));
    }
    let is_plain = value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBytes>();
    if is_plain {
        return value.eq(another).map(Some);
    }
    if let (Ok(value), Ok(another)) =
        (value.cast_exact::<PyTuple>(), another.cast_exact::<PyTuple>())
    {
        return is_same_tuple(py, (one, value), (other, another), depth);
    }
    if value.is_instance(&py.import("numpy")?.getattr("number")?)? {
        let (bytes, others) = (value.call_method0("tobytes")?, another.call_method0("tobytes")?);
        return bytes.eq(others).map(Some);
    }
    Ok(None)
}

fn is_same_tuple(
    py: Python<'_>,
    (one, a): (&Saved, &Bound<'_, PyTuple>),
    (other, b): (&Saved, &Bound<'_, PyTuple>),
    depth: usize,
) -> PyResult<Option<bool>> {
    if a.len() != b.len() {
        return Ok(Some(false));
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    let mut same = Some(true);
    for (a, b) in a.iter().zip(b.iter()) {
        match is_same(py, (one, &a.unbind()), (other, &b.unbind()), depth)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => same = None,
        }
    }
    Ok(same)
}

/// Tuples in tuples are looked into so far.
const DEPTH_MAX: usize = 16;
