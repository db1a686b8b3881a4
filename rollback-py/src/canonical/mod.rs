//! The canonical encoding: equal states have equal bytes in every process, on every platform, whatever
//! the hash seed, the order of insertion and the addresses. It is what is hashed, and for plain values
//! also what is sent and recorded.
//!
//! A value is a tag and its content; lengths and counts are `u32`, little-endian; a *name* or *dtype* is
//! a `u32` length and UTF-8.
//!
//! | tag | value | content |
//! |---|---|---|
//! | `N` `T` `F` | `None`, `True`, `False` | |
//! | `i` | int | length, two's complement of `bit_length // 8 + 1` bytes |
//! | `f` | float | IEEE 754 bits; every NaN is `7ff8000000000000`; −0.0 differs from 0.0 |
//! | `c` | complex | two floats |
//! | `s` `b` | str, bytes | length, UTF-8 (surrogates passed) or the bytes |
//! | `t` `l` | tuple, list | count, elements |
//! | `d` | dict | count, key and value, sorted by encoded key |
//! | `a` | ndarray | dtype, `u8` dimensions, each `u64`; the elements, little-endian, in C order |
//! | `n` | numpy scalar | dtype, its bytes |
//!
//! States (not values) have more: `S` set, `Z` frozenset (sorted by encoded element), `D` deque, `B`
//! bytearray, `O` array of objects, `e` enum member by name, `q` function, class or module by name,
//! `k` closure, `m` bound method, `P` partial, `G` random generator, `o` object (class name, number
//! of parts, each its fields sorted by name), `R` anything else by its pickled form, and `r`: an
//! object that was written before, by its number. Objects and mutable containers are numbered in the
//! order in which they are first written, so that graphs take linear space and cycles end. A dict with
//! a key that is an object keeps its order of insertion.
//!
//! Skipped (`x`, class name only), because they are no state of a simulation or differ between equal
//! processes: gymnasium spaces and specs, loggers, threads and locks, open files, weak references,
//! caches of `functools.lru_cache`, pygame surfaces, fonts, clocks and sounds.

mod emit;
mod graph;
mod places;
mod reduced;
mod sink;
mod value;

pub(crate) use emit::float as float_bits;
pub(crate) use graph::Writer;
pub(crate) use places::Trail;
pub(crate) use reduced::Reduced;
pub(crate) use sink::{ByteSink, HashSink, LeafSink, NoSink, Sink};
pub(crate) use value::{Decoder, ValueEncoder, is_exact_array, is_plain_array, is_plain_scalar};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::errors::Error;

/// The longest encoding: a state or value beyond it is refused. Far above any environment that can
/// be simulated several times a frame.
pub(crate) const ENCODED_BYTES_MAX: usize = 256 << 20;

/// How deep values may be nested.
pub(crate) const DEPTH_MAX: usize = 64;

/// Encodes a plain value: None, bool, int, float, str, bytes, list, tuple, dict, numpy scalars and arrays.
#[pyfunction]
pub(crate) fn encode_value<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyBytes>, Error> {
    let mut out = Vec::new();
    ValueEncoder::default().encode(value, &mut out)?;
    Ok(PyBytes::new(value.py(), &out))
}

/// Decodes what `encode_value` made. Hostile bytes are an `EncodingError`.
#[pyfunction]
pub(crate) fn decode_value<'py>(
    py: Python<'py>,
    encoded: &[u8],
) -> Result<Bound<'py, PyAny>, Error> {
    let mut decoder = Decoder::new(encoded);
    let value = decoder.value(py)?;
    decoder.finish()?;
    Ok(value)
}

/// The 128-bit hash of an encoding, most significant byte first.
#[pyfunction]
pub(crate) fn hash_bytes<'py>(py: Python<'py>, encoded: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &xxh3_128(encoded).to_be_bytes())
}
