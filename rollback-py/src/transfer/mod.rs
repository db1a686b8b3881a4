//! States that travel: a saved state as a plain value, and such a value written into the objects of another process.
//!
//! The value is `[roots, nodes]`. Each mutable object is a node `(class, entries)`, numbered in the order in which nodes are
//! first named, and named as `("r", number)`. An entry is one part of its object:
//!
//! | entry | of | content |
//! |---|---|---|
//! | `("F", [name, value …])` | fields in the order of the object, but for those that are not hashed | |
//! | `("S", [value …])` | slots | `("u",)` for one without a value |
//! | `("d" or "D", [key, value …])` | dict, OrderedDict | in their order |
//! | `("l" or "s", [value …])` | list, set (sorted by canonical encoding) | |
//! | `("q", maxlen, [value …])` | deque | |
//! | `("O", shape, [value …])` | array of objects | |
//! | `("a", order, array)` | array | the order of its memory, `"C"` or `"F"` |
//! | `("v", owner, offset, strides, array)` | view of an array | where in its owner it begins, in bytes |
//! | `("b", bytes)`, `("T", typecode, bytes)` | bytearray, `array.array` | |
//! | `("C", [value])` | cell of a closure | nothing for an empty one |
//! | `("R", value)` | random generator | what its own setter takes |
//! | `("x", [number …])` | rectangle, vector | |
//! | `("n", name, [value …])` | what has no state of its own | what it leads to |
//!
//! A value is a plain one itself, or a node's name, or `("t", [value …])` tuple, `("T", class, [value …])` named tuple,
//! `("z", [value …])` frozenset, `("c", re, im)` complex, `("B", number)` an object of the boundary, `("k", bytes)` what is
//! known by its canonical encoding alone.
//!
//! Whoever takes a state over writes it into its own objects, which it finds at the same places. It makes nothing but plain
//! values and containers, and instances of classes that it has seen in a state of this environment, without calling them.
//! What a module, a class or the factory holds is no state, whoever refers to it: it is never written to, but made anew.
//! What is known by its encoding alone is never made, only found among its own. Nothing is imported, looked up or evaluated.

mod content;
mod describe;
mod kept;
mod node;
mod receive;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

pub(crate) use describe::Describer;
pub(crate) use receive::Receiver;

use crate::canonical::{ByteSink, Reduced, Writer};
use crate::errors::Error;
use crate::snapshot::{Kind, Part, Plans, Saved};

/// The canonical encoding of one value by itself.
fn canonical_bytes(
    plans: &mut Plans,
    saved: &Saved,
    value: &Bound<'_, PyAny>,
) -> Result<Vec<u8>, Error> {
    let reduced = Reduced::default();
    let mut writer = Writer::new(value.py(), plans, saved, &reduced, ByteSink::default());
    writer.root("", value)?;
    Ok(writer.sink.bytes)
}

/// The name and the parts of an object that has no state of its own, but may lead to some.
fn leads_to<'py>(
    object: &Bound<'py, PyAny>,
    kind: Kind,
) -> Result<(String, Vec<Bound<'py, PyAny>>), Error> {
    let parts: &[&str] = match kind {
        Kind::BoundMethod | Kind::BoundBuiltin => &["__self__"],
        Kind::Generator => &["bit_generator"],
        Kind::Partial => &["func", "args", "keywords"],
        Kind::Function => {
            let cells = object.getattr("__closure__")?;
            let cells = cells.cast::<PyTuple>().map(|cells| cells.iter().collect());
            return Ok((name_of(object), cells.unwrap_or_default()));
        }
        _ => &[],
    };
    let parts = parts.iter().map(|name| object.getattr(*name)).collect::<PyResult<_>>()?;
    Ok((name_of(object), parts))
}

/// How the memory of an array is ordered: by rows, by columns, or `None` for any other way.
fn order_of(array: &Bound<'_, PyAny>) -> Result<Option<&'static str>, Error> {
    let flags = array.getattr("flags")?;
    if flags.getattr("c_contiguous")?.extract()? {
        return Ok(Some("C"));
    }
    Ok(flags.getattr("f_contiguous")?.extract::<bool>()?.then_some("F"))
}

/// Where in its owner's memory a view begins, in bytes, and its strides.
fn place_of<'py>(view: &Bound<'py, PyAny>) -> Result<(i64, Bound<'py, PyAny>), Error> {
    let begin = |array: &Bound<'py, PyAny>| -> PyResult<i64> {
        let interface = array.getattr("__array_interface__")?;
        interface.get_item("data")?.get_item(0)?.extract::<u64>().map(u64::cast_signed)
    };
    let offset = match crate::snapshot::owner_of(view)? {
        Some(owner) => begin(view)?.wrapping_sub(begin(&owner)?),
        None => 0,
    };
    Ok((offset, view.getattr("strides")?))
}

/// Whether a described value names an object.
fn names_a_node(tree: &Bound<'_, PyAny>) -> bool {
    if let Ok(list) = tree.cast::<PyList>() {
        return list.iter().any(|value| names_a_node(&value));
    }
    let Ok(tuple) = tree.cast::<PyTuple>() else { return false };
    let is_node = tuple.get_item(0).is_ok_and(|code| code.eq("r").unwrap_or(false));
    is_node || tuple.iter().any(|value| names_a_node(&value))
}

fn name_of(object: &Bound<'_, PyAny>) -> String {
    object.getattr("__qualname__").and_then(|name| name.extract()).unwrap_or_default()
}

/// Whether a value is known by its canonical encoding alone.
fn is_kept(plans: &mut Plans, saved: &Saved, value: &Bound<'_, PyAny>) -> Result<bool, Error> {
    let (number, kind) = plans.of(value)?;
    Ok(match kind {
        Kind::Enum | Kind::Constant | Kind::Named | Kind::Skipped => true,
        Kind::NumpyScalar => !crate::canonical::is_plain_scalar(value)?,
        Kind::Function => value.getattr("__closure__")?.is_none(),
        Kind::BoundBuiltin => {
            let owner = value.getattr("__self__")?;
            owner.is_none() || owner.is_instance_of::<pyo3::types::PyModule>()
        }
        // One that nobody can write to, or whose elements mean something only here.
        Kind::Array => {
            let is_constant = saved.parts(value).is_empty();
            let has_objects: bool = value.getattr("dtype")?.getattr("hasobject")?.extract()?;
            is_constant || !has_objects && !crate::canonical::is_plain_array(value)?
        }
        Kind::Bool | Kind::Int | Kind::Float | Kind::Str | Kind::Bytes => {
            plans.is_plain_value(number) && !plans.plan(value)?.exact
        }
        _ => false,
    })
}

/// The letter of an entry.
fn code(part: Part) -> &'static str {
    match part {
        Part::Fields => "F",
        Part::Slots => "S",
        Part::Dict => "d",
        Part::OrderedDict => "D",
        Part::List => "l",
        Part::Set => "s",
        Part::Deque => "q",
        Part::ObjectArray => "O",
        Part::Cell => "C",
        Part::Array | Part::StridedArray => "a",
        Part::ArrayView => "v",
        Part::ByteArray => "b",
        Part::RandomState => "R",
        Part::Coordinates => "x",
        Part::TypedArray => "T",
        Part::Copied => "-",
    }
}

/// How deep tuples may be nested, below the limit of the encoding.
const TUPLES_MAX: usize = 24;
