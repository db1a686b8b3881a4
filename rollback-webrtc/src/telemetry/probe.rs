//! A probe: what each side tells the other about the way between them, four times a second, beside the datagrams of the game.

use rollback_core::Timestamp;

/// What travels, in 21 bytes, numbers little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// When it was sent, in microseconds of the sender's clock; the lower 32 bits.
    pub(crate) sent_at: u32,
    /// The [`sent_at`](Self::sent_at) of the last probe of the other side, and for how long it was kept, in microseconds.
    pub(crate) echo: Option<(u32, u32)>,
    /// Different datagrams that the sender has got of the other side, and those it missed; both begin anew after 32 bits.
    pub(crate) datagrams: (u32, u32),
}

/// The length of a probe: kind and whether there is an echo 1, then five numbers.
const PROBE_BYTES: usize = 21;

impl Probe {
    pub(crate) fn encode(self) -> [u8; PROBE_BYTES] {
        let (echoed, kept) = self.echo.unwrap_or_default();
        let (arrived, missing) = self.datagrams;
        let numbers = [self.sent_at, echoed, kept, arrived, missing];
        let mut bytes = [u8::from(self.echo.is_some()); PROBE_BYTES];
        let room = bytes.iter_mut().skip(1);
        room.zip(numbers.into_iter().flat_map(u32::to_le_bytes)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// `None` for what is no probe.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, numbers) = bytes.split_first()?;
        let (numbers, rest) = numbers.as_chunks();
        let [sent_at, echoed, kept, arrived, missing] = *numbers else { return None };
        let number = u32::from_le_bytes;
        let echo = match head {
            0 => None,
            1 => Some((number(echoed), number(kept))),
            _ => return None,
        };
        let datagrams = (number(arrived), number(missing));
        rest.is_empty().then_some(Self { sent_at: number(sent_at), echo, datagrams })
    }
}

/// A time as probes carry it.
pub(super) fn micros(at: Timestamp) -> u32 {
    let [a, b, c, d, ..] = at.as_micros().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_comes_back_from_its_bytes() {
        for echo in [None, Some((7, 8)), Some((u32::MAX, 0))] {
            let probe = Probe { sent_at: 0x0102_0304, echo, datagrams: (5, u32::MAX) };
            assert_eq!(Probe::decode(&probe.encode()), Some(probe));
        }
    }

    #[test]
    fn what_is_no_probe_is_refused() {
        let bytes = Probe { sent_at: 1, echo: None, datagrams: (2, 3) }.encode();
        assert_eq!(Probe::decode(&bytes[..20]), None);
        assert_eq!(Probe::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Probe::decode(&[]), None);
        assert_eq!(Probe::decode(&[&[2], &bytes[1..]].concat()), None);
    }
}
