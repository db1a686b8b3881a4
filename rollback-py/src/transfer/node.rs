//! Described nodes and values, each checked before it is used.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::Error;

/// One object of a described state.
pub(super) struct Node<'py> {
    pub(super) class: String,
    pub(super) entries: Vec<NodeEntry<'py>>,
}

/// One part of it.
#[derive(Clone)]
pub(super) struct NodeEntry<'py> {
    pub(super) code: String,
    tuple: Bound<'py, PyTuple>,
}

/// What a described value says.
pub(super) enum Content<'py> {
    /// A value that is itself.
    Plain,
    Complex(f64, f64),
    Node(usize),
    Boundary(usize),
    Kept(Bound<'py, PyBytes>),
    Tuple(Bound<'py, PyList>),
    NamedTuple(String, Bound<'py, PyList>),
    FrozenSet(Bound<'py, PyList>),
    /// A slot without a value.
    Unset,
}

impl<'py> Node<'py> {
    /// The values that stand for the roots, and all nodes.
    pub(super) fn all(
        described: &Bound<'py, PyAny>,
    ) -> Result<(Vec<Bound<'py, PyAny>>, Vec<Self>), Error> {
        let described = list(described)?;
        let (Ok(named), Ok(nodes), 2) =
            (described.get_item(0), described.get_item(1), described.len())
        else {
            return Err(refused("no description of a state"));
        };
        let nodes = list(&nodes)?.iter().map(|node| Self::of(&node)).collect::<Result<_, _>>()?;
        Ok((list(&named)?.iter().collect(), nodes))
    }

    fn of(node: &Bound<'py, PyAny>) -> Result<Self, Error> {
        let (class, entries) = match node.cast_exact::<PyTuple>() {
            Ok(node) if node.len() == 2 => (node.get_item(0)?, node.get_item(1)?),
            _ => return Err(refused("no object")),
        };
        let mut node = Self { class: text(&class)?, entries: Vec::new() };
        for entry in list(&entries)?.iter() {
            let Ok(tuple) = entry.cast_into_exact::<PyTuple>() else {
                return Err(refused("no part of an object"));
            };
            let Ok(code) = tuple.get_item(0) else { return Err(refused("no part of an object")) };
            node.entries.push(NodeEntry { code: text(&code)?, tuple });
        }
        Ok(node)
    }

    /// Whether an entry's values have no place of their own.
    pub(super) fn is_set(&self, entry: usize) -> bool {
        self.entries.get(entry).is_some_and(|entry| entry.code == "s")
    }
}

impl<'py> NodeEntry<'py> {
    pub(super) fn at(&self, place: usize) -> Result<Bound<'py, PyAny>, Error> {
        self.tuple.get_item(place).map_err(|_| refused("a part without its content"))
    }

    pub(super) fn list(&self, place: usize) -> Result<Bound<'py, PyList>, Error> {
        list(&self.at(place)?)
    }

    pub(super) fn text(&self, place: usize) -> Result<String, Error> {
        text(&self.at(place)?)
    }

    pub(super) fn array(&self, place: usize) -> Result<Bound<'py, PyAny>, Error> {
        let array = self.at(place)?;
        match crate::canonical::is_exact_array(&array) {
            true => Ok(array),
            false => Err(refused("no array")),
        }
    }

    /// Whether the array has the form and the numbers of another one.
    pub(super) fn is_array_like(
        &self,
        place: usize,
        other: &Bound<'py, PyAny>,
    ) -> Result<bool, Error> {
        let array = self.array(place)?;
        let is_equal = |name| -> PyResult<bool> { array.getattr(name)?.eq(other.getattr(name)?) };
        Ok(is_equal("dtype")? && is_equal("shape")?)
    }

    pub(super) fn array_bytes(&self, place: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.array(place)?.call_method0("tobytes")?;
        Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
    }
}

impl<'py> Content<'py> {
    pub(super) fn of(tree: &Bound<'py, PyAny>) -> Result<Self, Error> {
        let Ok(tuple) = tree.cast_exact::<PyTuple>() else {
            return is_atom(tree).then_some(Self::Plain).ok_or_else(|| refused("no value"));
        };
        let at = |place| tuple.get_item(place).map_err(|_| refused("a value without its content"));
        let number = || at(1)?.extract::<usize>().map_err(|_| refused("no number"));
        Ok(match &*text(&at(0)?)? {
            "r" => Self::Node(number()?),
            "B" => Self::Boundary(number()?),
            "k" => Self::Kept(at(1)?.cast_into_exact().map_err(|_| refused("no bytes"))?),
            "t" => Self::Tuple(list(&at(1)?)?),
            "T" => Self::NamedTuple(text(&at(1)?)?, list(&at(2)?)?),
            "z" => Self::FrozenSet(list(&at(1)?)?),
            "c" => {
                let part = |place| match at(place)?.cast_exact::<PyFloat>() {
                    Ok(part) => Ok(part.extract::<f64>()?),
                    Err(_) => Err(refused("no complex number")),
                };
                Self::Complex(part(1)?, part(2)?)
            }
            "u" => Self::Unset,
            _ => return Err(refused("an unknown value")),
        })
    }
}

/// Sees that a generator's own setter can take a state without harm: numpy does not look at how far into its numbers one is.
pub(super) fn check_random_state(state: &Bound<'_, PyAny>, is_python: bool) -> Result<(), Error> {
    if is_python {
        // `random.Random` does.
        return Ok(());
    }
    let Ok(state) = state.cast_exact::<PyDict>() else {
        return Err(refused("no state of a known generator"));
    };
    let name = field(state, "bit_generator").and_then(|name| name.extract::<String>().ok());
    let inner = field(state, "state").and_then(|inner| inner.cast_into_exact::<PyDict>().ok());
    let within = |place: Option<Bound<'_, PyAny>>, max: u32| {
        place.and_then(|place| place.extract::<u32>().ok()).is_some_and(|place| place <= max)
    };
    let is_right = match name.as_deref() {
        Some("PCG64" | "PCG64DXSM" | "SFC64") => true,
        Some("MT19937") => inner.is_some_and(|inner| within(field(&inner, "pos"), MT19937_NUMBERS)),
        Some("Philox") => within(field(state, "buffer_pos"), PHILOX_NUMBERS),
        _ => false,
    };
    if is_right { Ok(()) } else { Err(refused("no state of a known generator")) }
}

fn field<'py>(dict: &Bound<'py, PyDict>, name: &str) -> Option<Bound<'py, PyAny>> {
    dict.get_item(name).ok().flatten()
}

pub(super) fn refused(what: &str) -> Error {
    Error::Refused { what: what.to_owned() }
}

fn list<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyList>, Error> {
    Ok(value.cast_exact::<PyList>().map_err(|_| refused("no list"))?.clone())
}

fn text(value: &Bound<'_, PyAny>) -> Result<String, Error> {
    let text = value.cast_exact::<PyString>().map_err(|_| refused("no text"))?;
    Ok(text.to_string_lossy().into_owned())
}

fn is_atom(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBytes>()
        || crate::canonical::is_plain_scalar(value).unwrap_or(false)
}

/// How many numbers these generators make at once.
const MT19937_NUMBERS: u32 = 624;
const PHILOX_NUMBERS: u32 = 4;
