//! A state of bytes, whole and in pages that copies share: what a frame of save, write and hash costs, by how much of it is written.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a write beyond the state must stop the program"
)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rollback_core::{PAGE_BYTES, PagedBytes, StateHasher};

fn states(criterion: &mut Criterion) {
    for state_bytes in [64 << 10, 1 << 20] {
        for written_pages in [1, 4, 16] {
            let mut group = criterion
                .benchmark_group(format!("states/{}KiB/{written_pages}", state_bytes >> 10));
            group.bench_function(BenchmarkId::from_parameter("whole"), |bencher| {
                let (mut live, mut slots) =
                    (vec![0; state_bytes], vec![vec![0; state_bytes]; SLOTS]);
                let (mut hasher, mut frame) = (StateHasher::new(), 0);
                bencher.iter(|| {
                    frame += 1;
                    let slot = &mut slots[frame % SLOTS];
                    slot.copy_from_slice(&live);
                    hasher.reset();
                    hasher.write(slot);
                    for start in starts(frame, written_pages, state_bytes) {
                        live[start..start + WRITTEN_BYTES].fill(mark(frame));
                    }
                    hasher.finish()
                });
            });
            group.bench_function(BenchmarkId::from_parameter("paged"), |bencher| {
                let (mut live, mut slots) =
                    (PagedBytes::new(state_bytes), vec![PagedBytes::default(); SLOTS]);
                live.assign(&vec![1; state_bytes]);
                let (mut hasher, mut frame) = (StateHasher::new(), 0);
                bencher.iter(|| {
                    frame += 1;
                    let slot = &mut slots[frame % SLOTS];
                    slot.clone_from(&live);
                    hasher.reset();
                    slot.hash_into(&mut hasher);
                    for start in starts(frame, written_pages, state_bytes) {
                        live.write(start, &[mark(frame); WRITTEN_BYTES]).expect("within the state");
                    }
                    hasher.finish()
                });
            });
            group.finish();
        }
    }
}

/// Where a frame writes: in so many pages, others than the frame before.
fn starts(frame: usize, pages: usize, state_bytes: usize) -> impl Iterator<Item = usize> {
    let count = state_bytes / PAGE_BYTES;
    (0..pages).map(move |page| (frame * 7 + page * 3) % count * PAGE_BYTES)
}

/// What a frame writes: something else than the one before.
fn mark(frame: usize) -> u8 {
    u8::try_from(frame % 251).unwrap_or_default()
}

/// As many snapshots as a session with a window of 8 has.
const SLOTS: usize = 11;
const WRITTEN_BYTES: usize = 64;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .without_plots();
    targets = states
}
criterion_main!(benches);
