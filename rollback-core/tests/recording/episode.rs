//! Episodes to record.

use rollback_core::recording::{RecordedFrame, RecordingHeader, RecordingWriter};
use rollback_core::{
    End, EndCause, Frame, InputFlags, Item, PeerId, Roster, SessionConfig, StateHash,
};

pub(crate) fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

pub(crate) fn fact(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The episode of the worked example in `docs/recording-format.md`: two players, three frames.
pub(crate) fn example() -> (RecordingHeader, Vec<RecordedFrame>, End) {
    let header = RecordingHeader {
        session: 0x1234,
        episode: 1,
        seed: 42,
        config: SessionConfig::builder().players(2).input_delay_frames(2).build().unwrap(),
        roster: Roster::one_player_each(2).unwrap(),
        participants: vec!["ann".into(), "bob".into()],
        must_match: vec![fact("env", "duel")],
        may_differ: vec![vec![fact("cpu", "AVX2")], vec![]],
        start_hash: StateHash::from_u128(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100),
    };
    let frame = |index, inputs: [u8; 2], output: &[u8]| RecordedFrame {
        frame: Frame::new(index),
        inputs: inputs.to_vec(),
        flags: vec![InputFlags::FOCUSED.bits(), InputFlags::POLICY.bits()],
        items: vec![],
        output: output.to_vec(),
        state_hash: None,
        keyframe: None,
    };
    let gone = InputFlags::IDLE_FILLED.bits();
    let frames = vec![
        RecordedFrame { state_hash: Some(header.start_hash), ..frame(0, [0, 3], &[1]) },
        frame(1, [0, 3], &[1]),
        RecordedFrame {
            items: vec![(peer(0), Item::Leave)],
            flags: vec![gone, InputFlags::POLICY.bits()],
            ..frame(2, [0, 5], &[2])
        },
    ];
    let end = End { frame: Frame::new(3), cause: EndCause::Finished, by: None };
    (header, frames, end)
}

/// An episode of two blocks and a part of one in which everything happens: three players on two peers, two-byte
/// inputs, outputs of changing length, reports, and a peer that leaves.
pub(crate) fn eventful() -> (RecordingHeader, Vec<RecordedFrame>, End) {
    let config = SessionConfig::builder()
        .players(3)
        .input_width(2)
        .tick_rate_hz(30)
        .idle_input(&[0x80, 0x80])
        .report_interval_frames(15)
        .build()
        .unwrap();
    let header = RecordingHeader {
        session: u64::MAX,
        episode: 7,
        seed: 0x0123_4567_89ab_cdef,
        config,
        roster: Roster::new(&[peer(0), peer(1), peer(1)]).unwrap(),
        participants: vec!["p-01".into(), "Zoë".into()],
        must_match: vec![fact("env", "kitchen:make_env"), fact("cogrid", "0.1.5")],
        may_differ: vec![vec![fact("numpy", "2.4.6"), fact("cpu", "AVX2")], vec![fact("", "")]],
        start_hash: StateHash::from_u128(1),
    };
    let frames = (0..133).map(|index| eventful_frame(Frame::new(index))).collect();
    let end = End { frame: Frame::new(133), cause: EndCause::Left, by: Some(peer(1)) };
    (header, frames, end)
}

fn eventful_frame(frame: Frame) -> RecordedFrame {
    let index = frame.index();
    let byte = |value: u32| value.to_le_bytes()[0];
    let left = index >= 130;
    let first = [byte(index / 5), 0x80];
    let others = if left { [0x80; 4] } else { [byte(index / 11), 1, 0x80, byte(index / 40)] };
    let gone = InputFlags::IDLE_FILLED.bits();
    let flags = if left { [1, gone, gone] } else { [1, byte(index / 50), 4] };
    let leave = (index == 130).then_some((peer(1), Item::Leave));
    let join = (index == 61).then_some((peer(1), Item::Join { incarnation: 1 }));
    RecordedFrame {
        frame,
        inputs: [&first[..], &others].concat(),
        flags: flags.to_vec(),
        items: leave.into_iter().chain(join).collect(),
        output: vec![byte(index / 3); usize::try_from(index / 33).unwrap()],
        state_hash: frame.is_multiple_of(15).then(|| StateHash::from_u128(u128::from(index) + 1)),
        keyframe: None,
    }
}

/// The hash of every last state here.
pub(crate) const END_HASH: StateHash =
    StateHash::from_u128(0x1f1e_1d1c_1b1a_1918_1716_1514_1312_1110);

/// The bytes of a finished recording.
pub(crate) fn record(header: &RecordingHeader, frames: &[RecordedFrame], end: End) -> Vec<u8> {
    let mut writer = RecordingWriter::new(header).unwrap();
    for frame in frames {
        writer.push(&frame.as_stable()).unwrap();
    }
    writer.set_end_hash(END_HASH);
    writer.finish(end, 2).unwrap();
    writer.take_bytes()
}
