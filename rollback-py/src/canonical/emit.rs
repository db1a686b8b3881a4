//! The bytes of single values. Shared by the encoder of values and the writer of states.

use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString};

use crate::errors::Error;

/// The one NaN that is written for every NaN.
const CANONICAL_NAN: u64 = 0x7ff8_0000_0000_0000;

pub(crate) fn count(out: &mut Vec<u8>, count: usize) -> Result<(), Error> {
    let count = u32::try_from(count)
        .map_err(|_| Error::EncodingTooLong { max: super::ENCODED_BYTES_MAX })?;
    out.extend_from_slice(&count.to_le_bytes());
    Ok(())
}

pub(crate) fn name(out: &mut Vec<u8>, name: &str) -> Result<(), Error> {
    count(out, name.len())?;
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

pub(crate) fn int(out: &mut Vec<u8>, value: &Bound<'_, PyInt>) -> Result<(), Error> {
    out.push(b'i');
    if let Ok(small) = value.extract::<i64>() {
        // As many bytes as `bit_length // 8 + 1` says: one more than needed for −128 and its like.
        let bits = 64 - small.unsigned_abs().leading_zeros() as usize;
        let length = bits / 8 + 1;
        count(out, length)?;
        let bytes = i128::from(small).to_le_bytes();
        out.extend_from_slice(bytes.get(..length).unwrap_or(&bytes));
        return Ok(());
    }
    let py = value.py();
    let bits = value.call_method0(pyo3::intern!(py, "bit_length"))?.extract::<usize>()?;
    let length = bits / 8 + 1;
    let arguments = pyo3::types::PyDict::new(py);
    arguments.set_item("signed", true)?;
    // `int.to_bytes` of the class, so that a derived class's own numbers are read, not its methods.
    let bytes = py.get_type::<PyInt>().call_method(
        "to_bytes",
        (value, length, "little"),
        Some(&arguments),
    )?;
    count(out, length)?;
    out.extend_from_slice(bytes.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

pub(crate) fn float(out: &mut Vec<u8>, value: f64) {
    let bits = if value.is_nan() { CANONICAL_NAN } else { value.to_bits() };
    out.extend_from_slice(&bits.to_le_bytes());
}

pub(crate) fn float_object(out: &mut Vec<u8>, value: &Bound<'_, PyFloat>) {
    out.push(b'f');
    float(out, value.value());
}

pub(crate) fn text(out: &mut Vec<u8>, value: &Bound<'_, PyString>) -> Result<(), Error> {
    out.push(b's');
    if let Ok(text) = value.to_str() {
        return name(out, text);
    }
    let py = value.py();
    let bytes =
        py.get_type::<PyString>().call_method1("encode", (value, "utf-8", "surrogatepass"))?;
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    count(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

pub(crate) fn bytes(out: &mut Vec<u8>, tag: u8, value: &[u8]) -> Result<(), Error> {
    out.push(tag);
    count(out, value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

/// A numpy scalar: its dtype and its bytes.
pub(crate) fn scalar(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Result<(), Error> {
    let py = value.py();
    let dtype = value.getattr(pyo3::intern!(py, "dtype"))?;
    let dtype = dtype.cast::<PyArrayDescr>()?;
    let raw = value.call_method0(pyo3::intern!(py, "tobytes"))?;
    out.push(b'n');
    let swap = dtype_name(out, dtype)?;
    elements(out, dtype, swap, raw.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

/// The head of an array; returns whether the elements have to be swapped to little-endian.
pub(crate) fn array_head(
    out: &mut Vec<u8>,
    array: &Bound<'_, PyUntypedArray>,
) -> Result<bool, Error> {
    out.push(b'a');
    let swap = dtype_name(out, &array.dtype())?;
    out.push(u8::try_from(array.ndim()).unwrap_or(u8::MAX));
    for &length in array.shape() {
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
    Ok(swap)
}

/// Elements, turned to little-endian where needed.
pub(crate) fn elements(out: &mut Vec<u8>, dtype: &Bound<'_, PyArrayDescr>, swap: bool, raw: &[u8]) {
    if !swap {
        out.extend_from_slice(raw);
        return;
    }
    let word = match dtype.kind() {
        b'c' => dtype.itemsize() / 2,
        b'U' => 4,
        _ => dtype.itemsize(),
    };
    for chunk in raw.chunks(word.max(1)) {
        out.extend(chunk.iter().rev());
    }
}

/// Writes a dtype in its little-endian form; returns whether the elements are big-endian.
fn dtype_name(out: &mut Vec<u8>, dtype: &Bound<'_, PyArrayDescr>) -> Result<bool, Error> {
    let common: Option<&str> = match (dtype.byteorder(), dtype.kind(), dtype.itemsize()) {
        (b'=' | b'<', b'f', 8) => Some("<f8"),
        (b'=' | b'<', b'f', 4) => Some("<f4"),
        (b'=' | b'<', b'i', 8) => Some("<i8"),
        (b'=' | b'<', b'i', 4) => Some("<i4"),
        (b'|', b'u', 1) => Some("|u1"),
        (b'|', b'i', 1) => Some("|i1"),
        (b'|', b'b', 1) => Some("|b1"),
        _ => None,
    };
    if let Some(common) = common.filter(|_| cfg!(target_endian = "little")) {
        name(out, common)?;
        return Ok(false);
    }
    let attribute = if dtype.has_fields() { "descr" } else { "str" };
    let text = dtype.getattr(attribute)?.str()?;
    let text = text.to_string_lossy();
    let big = text.starts_with('>');
    name(out, &if big { text.replacen('>', "<", 1) } else { text.into_owned() })?;
    Ok(big)
}
