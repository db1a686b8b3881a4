//! The bytes of numpy arrays. The only place that touches an array's memory.

use numpy::npyffi::flags::NPY_ARRAY_WRITEABLE;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::Error;

/// How an array takes part in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Nobody can write to it.
    Constant,
    /// It owns contiguous memory.
    Contiguous,
    /// It owns memory in another order.
    Strided,
    /// Another array owns the memory.
    View,
    /// Its elements are Python objects.
    Objects,
}

/// How an array is to be saved.
pub(crate) fn storage(array: &Bound<'_, PyUntypedArray>) -> Result<Storage, Error> {
    if array.dtype().has_object() {
        return Ok(Storage::Objects);
    }
    if owner(array)?.is_some() {
        return Ok(Storage::View);
    }
    if !is_writeable(array) {
        return Ok(Storage::Constant);
    }
    Ok(if array.is_c_contiguous() { Storage::Contiguous } else { Storage::Strided })
}

/// The array whose memory this one shows, if it is a view.
pub(crate) fn owner<'py>(
    array: &Bound<'py, PyUntypedArray>,
) -> Result<Option<Bound<'py, PyAny>>, Error> {
    let base = array.getattr(pyo3::intern!(array.py(), "base"))?;
    Ok(base.is_instance_of::<PyUntypedArray>().then_some(base))
}

/// The same for an object that is known to be an array.
pub(crate) fn owner_of<'py>(array: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>, Error> {
    owner(array.cast::<PyUntypedArray>()?)
}

/// Appends the elements in C order.
pub(crate) fn append_bytes(
    array: &Bound<'_, PyUntypedArray>,
    out: &mut Vec<u8>,
) -> Result<usize, Error> {
    if let Some(memory) = memory(array) {
        out.extend_from_slice(memory);
        return Ok(memory.len());
    }
    let bytes = array.call_method0(pyo3::intern!(array.py(), "tobytes"))?;
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    out.extend_from_slice(bytes);
    Ok(bytes.len())
}

/// Writes elements in C order back into the array.
///
/// # Errors
/// If the array does not have the size that was saved.
pub(crate) fn write_bytes(array: &Bound<'_, PyUntypedArray>, bytes: &[u8]) -> Result<(), Error> {
    let size = array.len() * array.dtype().itemsize();
    if size != bytes.len() {
        return Err(Error::ArrayResized { expected: bytes.len(), got: size });
    }
    if write_memory(array, bytes) {
        return Ok(());
    }
    let numpy = array.py().import("numpy")?;
    let saved =
        numpy.call_method1("frombuffer", (PyBytes::new(array.py(), bytes), array.dtype()))?;
    let saved = saved.call_method1("reshape", (array.getattr("shape")?,))?;
    numpy.call_method1("copyto", (array, saved))?;
    Ok(())
}

fn is_writeable(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: the pointer of a live array object; the flags are a plain integer in it.
    #[expect(unsafe_code, reason = "numpy's flags are a Python object away in any other form")]
    let flags = unsafe { (*array.as_array_ptr()).fields.flags };
    flags & NPY_ARRAY_WRITEABLE != 0
}

fn memory<'a>(array: &'a Bound<'_, PyUntypedArray>) -> Option<&'a [u8]> {
    if !array.is_c_contiguous() {
        return None;
    }
    let size = array.len() * array.dtype().itemsize();
    if size == 0 {
        return Some(&[]);
    }
    // SAFETY: a C-contiguous array owns or borrows `len * itemsize` initialised bytes at `data`,
    // alive as long as the array; no Python code runs while the slice is used.
    #[expect(unsafe_code, reason = "copying through `tobytes` costs ten times as much")]
    Some(unsafe {
        std::slice::from_raw_parts((*array.as_array_ptr()).fields.data.cast::<u8>(), size)
    })
}

fn write_memory(array: &Bound<'_, PyUntypedArray>, bytes: &[u8]) -> bool {
    if !array.is_c_contiguous() || !is_writeable(array) {
        return false;
    }
    if bytes.is_empty() {
        return true;
    }
    // SAFETY: the caller compared the sizes, the array is contiguous and writeable, and `bytes` is
    // memory of ours, so that the two do not overlap.
    #[expect(unsafe_code, reason = "restoring through `numpy.copyto` costs ten times as much")]
    unsafe {
        let data = (*array.as_array_ptr()).fields.data.cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
    }
    true
}
