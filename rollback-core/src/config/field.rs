//! Reads single fields of a configuration from bytes. `config/mod.rs` knows which fields there are.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::ConfigDecodeError;

/// A field of one width.
pub(super) fn exact<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], ConfigDecodeError> {
    bytes.try_into().map_err(|_| ConfigDecodeError::Width { field, expected: N, got: bytes.len() })
}

/// A field that is empty where it says what holds unless it is said.
pub(super) fn or(field: &'static str, bytes: &[u8], unsaid: u8) -> Result<u8, ConfigDecodeError> {
    if bytes.is_empty() { Ok(unsaid) } else { Ok(u8::from_le_bytes(exact(field, bytes)?)) }
}

/// The same, to be written.
pub(super) fn unless(unsaid: u8, byte: u8) -> Vec<u8> {
    if byte == unsaid { Vec::new() } else { vec![byte] }
}

/// A time that was written in milliseconds.
pub(super) fn millis(bytes: [u8; 4]) -> Duration {
    Duration::from_millis(u32::from_le_bytes(bytes).into())
}
