//! Where an encoding goes: into bytes, into a hash, or into one digest for each leaf.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A place in the tree of paths of one walk.
pub(crate) type PathId = usize;

/// Takes the bytes of an encoding in order.
pub(crate) trait Sink {
    /// Whether paths are wanted; without, none are built.
    const PATHS: bool;
    fn begin(&mut self, _path: PathId) {}
    fn write(&mut self, bytes: &[u8]);
    fn end(&mut self) {}
}

/// Keeps the bytes.
#[derive(Default)]
pub(crate) struct ByteSink {
    pub(crate) bytes: Vec<u8>,
}

impl Sink for ByteSink {
    const PATHS: bool = false;

    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

/// Hashes in blocks: the hasher's own bookkeeping costs more than copying a few bytes.
pub(crate) struct HashSink {
    block: Vec<u8>,
    hasher: Xxh3,
}

const BLOCK_BYTES: usize = 16 << 10;

impl HashSink {
    pub(crate) fn new() -> Self {
        Self { block: Vec::with_capacity(BLOCK_BYTES), hasher: Xxh3::new() }
    }

    pub(crate) fn finish(mut self) -> u128 {
        self.hasher.update(&self.block);
        self.hasher.digest128()
    }
}

impl Sink for HashSink {
    const PATHS: bool = false;

    fn write(&mut self, bytes: &[u8]) {
        if self.block.len() + bytes.len() > BLOCK_BYTES {
            self.hasher.update(&self.block);
            self.block.clear();
        }
        if bytes.len() > BLOCK_BYTES {
            self.hasher.update(bytes);
        } else {
            self.block.extend_from_slice(bytes);
        }
    }
}

/// One digest for each value, with the path it was found under.
#[derive(Default)]
pub(crate) struct LeafSink {
    pub(crate) leaves: Vec<(PathId, u64)>,
    current: Vec<u8>,
    path: PathId,
}

impl Sink for LeafSink {
    const PATHS: bool = true;

    fn begin(&mut self, path: PathId) {
        self.path = path;
        self.current.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        self.current.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        self.leaves.push((self.path, xxh3_64(&self.current)));
    }
}

/// Only the walk and its paths are of interest.
pub(crate) struct NoSink;

impl Sink for NoSink {
    const PATHS: bool = true;

    fn write(&mut self, _bytes: &[u8]) {}
}
