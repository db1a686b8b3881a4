//! Plain values to canonical bytes and back. The decoder trusts nothing: whatever is not the canonical
//! encoding of a plain value is an error, and nothing is allocated that was not sent.

use std::ops::Range;

use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use super::{DEPTH_MAX, ENCODED_BYTES_MAX, emit};
use crate::errors::Error;

/// The most dimensions that numpy allows, and so the most that are decoded.
const DIMENSIONS_MAX: usize = 64;

/// Encodes plain values; its working memory is kept from one value to the next.
#[derive(Default)]
pub(crate) struct ValueEncoder {
    keys: Vec<u8>,
}

struct Pending<'py> {
    value: Bound<'py, PyAny>,
    depth: usize,
    key: Range<usize>,
}

impl ValueEncoder {
    /// Appends the encoding of a value. After an error, `out` is as it was.
    pub(crate) fn encode(
        &mut self,
        value: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        self.keys.clear();
        let start = out.len();
        let result = self.encode_from(value, 0, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn encode_from(
        &mut self,
        value: &Bound<'_, PyAny>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut pending = vec![Pending { value: value.clone(), depth, key: 0..0 }];
        while let Some(Pending { value, depth, key }) = pending.pop() {
            out.extend_from_slice(self.keys.get(key).unwrap_or(&[]));
            if depth > DEPTH_MAX {
                return Err(Error::TooDeep { max: DEPTH_MAX });
            }
            if out.len() > ENCODED_BYTES_MAX {
                return Err(Error::EncodingTooLong { max: ENCODED_BYTES_MAX });
            }
            if !atom(&value, out)? {
                self.container(&value, depth + 1, out, &mut pending)?;
            }
        }
        Ok(())
    }

    fn container<'py>(
        &mut self,
        value: &Bound<'py, PyAny>,
        depth: usize,
        out: &mut Vec<u8>,
        pending: &mut Vec<Pending<'py>>,
    ) -> Result<(), Error> {
        let start = pending.len();
        if let Ok(list) = value.cast_exact::<PyList>() {
            out.push(b'l');
            emit::count(out, list.len())?;
            pending.extend(list.iter().map(|value| Pending { value, depth, key: 0..0 }));
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            out.push(b't');
            emit::count(out, tuple.len())?;
            pending.extend(tuple.iter().map(|value| Pending { value, depth, key: 0..0 }));
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            out.push(b'd');
            emit::count(out, dict.len())?;
            for (key, value) in dict.iter() {
                let from = self.keys.len();
                let mut encoded = Vec::new();
                if !atom(&key, &mut encoded)? {
                    Self::default().encode_from(&key, depth, &mut encoded)?;
                }
                self.keys.extend_from_slice(&encoded);
                pending.push(Pending { value, depth, key: from..self.keys.len() });
            }
            let keys = &self.keys;
            if let Some(items) = pending.get_mut(start..) {
                items.sort_by(|a, b| keys.get(a.key.clone()).cmp(&keys.get(b.key.clone())));
            }
        } else {
            return Err(unencodable(value));
        }
        if let Some(items) = pending.get_mut(start..) {
            items.reverse();
        }
        Ok(())
    }
}

/// Encodes a value without elements; `false` if it is none.
fn atom(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<bool, Error> {
    if value.is_none() {
        out.push(b'N');
    } else if let Ok(value) = value.cast_exact::<PyString>() {
        emit::text(out, value)?;
    } else if let Ok(value) = value.cast_exact::<PyFloat>() {
        emit::float_object(out, value);
    } else if let Ok(value) = value.cast_exact::<PyBool>() {
        out.push(if value.is_true() { b'T' } else { b'F' });
    } else if let Ok(value) = value.cast_exact::<PyInt>() {
        emit::int(out, value)?;
    } else if let Ok(value) = value.cast_exact::<PyBytes>() {
        emit::bytes(out, b'b', value.as_bytes())?;
    } else if let Ok(array) = value.cast_exact::<PyUntypedArray>() {
        if !is_portable(&array.dtype()) {
            return Err(unencodable(value));
        }
        let swap = emit::array_head(out, array)?;
        let mut bytes = Vec::new();
        crate::snapshot::append_bytes(array, &mut bytes)?;
        emit::elements(out, &array.dtype(), swap, &bytes);
    } else if value.is_instance(numpy_scalar(value.py())?)? {
        let dtype = value.getattr(pyo3::intern!(value.py(), "dtype"))?;
        if !is_portable(dtype.cast::<PyArrayDescr>()?) {
            return Err(unencodable(value));
        }
        emit::scalar(out, value)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn numpy_scalar(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static GENERIC: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    GENERIC.import(py, "numpy", "generic")
}

/// Whether a value is a numpy scalar that is encoded as it is.
pub(crate) fn is_plain_scalar(value: &Bound<'_, PyAny>) -> Result<bool, Error> {
    if !value.is_instance(numpy_scalar(value.py())?)? {
        return Ok(false);
    }
    let dtype = value.getattr(pyo3::intern!(value.py(), "dtype"))?;
    Ok(is_portable(dtype.cast::<PyArrayDescr>()?))
}

/// Whether the elements of an array, also of a derived class, are encoded as they are.
pub(crate) fn is_plain_array(value: &Bound<'_, PyAny>) -> Result<bool, Error> {
    Ok(is_portable(&value.cast::<PyUntypedArray>()?.dtype()))
}

/// Whether a value is an array of such elements, and of no derived class.
pub(crate) fn is_exact_array(value: &Bound<'_, PyAny>) -> bool {
    value.cast_exact::<PyUntypedArray>().is_ok_and(|array| is_portable(&array.dtype()))
}

/// Dtypes that mean the same everywhere: no objects, no records, no `longdouble`.
fn is_portable(dtype: &Bound<'_, PyArrayDescr>) -> bool {
    matches!(
        (dtype.kind(), dtype.itemsize()),
        (b'b', 1) | (b'i' | b'u', 1 | 2 | 4 | 8) | (b'f', 2 | 4 | 8) | (b'c', 8 | 16)
    ) && !dtype.has_subarray()
}

fn unencodable(value: &Bound<'_, PyAny>) -> Error {
    let class = value.get_type().qualname().map(|name| name.to_string_lossy().into_owned());
    Error::Unencodable {
        path: "value".to_owned(),
        class: class.unwrap_or_default(),
        cause: "only None, bool, int, float, str, bytes, list, tuple, dict and numpy numbers are \
                plain values"
            .to_owned(),
    }
}

/// Reads canonical bytes.
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A container whose elements are still being read.
struct Open<'py> {
    tag: u8,
    left: usize,
    elements: Vec<Bound<'py, PyAny>>,
    /// Where the last key of a dict was found, to see that keys ascend.
    last_key: Range<usize>,
    key_start: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The bytes that follow.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let Some(taken) = taken else {
            return Err(Error::Truncated { at: self.bytes.len(), needed: length });
        };
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Sees that nothing follows.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            extra => Err(Error::TrailingBytes { extra }),
        }
    }

    /// Reads one value.
    pub(crate) fn value<'py>(&mut self, py: Python<'py>) -> Result<Bound<'py, PyAny>, Error> {
        let mut open: Vec<Open<'py>> = Vec::new();
        loop {
            if let Some(dict) = open.last_mut() {
                dict.key_start = self.at;
            }
            let mut value = match self.begin(py)? {
                Begun::Value(value) => value,
                Begun::Container(tag, left) => {
                    if open.len() >= DEPTH_MAX {
                        return Err(Error::TooDeep { max: DEPTH_MAX });
                    }
                    let container = Open {
                        tag,
                        left,
                        elements: Vec::new(),
                        last_key: 0..0,
                        key_start: self.at,
                    };
                    if left > 0 {
                        open.push(container);
                        continue;
                    }
                    container.close(py, self.at)?
                }
            };
            loop {
                let Some(parent) = open.last_mut() else { return Ok(value) };
                parent.add(value, self.bytes, self.at)?;
                if parent.left > 0 {
                    break;
                }
                let Some(full) = open.pop() else { return Err(Error::EmptySnapshot) };
                value = full.close(py, self.at)?;
            }
        }
    }

    fn begin<'py>(&mut self, py: Python<'py>) -> Result<Begun<'py>, Error> {
        let at = self.at;
        let [tag] = self.array::<1>()?;
        let value = match tag {
            b'N' => py.None().into_bound(py),
            b'T' => PyBool::new(py, true).to_owned().into_any(),
            b'F' => PyBool::new(py, false).to_owned().into_any(),
            b'i' => self.int(py, at)?,
            b'f' => {
                let value = f64::from_le_bytes(self.array()?);
                let mut canonical = Vec::new();
                emit::float(&mut canonical, value);
                if self.bytes.get(at + 1..self.at) != Some(canonical.as_slice()) {
                    return Err(Error::NotCanonical { what: "float", at });
                }
                PyFloat::new(py, value).into_any()
            }
            b's' => self.text(py, at)?,
            b'b' => {
                let length = self.count(1)?;
                PyBytes::new(py, self.take(length)?).into_any()
            }
            b'l' | b't' => return Ok(Begun::Container(tag, self.count(1)?)),
            b'd' => return Ok(Begun::Container(tag, self.count(2)? * 2)),
            b'a' => self.ndarray(py, at)?,
            b'n' => {
                let dtype = self.dtype(py, at)?;
                let raw = self.take(dtype.itemsize())?;
                check_elements(&dtype, raw, at)?;
                from_buffer(py, raw, &dtype)?.get_item(0)?
            }
            tag => return Err(Error::UnknownTag { tag, at }),
        };
        Ok(Begun::Value(value))
    }

    /// A count of elements, of which each takes at least so many bytes.
    fn count(&mut self, element_bytes: usize) -> Result<usize, Error> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        let left = self.bytes.len() - self.at;
        match count.checked_mul(element_bytes) {
            Some(needed) if needed <= left => Ok(count),
            _ => Err(Error::Truncated { at: self.bytes.len(), needed: count }),
        }
    }

    fn int<'py>(&mut self, py: Python<'py>, at: usize) -> Result<Bound<'py, PyAny>, Error> {
        let length = self.count(1)?;
        let raw = self.take(length)?;
        let value = if let (1..=8, Some(&last)) = (length, raw.last()) {
            let mut bytes = [if last & 0x80 == 0 { 0 } else { 0xff }; 8];
            bytes.iter_mut().zip(raw).for_each(|(to, from)| *to = *from);
            i64::from_le_bytes(bytes).into_pyobject(py).map_err(PyErr::from)?.into_any()
        } else {
            let arguments = PyDict::new(py);
            arguments.set_item("signed", true)?;
            let raw = PyBytes::new(py, raw);
            py.get_type::<PyInt>().call_method("from_bytes", (raw, "little"), Some(&arguments))?
        };
        let mut canonical = Vec::new();
        emit::int(&mut canonical, value.cast::<PyInt>()?)?;
        if self.bytes.get(at..self.at) != Some(canonical.as_slice()) {
            return Err(Error::NotCanonical { what: "int", at });
        }
        Ok(value)
    }

    fn text<'py>(&mut self, py: Python<'py>, at: usize) -> Result<Bound<'py, PyAny>, Error> {
        let length = self.count(1)?;
        let raw = self.take(length)?;
        if let Ok(text) = std::str::from_utf8(raw) {
            return Ok(PyString::new(py, text).into_any());
        }
        PyBytes::new(py, raw)
            .call_method1("decode", ("utf-8", "surrogatepass"))
            .map_err(|_| Error::NotCanonical { what: "str", at })
    }

    fn dtype<'py>(
        &mut self,
        py: Python<'py>,
        at: usize,
    ) -> Result<Bound<'py, PyArrayDescr>, Error> {
        let wrong = Error::NotCanonical { what: "dtype", at };
        let length = self.count(1)?;
        let raw = self.take(length)?;
        let Ok(name) = std::str::from_utf8(raw) else { return Err(wrong) };
        if !DTYPES.contains(&name) {
            return Err(wrong);
        }
        Ok(PyArrayDescr::new(py, name)?)
    }

    fn ndarray<'py>(&mut self, py: Python<'py>, at: usize) -> Result<Bound<'py, PyAny>, Error> {
        let dtype = self.dtype(py, at)?;
        let [dimensions] = self.array::<1>()?;
        if usize::from(dimensions) > DIMENSIONS_MAX {
            return Err(Error::NotCanonical { what: "shape", at });
        }
        let mut shape = Vec::with_capacity(usize::from(dimensions));
        for _ in 0..dimensions {
            shape.push(u64::from_le_bytes(self.array()?));
        }
        // An empty array may name any lengths besides its zero; numpy refuses what it cannot hold.
        let elements = if shape.contains(&0) {
            Some(0)
        } else {
            shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length))
        };
        let size = elements
            .and_then(|elements| usize::try_from(elements).ok())
            .and_then(|elements| elements.checked_mul(dtype.itemsize()));
        let Some(size) = size else {
            return Err(Error::Truncated { at: self.bytes.len(), needed: usize::MAX });
        };
        let raw = self.take(size)?;
        check_elements(&dtype, raw, at)?;
        let array = from_buffer(py, raw, &dtype)?;
        let array = array
            .call_method1("reshape", (PyTuple::new(py, shape)?,))
            .map_err(|_| Error::NotCanonical { what: "shape", at })?;
        Ok(array.call_method0("copy")?)
    }
}

enum Begun<'py> {
    Value(Bound<'py, PyAny>),
    Container(u8, usize),
}

impl<'py> Open<'py> {
    fn add(&mut self, value: Bound<'py, PyAny>, bytes: &[u8], at: usize) -> Result<(), Error> {
        if self.tag == b'd' && self.left.is_multiple_of(2) {
            let key = self.key_start..at;
            let ascends = self.elements.is_empty()
                || bytes.get(self.last_key.clone()) < bytes.get(key.clone());
            if !ascends {
                return Err(Error::NotCanonical { what: "dict", at: self.key_start });
            }
            self.last_key = key;
        }
        self.elements.push(value);
        self.left -= 1;
        Ok(())
    }

    fn close(self, py: Python<'py>, at: usize) -> Result<Bound<'py, PyAny>, Error> {
        match self.tag {
            b'l' => Ok(PyList::new(py, self.elements)?.into_any()),
            b't' => Ok(PyTuple::new(py, self.elements)?.into_any()),
            _ => {
                let dict = PyDict::new(py);
                let expected = self.elements.len() / 2;
                for pair in self.elements.chunks_exact(2) {
                    if let [key, value] = pair {
                        dict.set_item(key, value)
                            .map_err(|_| Error::NotCanonical { what: "dict", at })?;
                    }
                }
                // `1` and `True` are two encodings and one key.
                if dict.len() != expected {
                    return Err(Error::NotCanonical { what: "dict", at });
                }
                Ok(dict.into_any())
            }
        }
    }
}

fn from_buffer<'py>(
    py: Python<'py>,
    raw: &[u8],
    dtype: &Bound<'py, PyArrayDescr>,
) -> Result<Bound<'py, PyAny>, Error> {
    // `bytearray`: an array over `bytes` could not be written to.
    let buffer = pyo3::types::PyByteArray::new(py, raw);
    if raw.is_empty() {
        return Ok(py.import("numpy")?.call_method1("empty", (0, dtype))?);
    }
    Ok(py.import("numpy")?.call_method1("frombuffer", (buffer, dtype))?)
}

/// A bool is one of two bytes.
fn check_elements(dtype: &Bound<'_, PyArrayDescr>, raw: &[u8], at: usize) -> Result<(), Error> {
    if dtype.kind() == b'b' && raw.iter().any(|byte| *byte > 1) {
        return Err(Error::NotCanonical { what: "bool", at });
    }
    Ok(())
}

/// The dtypes that are read: nothing received chooses any other.
const DTYPES: [&str; 14] = [
    "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c8",
    "<c16",
];
