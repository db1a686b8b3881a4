//! Reads and writes little-endian numbers and bytes, and never past an end. Knows no format.

use alloc::vec::Vec;

use thiserror::Error;

/// Reads fields from bytes; every read past the end is an error.
#[derive(Clone, Debug)]
pub(crate) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left, without taking them.
    #[must_use]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], EndOfBytes> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(EndOfBytes { expected: count, got: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// When fewer are left.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], EndOfBytes> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(EndOfBytes { expected: N, got: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// When none is left.
    pub(crate) fn u8(&mut self) -> Result<u8, EndOfBytes> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub(crate) fn u16(&mut self) -> Result<u16, EndOfBytes> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub(crate) fn u32(&mut self) -> Result<u32, EndOfBytes> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub(crate) fn u64(&mut self) -> Result<u64, EndOfBytes> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Fewer bytes were left than a field needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("expected {expected} more bytes, got {got}")]
pub struct EndOfBytes {
    /// What the field needs.
    pub expected: usize,
    /// What was left.
    pub got: usize,
}

/// Writes fields at the end of a byte vector.
pub(crate) trait PutBytes {
    /// Appends one byte.
    fn put_u8(&mut self, value: u8);
    /// Appends two bytes, low byte first.
    fn put_u16(&mut self, value: u16);
    /// Appends four bytes, low byte first.
    fn put_u32(&mut self, value: u32);
    /// Appends eight bytes, low byte first.
    fn put_u64(&mut self, value: u64);
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);
}

impl PutBytes for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        bytes.put_u8(1);
        bytes.put_u16(2);
        bytes.put_u32(3);
        bytes.put_u64(4);
        bytes.put(&[5, 6]);
        let mut reader = ByteReader::new(&bytes);
        assert_eq!(
            (reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.take(2)),
            (Ok(1), Ok(2), Ok(3), Ok(4), Ok([5, 6].as_slice()))
        );
        assert_eq!(reader.u8(), Err(EndOfBytes { expected: 1, got: 0 }));
    }
}
