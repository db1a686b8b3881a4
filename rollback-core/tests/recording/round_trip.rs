//! Whatever is recorded comes back, and in one form only.

use proptest::prelude::*;
use rollback_core::recording::{
    Comparison, RecordedFrame, Recording, RecordingHeader, RecordingReader, compare,
};
use rollback_core::{
    Actor, End, EndCause, Frame, Item, PeerId, PlayerHandle, Roster, SessionConfig, StateHash,
};

use crate::episode::{eventful, record};

fn hosts() -> impl Strategy<Value = Vec<PeerId>> {
    // The first players make sure that no peer is without one.
    (1..=8_u8, prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(peers, more)| {
        let more = more.into_iter().map(|slot| slot % peers);
        (0..peers).chain(more).filter_map(PeerId::new).collect()
    })
}

fn facts() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((".{0,8}", ".{0,20}"), 0..4)
}

fn header() -> impl Strategy<Value = RecordingHeader> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u64>(), any::<u128>());
    let config = (1..=5_usize, 0..=128_u8, any::<u8>());
    let texts = (prop::collection::vec(".{0,9}", 8), facts(), prop::collection::vec(facts(), 8));
    (hosts(), numbers, config, texts).prop_map(|(hosts, numbers, config, texts)| {
        let (session, episode, seed, start) = numbers;
        let (width, window, idle) = config;
        let (mut participants, must_match, mut may_differ) = texts;
        let roster = Roster::new(&hosts).unwrap();
        participants.truncate(roster.peer_count());
        may_differ.truncate(roster.peer_count());
        let config = SessionConfig::builder()
            .players(hosts.len())
            .input_width(width)
            .prediction_window_frames(window)
            .idle_input(&vec![idle; width])
            .build()
            .unwrap();
        let start_hash = StateHash::from_u128(start);
        RecordingHeader {
            session,
            episode,
            seed,
            config,
            roster,
            participants,
            must_match,
            may_differ,
            start_hash,
        }
    })
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        Just(Item::Leave),
        any::<u16>().prop_map(|code| Item::End { code }),
        any::<u8>().prop_map(|incarnation| Item::Join { incarnation }),
        Just(Item::Pause),
        Just(Item::Resume),
        (0..64_u8, any::<bool>()).prop_map(|(slot, is_policy)| Item::Actor {
            player: PlayerHandle::new(slot).unwrap(),
            actor: if is_policy { Actor::Policy } else { Actor::Person },
        }),
    ]
}

/// Frames in which few things change, as in play.
fn frames(header: &RecordingHeader) -> impl Strategy<Value = Vec<RecordedFrame>> + use<> {
    let players = header.config.players();
    let (inputs, peers) = (players * header.config.input_width(), header.roster.peer_count());
    let items = prop::collection::vec((0..peers, item()), 0..3);
    let change = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<u8>(),
        prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 0..6)),
        prop::option::weighted(0.1, items),
        prop::option::weighted(0.1, any::<u128>()),
    );
    prop::collection::vec(change, 0..150).prop_map(move |changes| {
        let mut row = RecordedFrame {
            frame: Frame::ZERO,
            inputs: vec![0; inputs],
            flags: vec![0; players],
            items: vec![],
            output: vec![],
            state_hash: None,
            keyframe: None,
        };
        let mut frames = Vec::new();
        for (index, (at, value, flags, output, items, hash)) in changes.into_iter().enumerate() {
            row.frame = Frame::new(u32::try_from(index).unwrap());
            if value % 3 == 0 {
                row.inputs[at.index(inputs)] = value;
            }
            if flags % 7 == 0 {
                row.flags[at.index(players)] = flags;
            }
            row.output = output.unwrap_or(row.output);
            let mut items = items.unwrap_or_default();
            items.sort_by_key(|(peer, _)| *peer);
            let all: Vec<PeerId> = PeerId::all(peers).collect();
            row.items = items.into_iter().map(|(peer, item)| (all[peer], item)).collect();
            row.state_hash = hash.map(StateHash::from_u128);
            frames.push(row.clone());
        }
        frames
    })
}

fn episode() -> impl Strategy<Value = (RecordingHeader, Vec<RecordedFrame>, End)> {
    let header = header();
    let with_frames = header.prop_flat_map(|header| {
        let frames = frames(&header);
        (Just(header), frames, 0..8_u8, any::<u16>(), any::<bool>())
    });
    with_frames.prop_map(|(header, frames, kind, code, someone)| {
        let cause = EndCause::from_code(kind, code).unwrap();
        let frame = Frame::new(u32::try_from(frames.len()).unwrap());
        let by = someone.then(|| PeerId::new(0)).flatten();
        (header, frames, End { frame, cause, by })
    })
}

proptest! {
    #[test]
    fn what_was_recorded_is_read((header, frames, end) in episode()) {
        let bytes = record(&header, &frames, end);
        let recording = Recording::decode(&bytes).unwrap();
        prop_assert_eq!(recording.header(), &header);
        prop_assert_eq!(recording.end().map(|record| record.end), Some(end));
        prop_assert_eq!(recording.as_bytes(), &bytes[..]);
        prop_assert_eq!(recording.frames().collect::<Vec<_>>(), frames);
        prop_assert_eq!(recording.frame_count(), end.frame);
    }

    #[test]
    fn recordings_that_read_alike_have_the_same_bytes(
        (header, frames, end) in episode(),
        change in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut others = frames.clone();
        if !frames.is_empty() {
            let row = &mut others[change.index(frames.len())];
            row.inputs[0] = value;
        }
        let (one, other) = (record(&header, &frames, end), record(&header, &others, end));
        prop_assert_eq!(one == other, frames == others);
        let (one, other) = (Recording::decode(&one).unwrap(), Recording::decode(&other).unwrap());
        prop_assert_eq!(compare(&one, &other) == Comparison::Equal, frames == others);
        prop_assert_eq!(one.digest() == other.digest(), frames == others);
    }
}

#[test]
fn a_recording_cut_anywhere_is_read_up_to_its_last_whole_block() {
    let (header, frames, end) = eventful();
    let bytes = record(&header, &frames, end);
    let whole = Recording::decode(&bytes).unwrap();
    let header_bytes = {
        let reader = RecordingReader::new(&bytes).unwrap();
        reader.whole_bytes()
    };
    for length in header_bytes..bytes.len() {
        let cut = Recording::decode(&bytes[..length]).unwrap();
        assert!(!cut.is_complete());
        let count = cut.frame_count();
        assert!([0, 60, 120, 133].map(Frame::new).contains(&count), "{count} of {length} bytes");
        assert_eq!(cut.as_bytes().len() + cut.dropped_bytes(), length);
        assert_eq!(compare(&cut, &whole), Comparison::Prefix { frames: count });
        let kept = frames.iter().take(usize::try_from(count.index()).unwrap());
        assert!(cut.frames().eq(kept.cloned()));
    }
    assert!(Recording::decode(&bytes[..header_bytes - 1]).is_err());
}

#[test]
fn quiet_frames_take_a_byte_and_a_block_thirty() {
    let (mut header, _, _) = eventful();
    header.config = SessionConfig::builder().players(3).build().unwrap();
    let bytes = |count: u32| {
        let frame = |index| RecordedFrame {
            frame: Frame::new(index),
            inputs: vec![0; 3],
            flags: vec![0; 3],
            items: vec![],
            output: vec![],
            state_hash: None,
            keyframe: None,
        };
        let frames: Vec<_> = (0..count).map(frame).collect();
        let end = End { frame: Frame::new(count), cause: EndCause::Finished, by: None };
        record(&header, &frames, end).len()
    };
    assert_eq!(bytes(1200) - bytes(0), 1200 + 20 * 30);
}
