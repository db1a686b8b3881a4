//! Bytes that are no recording, or were one: nothing panics, and nothing takes memory that the bytes do not pay for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::Config;
use rollback_core::recording::{Recording, RecordingReader};
use rollback_core::{Chain, End, EndCause, Frame, PeerId, Roster, SessionConfig};
use xxhash_rust::xxh3::xxh3_64;

use crate::episode::{eventful, record};

/// Counts what this thread holds, and the most it held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "an allocator can only be written so; it hands all on to the system's"
)]
// SAFETY: every call is handed on as it is; counting touches two cells of the thread and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().saturating_add(layout.size());
        HELD.set(held);
        MOST.set(MOST.get().max(held));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held beyond what was held before it.
fn most_held(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    MOST.get() - before
}

/// A header may take some times its bytes (a fact of two bytes is two strings), a row of inputs 64 × 512 bytes, thrice.
fn held_max(bytes: &[u8]) -> usize {
    64 * bytes.len() + 3 * 64 * 512 + 4096
}

/// Reads bytes in every way there is.
fn read(bytes: &[u8]) -> Result<(), TestCaseError> {
    let held = most_held(|| {
        if let Ok(recording) = Recording::decode(bytes) {
            let count = recording.frames().count();
            assert_eq!(Frame::new(u32::try_from(count).unwrap()), recording.frame_count());
        }
        if let Ok(mut reader) = RecordingReader::new(bytes) {
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    });
    prop_assert!(held <= held_max(bytes), "{} bytes held {held}", bytes.len());
    Ok(())
}

/// Puts the checksums of all sections right, as far as their lengths lead, so that what was changed is read.
fn seal(bytes: &mut [u8]) {
    const HEAD: usize = 30;
    let Some(opening) = bytes.get(..8) else { return };
    let (mut chain, mut at) = (Chain::default().link(opening), 8);
    while let Some((head, rest)) = bytes[at..].split_at_mut_checked(HEAD) {
        let length = usize::try_from(u32::from_le_bytes([head[2], head[3], head[4], head[5]]));
        let body = rest.get(..length.unwrap()).unwrap_or(rest);
        head[10..18].copy_from_slice(&xxh3_64(body).to_le_bytes());
        head[18..26].copy_from_slice(&chain.to_u64().to_le_bytes());
        let check = Chain::from_u64(xxh3_64(&head[..26])).short();
        chain = chain.link(&head[..26]);
        head[26..30].copy_from_slice(&check.to_le_bytes());
        at += HEAD + body.len();
    }
}

/// The recording in which everything happens, and where its first section begins.
fn sound() -> Vec<u8> {
    let (header, frames, end) = eventful();
    record(&header, &frames, end)
}

proptest! {
    #![proptest_config(Config { cases: 10_000, ..Config::default() })]

    #[test]
    fn random_bytes_are_no_recording(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        is_opened in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if is_opened && bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"rbk\r\n\x1a\x01\x00");
            seal(&mut bytes);
        }
        read(&bytes)?;
    }

    #[test]
    fn changed_recordings_are_refused_or_read(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        is_sealed in prop::bool::weighted(0.8),
    ) {
        let mut bytes = sound();
        let before = bytes.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if is_sealed {
            seal(&mut bytes);
        } else if !before.starts_with(&bytes) {
            // Without new checksums every change is found, unless it was cut off again with its section.
            let read = Recording::decode(&bytes);
            prop_assert!(read.is_err() || read.is_ok_and(|read| before.starts_with(read.as_bytes())));
        }
        read(&bytes)?;
    }
}

#[test]
fn a_sealed_recording_is_the_one_that_was_written() {
    let mut bytes = sound();
    seal(&mut bytes);
    assert_eq!(bytes, sound());
}

#[test]
fn a_file_that_says_much_and_holds_little_takes_little_memory() {
    let (mut header, _, _) = eventful();
    header.config = SessionConfig::builder().players(64).input_width(512).build().unwrap();
    let hosts: Vec<_> = (0..64).filter_map(|player| PeerId::new(player % 2)).collect();
    header.roster = Roster::new(&hosts).unwrap();
    let end = End { frame: Frame::ZERO, cause: EndCause::Finished, by: None };
    let mut bytes = record(&header, &[], end);
    bytes.truncate(bytes.len() - 30 - 24);
    // Thousands of frames of 32 KiB each, a byte a frame.
    for block in 0..200_u32 {
        let mut head = [0; 30];
        head[0] = 2;
        head[1] = 60;
        head[2] = 60;
        head[6..10].copy_from_slice(&(block * 60).to_le_bytes());
        bytes.extend(head);
        bytes.extend([0; 60]);
    }
    seal(&mut bytes);
    let held = most_held(|| {
        let recording = Recording::decode(&bytes).unwrap();
        assert_eq!(recording.frame_count(), Frame::new(12_000));
    });
    assert!(held <= 3 * bytes.len() + 3 * 64 * 512, "{} bytes held {held}", bytes.len());
    // The same with an output of which the length alone is there.
    let at = bytes.len() - 60;
    bytes[at] = 16;
    bytes[at + 1..at + 5].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    seal(&mut bytes);
    let held = most_held(|| assert!(Recording::decode(&bytes).is_err()));
    assert!(held <= bytes.len() + 3 * 64 * 512, "{} bytes held {held}", bytes.len());
}
