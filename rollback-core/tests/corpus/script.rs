//! What happens, out of bytes: whatever a fuzzer makes up is a story.

/// Bytes to take decisions from; zero when there are no more.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn bytes(&mut self, count: u8) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(self.0.len().min(count.into()));
        self.0 = rest;
        bytes
    }
}
