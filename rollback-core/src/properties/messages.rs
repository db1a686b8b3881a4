//! Heads, hellos and rare messages: what was written is read, and what was read was written so.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::peer;
use crate::bytes::ByteReader;
use crate::search::{Findings, LeafMessage};
use crate::wire::{
    self, Claim, Control, Digest, DigestBlock, Goodbye, Hello, InputsHead, Kind, LEAVES_PER_MESSAGE,
};
use crate::{
    ConfigDecodeError, Facts, Frame, Item, PEERS_MAX, PeerSet, PlayerHandle, REPORT_INTERVAL_MAX,
    SessionConfig, StateHash,
};

fn frame() -> impl Strategy<Value = Frame> {
    any::<u32>().prop_map(Frame::new)
}

fn digests() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..=LEAVES_PER_MESSAGE)
}

/// As many as a search compares.
fn hashes() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..=4 * REPORT_INTERVAL_MAX)
}

fn claim() -> impl Strategy<Value = Claim> {
    let held = prop::collection::vec(frame(), PEERS_MAX);
    let joiner = prop::option::of((0..PEERS_MAX, any::<u8>()));
    let sets = (any::<u8>(), any::<u8>());
    (0..PEERS_MAX, any::<u8>(), sets, joiner, any::<bool>(), held).prop_map(
        |(claimant, base, (members, kicked), joiner, is_committed, held)| Claim {
            claimant: peer(claimant),
            base,
            members: PeerSet::from_bits(members),
            joiner: joiner.map(|(slot, incarnation)| (peer(slot), incarnation)),
            kicked: PeerSet::from_bits(kicked),
            is_committed,
            held: held.try_into().unwrap(),
        },
    )
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        claim().prop_map(Control::Claim),
        frame().prop_map(|confirmed| Control::Goodbye(Goodbye::Left { confirmed })),
        frame().prop_map(|frame| Control::Goodbye(Goodbye::GameFailed { frame })),
        Just(Control::GoodbyeHeard),
        (1..=1000_u16).prop_map(|per_mille| Control::Rate { per_mille }),
        (frame(), hashes(), prop::collection::vec(any::<(u32, u16, u32)>(), 0..=4)).prop_map(
            |(agreed, hashes, reports)| {
                let report = |(number, inputs, whole)| (number, Digest { inputs, whole });
                let reports = reports.into_iter().map(report).collect();
                Control::DesyncFindings(Findings { agreed, hashes, reports })
            }
        ),
        (frame(), any::<u16>(), any::<u16>(), digests()).prop_map(
            |(frame, total, start, digests)| {
                Control::DesyncLeaves(LeafMessage { frame, total, start, digests })
            }
        ),
    ]
}

fn facts() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((".{0,9}", ".{0,30}"), 0..4)
}

fn hello() -> impl Strategy<Value = Hello> {
    let numbers = (any::<bool>(), any::<u8>(), any::<u64>(), any::<u128>());
    let bytes = || prop::collection::vec(any::<u8>(), 0..64);
    (numbers, bytes(), bytes(), facts(), facts()).prop_map(
        |((heard, incarnation, seed, start), roster, config, must_match, may_differ)| Hello {
            version: wire::WIRE_VERSION,
            heard,
            incarnation,
            seed,
            start: StateHash::from_u128(start),
            roster,
            config,
            facts: Facts { must_match, may_differ },
        },
    )
}

/// A head, and the two ends near which its numbers lie.
fn head(long: bool) -> impl Strategy<Value = (InputsHead, (Frame, Frame))> {
    // How far a number may lie from the middle of its range, and the middle of acknowledgements from the own end.
    let (reach, behind) = if long { (1 << 15, 1 << 14) } else { (1 << 7, 1 << 6) };
    let near = -reach..reach;
    let ends = (0..u32::MAX / 2, 0..u32::MAX / 2);
    let digest = (0..128_u8, any::<bool>(), any::<u16>(), any::<u32>(), any::<u16>()).prop_map(
        |(report, end_agreed, inputs, whole, clock_min)| {
            let digest = Digest { inputs, whole };
            DigestBlock { report, end_agreed, digest, clock_min }
        },
    );
    let frames = (near.clone(), near.clone(), prop::option::of(near));
    let rest = (any::<u8>(), any::<u16>(), any::<u32>(), prop::option::of(digest));
    (ends, frames, rest).prop_map(move |((own, sender), frames, rest)| {
        let (count, clock, held_beyond_gap, digest) = rest;
        let near_own = i64::from(own.saturating_sub(behind));
        // Below zero there is no frame; the number means the next one up, so none of these is sent.
        let at = |middle: i64, offset: i32| {
            Frame::new(u32::try_from((middle + i64::from(offset)).max(0)).unwrap())
        };
        let head = InputsHead {
            ack: at(near_own, frames.0),
            first: at(sender.into(), frames.1),
            count,
            clock,
            confirmed: frames.2.map(|offset| at(near_own, offset)),
            held_beyond_gap,
            digest,
        };
        (head, (Frame::new(own), Frame::new(sender)))
    })
}

fn read_head(bytes: &[u8], long: bool, ends: (Frame, Frame)) -> (InputsHead, usize) {
    let mut reader = ByteReader::new(&bytes[wire::HEAD_BYTES..]);
    let head = InputsHead::decode(wire::flags(bytes), &mut reader, long, ends).unwrap();
    (head, reader.remaining())
}

proptest! {
    #[test]
    fn a_head_with_short_numbers_means_the_whole_ones((head, ends) in head(false)) {
        let mut bytes = Vec::new();
        wire::start(Kind::Inputs, &mut bytes);
        head.encode(false, &mut bytes);
        prop_assert_eq!(read_head(&bytes, false, ends), (head, 0));
    }

    #[test]
    fn a_head_with_long_numbers_means_the_whole_ones((head, ends) in head(true)) {
        let mut bytes = Vec::new();
        wire::start(Kind::Inputs, &mut bytes);
        head.encode(true, &mut bytes);
        prop_assert_eq!(read_head(&bytes, true, ends), (head, 0));
    }

    #[test]
    fn rare_messages_are_read_as_they_were_written(message in control()) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert_eq!(Control::decode(&bytes), Ok(message));
    }

    #[test]
    fn bytes_that_are_a_rare_message_are_the_only_ones_that_are_it(
        kind in 0..9_u8,
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        bytes.insert(0, kind);
        if let Ok(message) = Control::decode(&bytes) {
            let mut again = Vec::new();
            message.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written(hello in hello(), heard in any::<bool>()) {
        let mut bytes = Vec::new();
        hello.encode(heard, &mut bytes);
        prop_assert_eq!(Hello::decode(&bytes), Ok(Hello { heard, ..hello }));
    }

    #[test]
    fn bytes_behind_a_version_are_a_hello_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        is_ours in any::<bool>(),
    ) {
        let [low, high] = wire::WIRE_VERSION.to_le_bytes();
        let ours = [&[low, high], &bytes[..]].concat();
        let bytes = if is_ours { ours } else { bytes };
        if let Ok(hello) = Hello::decode(&bytes) {
            let mut again = Vec::new();
            hello.encode(hello.heard, &mut again);
            prop_assert!(hello.version != wire::WIRE_VERSION || Hello::decode(&again) == Ok(hello));
        }
    }

    #[test]
    fn bytes_that_are_an_item_are_the_only_ones_that_are_it(bytes in any::<[u8; 3]>()) {
        if let Ok(item) = Item::decode(&mut ByteReader::new(&bytes)) {
            let mut again = Vec::new();
            item.encode(&mut again);
            prop_assert_eq!(&again[..], &bytes[..]);
        }
    }

    #[test]
    fn a_configuration_has_one_form(
        (players, width, hz) in (0..70_usize, 0..520_usize, 0..1100_u16),
        delays in prop::collection::vec((0..64_u8, 0..40_u8), 0..5),
        (window, interval, members) in (0..140_u8, 0..70_u8, 0..10_usize),
        change in prop::option::of((any::<prop::sample::Index>(), 1..=u8::MAX)),
    ) {
        let builder = SessionConfig::builder().players(players).input_width(width).tick_rate_hz(hz);
        let builder = builder.prediction_window_frames(window).report_interval_frames(interval);
        let builder = delays.into_iter().fold(builder.members_min(members), |builder, (slot, delay)| {
            builder.input_delay_frames_of(PlayerHandle::new(slot).unwrap(), delay)
        });
        let Ok(config) = builder.build() else { return Ok(()) };
        let mut bytes = config.encode();
        prop_assert_eq!(SessionConfig::decode(&bytes), Ok(config.clone()));
        if let Some((at, bits)) = change {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            match SessionConfig::decode(&bytes) {
                Ok(other) => prop_assert!(other != config && other.encode() == bytes),
                Err(error) => prop_assert!(!matches!(error, ConfigDecodeError::NotAsEncoded) || bits != 0),
            }
        }
    }
}
