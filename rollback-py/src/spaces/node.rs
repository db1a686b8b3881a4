//! One space as bytes: whole numbers as offsets in as few bytes as they need, arrays element by element,
//! texts as a length and places in the alphabet.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString, PyTuple};

use crate::errors::Error;

pub(super) enum Node {
    Discrete { count: u64, start: i64, class: Py<PyAny>, table: Vec<Py<PyAny>> },
    Array { elements: Elements, limits: Limits },
    Text { shortest: usize, longest: usize, characters: Vec<String> },
    Tuple(Vec<Self>),
    Dict(Vec<(Py<PyAny>, Self)>),
}

/// The elements of an array.
pub(super) struct Elements {
    pub(super) kind: u8,
    pub(super) size: usize,
    pub(super) count: usize,
    pub(super) shape: Py<PyTuple>,
    pub(super) dtype: Py<PyAny>,
    pub(super) little: Py<PyAny>,
}

/// The least and the greatest value of each element.
pub(super) enum Limits {
    /// Whole numbers from a small range, sent as the distance from the least.
    Offset(Vec<(i128, i128)>),
    /// Whole numbers, sent as they are.
    Whole(Vec<(i128, i128)>),
    Real(Vec<(f64, f64)>),
}

impl Node {
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Discrete { count, .. } => offset_width(u128::from(count.saturating_sub(1))),
            Self::Array { elements, limits } => match limits {
                Limits::Offset(limits) => limits.iter().map(limit_width).sum(),
                _ => elements.size * elements.count,
            },
            Self::Text { longest, characters, .. } => {
                offset_width(*longest as u128) + longest * letter_width(characters)
            }
            Self::Tuple(nodes) => nodes.iter().map(Self::width).sum(),
            Self::Dict(nodes) => nodes.iter().map(|(_, node)| node.width()).sum(),
        }
    }

    /// Appends an action; `false` if it is not in the space.
    pub(super) fn write(
        &self,
        action: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        match self {
            Self::Discrete { count, start, .. } => {
                let Some(value) = whole(action)? else { return Ok(false) };
                let offset = value.checked_sub(i128::from(*start));
                let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) else {
                    return Ok(false);
                };
                put_offset(out, u128::from(offset), self.width());
                Ok(offset < *count)
            }
            Self::Array { elements, limits } => write_array(elements, limits, action, out),
            Self::Text { shortest, longest, characters } => {
                let Ok(text) = action.cast::<PyString>() else { return Ok(false) };
                let letters: Vec<char> = text.to_string_lossy().chars().collect();
                if letters.len() < *shortest || letters.len() > *longest {
                    return Ok(false);
                }
                let end = out.len() + self.width();
                put_offset(out, letters.len() as u128, offset_width(*longest as u128));
                for letter in letters {
                    let Ok(place) = characters.binary_search(&letter.to_string()) else {
                        return Ok(false);
                    };
                    put_offset(out, place as u128, letter_width(characters));
                }
                out.resize(end, 0);
                Ok(true)
            }
            Self::Tuple(nodes) => {
                if action.len().unwrap_or(usize::MAX) != nodes.len() {
                    return Ok(false);
                }
                for (index, node) in nodes.iter().enumerate() {
                    if !node.write(&action.get_item(index)?, out)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Dict(nodes) => {
                if action.len().unwrap_or(usize::MAX) != nodes.len() {
                    return Ok(false);
                }
                for (key, node) in nodes {
                    let Ok(value) = action.get_item(key) else { return Ok(false) };
                    if !node.write(&value, out)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Reads an action that fills `width` bytes with zeros; `None` if the bytes are none.
    pub(super) fn read_all<'py>(
        &self,
        py: Python<'py>,
        bytes: &[u8],
        width: usize,
    ) -> Result<Option<Bound<'py, PyAny>>, Error> {
        let own = self.width();
        let (Some(action), Some(padding)) = (bytes.get(..own), bytes.get(own..)) else {
            return Ok(None);
        };
        if bytes.len() != width || padding.iter().any(|byte| *byte != 0) {
            return Ok(None);
        }
        self.read(py, action)
    }

    fn read<'py>(&self, py: Python<'py>, bytes: &[u8]) -> Result<Option<Bound<'py, PyAny>>, Error> {
        match self {
            Self::Discrete { count, start, class, table } => {
                let offset = get_offset(bytes);
                if offset >= u128::from(*count) {
                    return Ok(None);
                }
                let place = usize::try_from(offset).unwrap_or(usize::MAX);
                if let Some(value) = table.get(place) {
                    return Ok(Some(value.bind(py).clone()));
                }
                let value = i128::from(*start) + i128::try_from(offset).unwrap_or(i128::MAX);
                Ok(Some(class.bind(py).call1((value,))?))
            }
            Self::Array { elements, limits } => read_array(py, elements, limits, bytes),
            Self::Text { shortest, longest, characters } => {
                let (head, mut rest) =
                    bytes.split_at(offset_width(*longest as u128).min(bytes.len()));
                let length = usize::try_from(get_offset(head)).unwrap_or(usize::MAX);
                if length < *shortest || length > *longest {
                    return Ok(None);
                }
                let mut text = String::new();
                for _ in 0..length {
                    let (letter, after) = rest.split_at(letter_width(characters).min(rest.len()));
                    let place = usize::try_from(get_offset(letter)).unwrap_or(usize::MAX);
                    let Some(letter) = characters.get(place) else { return Ok(None) };
                    text.push_str(letter);
                    rest = after;
                }
                if rest.iter().any(|byte| *byte != 0) {
                    return Ok(None);
                }
                Ok(Some(PyString::new(py, &text).into_any()))
            }
            Self::Tuple(nodes) => {
                let mut values = Vec::new();
                let mut rest = bytes;
                for node in nodes {
                    let (own, after) = rest.split_at(node.width().min(rest.len()));
                    let Some(value) = node.read(py, own)? else { return Ok(None) };
                    values.push(value);
                    rest = after;
                }
                Ok(Some(PyTuple::new(py, values)?.into_any()))
            }
            Self::Dict(nodes) => {
                let values = PyDict::new(py);
                let mut rest = bytes;
                for (key, node) in nodes {
                    let (own, after) = rest.split_at(node.width().min(rest.len()));
                    let Some(value) = node.read(py, own)? else { return Ok(None) };
                    values.set_item(key, value)?;
                    rest = after;
                }
                Ok(Some(values.into_any()))
            }
        }
    }

    /// Appends the action of somebody who does nothing: the first one, or zeros as far as allowed.
    pub(super) fn write_idle(&self, py: Python<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Discrete { .. } | Self::Array { limits: Limits::Offset(_), .. } => {
                out.resize(out.len() + self.width(), 0);
            }
            Self::Array { elements, limits } => {
                let numpy = py.import("numpy")?;
                let zeros: Bound<'_, PyAny> = match limits {
                    Limits::Real(limits) => {
                        let zeros: Vec<f64> =
                            limits.iter().map(|(low, high)| 0.0_f64.max(*low).min(*high)).collect();
                        zeros.into_pyobject(py)?
                    }
                    Limits::Whole(limits) | Limits::Offset(limits) => {
                        let zeros: Vec<i128> =
                            limits.iter().map(|(low, high)| 0.max(*low).min(*high)).collect();
                        zeros.into_pyobject(py)?
                    }
                };
                let zeros = numpy.call_method1("array", (zeros, &elements.dtype))?;
                let zeros = zeros.call_method1("reshape", (&elements.shape,))?;
                self.write(&zeros, out)?;
            }
            Self::Text { shortest, .. } => {
                let Self::Text { longest, .. } = self else { return Ok(()) };
                put_offset(out, *shortest as u128, offset_width(*longest as u128));
                out.resize(out.len() + self.width() - offset_width(*longest as u128), 0);
            }
            Self::Tuple(nodes) => {
                for node in nodes {
                    node.write_idle(py, out)?;
                }
            }
            Self::Dict(nodes) => {
                for (_, node) in nodes {
                    node.write_idle(py, out)?;
                }
            }
        }
        Ok(())
    }
}

impl Limits {
    fn len(&self) -> usize {
        match self {
            Self::Offset(limits) | Self::Whole(limits) => limits.len(),
            Self::Real(limits) => limits.len(),
        }
    }
}

fn write_array(
    elements: &Elements,
    limits: &Limits,
    action: &Bound<'_, PyAny>,
    out: &mut Vec<u8>,
) -> Result<bool, Error> {
    let py = action.py();
    let numpy = py.import("numpy")?;
    let Ok(array) = numpy.call_method1("asarray", (action,)) else { return Ok(false) };
    if !array.getattr("shape")?.eq(&elements.shape)? {
        return Ok(false);
    }
    let arguments = PyDict::new(py);
    arguments.set_item("casting", "same_kind")?;
    let Ok(array) = array.call_method("astype", (&elements.little,), Some(&arguments)) else {
        return Ok(false);
    };
    let raw = array.call_method0("tobytes")?;
    let raw = raw.cast::<PyBytes>()?.as_bytes();
    if !is_within(elements, limits, raw) {
        return Ok(false);
    }
    if let Limits::Offset(limits) = limits {
        for (element, limit) in raw.chunks(elements.size.max(1)).zip(limits) {
            let offset = u128::try_from(integer(elements.kind, element) - limit.0).unwrap_or(0);
            put_offset(out, offset, limit_width(limit));
        }
    } else {
        out.extend_from_slice(raw);
    }
    Ok(true)
}

fn read_array<'py>(
    py: Python<'py>,
    elements: &Elements,
    limits: &Limits,
    bytes: &[u8],
) -> Result<Option<Bound<'py, PyAny>>, Error> {
    let mut raw = Vec::with_capacity(elements.size * elements.count);
    if let Limits::Offset(limits) = limits {
        let mut rest = bytes;
        for limit in limits {
            let (own, after) = rest.split_at(limit_width(limit).min(rest.len()));
            let value =
                limit.0.saturating_add(i128::try_from(get_offset(own)).unwrap_or(i128::MAX));
            if value > limit.1 {
                return Ok(None);
            }
            raw.extend(value.to_le_bytes().iter().take(elements.size));
            rest = after;
        }
    } else {
        raw.extend_from_slice(bytes);
    }
    if !is_within(elements, limits, &raw) {
        return Ok(None);
    }
    let numpy = py.import("numpy")?;
    let array = if raw.is_empty() {
        numpy.call_method1("empty", (0, &elements.little))?
    } else {
        // Over a `bytearray`, so that it can be written to, as what `sample` returns.
        numpy.call_method1("frombuffer", (PyByteArray::new(py, &raw), &elements.little))?
    };
    let array = array.call_method1("reshape", (&elements.shape,))?;
    let arguments = PyDict::new(py);
    arguments.set_item("copy", cfg!(target_endian = "big"))?;
    Ok(Some(array.call_method("astype", (&elements.dtype,), Some(&arguments))?))
}

/// Whether every element is within its limits. A NaN never is.
fn is_within(elements: &Elements, limits: &Limits, raw: &[u8]) -> bool {
    let chunks = raw.chunks_exact(elements.size.max(1));
    if chunks.len() != limits.len() {
        return false;
    }
    match limits {
        Limits::Offset(limits) | Limits::Whole(limits) => {
            chunks.zip(limits).all(|(element, (low, high))| {
                let bool_is_one = elements.kind != b'b' || element.iter().all(|byte| *byte <= 1);
                let value = integer(elements.kind, element);
                bool_is_one && *low <= value && value <= *high
            })
        }
        Limits::Real(limits) => chunks.zip(limits).all(|(element, (low, high))| {
            let value = real(element);
            *low <= value && value <= *high
        }),
    }
}

fn integer(kind: u8, element: &[u8]) -> i128 {
    let negative = kind == b'i' && element.last().is_some_and(|last| last & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    bytes.iter_mut().zip(element).for_each(|(to, from)| *to = *from);
    i128::from_le_bytes(bytes)
}

fn real(element: &[u8]) -> f64 {
    if let Ok(bytes) = <[u8; 8]>::try_from(element) {
        f64::from_le_bytes(bytes)
    } else if let Ok(bytes) = <[u8; 4]>::try_from(element) {
        f64::from(f32::from_le_bytes(bytes))
    } else if let Ok(bytes) = <[u8; 2]>::try_from(element) {
        half(u16::from_le_bytes(bytes))
    } else {
        f64::NAN
    }
}

/// An IEEE 754 half as a double.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}

/// A Python or numpy whole number that fits 64 bits; `None` for anything else, also for a bool.
fn whole(value: &Bound<'_, PyAny>) -> Result<Option<i128>, Error> {
    let py = value.py();
    if value.is_instance_of::<pyo3::types::PyBool>()
        || value.is_instance_of::<pyo3::types::PyFloat>()
    {
        return Ok(None);
    }
    let Ok(index) = py.import("operator")?.call_method1("index", (value,)) else {
        return Ok(None);
    };
    Ok(index.extract::<i128>().ok())
}

fn limit_width(limit: &(i128, i128)) -> usize {
    offset_width(u128::try_from(limit.1 - limit.0).unwrap_or(0))
}

fn letter_width(characters: &[String]) -> usize {
    offset_width(characters.len().saturating_sub(1) as u128)
}

/// How many bytes hold every number up to `largest`; at least one.
fn offset_width(largest: u128) -> usize {
    let bits = 128 - largest.leading_zeros() as usize;
    bits.div_ceil(8).max(1)
}

fn put_offset(out: &mut Vec<u8>, offset: u128, width: usize) {
    out.extend(offset.to_le_bytes().iter().take(width));
}

fn get_offset(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(all)
}
