//! Datagrams that nobody sent: random ones, and real ones that were changed.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::node::Node;
use super::random::Random;
use crate::{Game, PEERS_MAX, PeerId, Timestamp};

impl<G: Game<Error: Debug>> Node<G> {
    /// Hands the session datagrams that nobody sent: half of them random, half a real one that was changed.
    pub(super) fn make_noise(&mut self, local: Timestamp) {
        for _ in 0..self.noise.per_frame {
            let peers: [Option<PeerId>; PEERS_MAX] =
                core::array::from_fn(|slot| u8::try_from(slot).ok().and_then(PeerId::new));
            let Some(from) = self.noise_random.one_of(&peers).flatten() else { continue };
            let last = self.last_datagrams.get(from.index()).cloned().unwrap_or_default();
            let mut bytes = noise_datagram(&mut self.noise_random, last);
            if self.noise.is_sealed {
                self.session.reseal(from, &mut bytes);
            }
            self.session.handle_datagram(local, from, &bytes);
        }
    }
}

/// A datagram that no session sealed.
fn noise_datagram(noise: &mut Random, last: Vec<u8>) -> Vec<u8> {
    let mut bytes = last;
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    if length == 0 || noise.chance(500) {
        bytes.resize(noise.below(NOISE_BYTES_MAX) as usize, 0);
        noise.fill(&mut bytes);
        return bytes;
    }
    match noise.below(3) {
        0 => bytes.truncate(noise.below(length) as usize),
        1 => bytes.extend_from_slice(&[0; 3]),
        _ => {
            let bits = u8::try_from(noise.between(1, 255)).unwrap_or(1);
            if let Some(byte) = bytes.get_mut(noise.below(length) as usize) {
                *byte ^= bits;
            }
        }
    }
    bytes
}

/// Longer than any datagram.
const NOISE_BYTES_MAX: u32 = 1_300;
