//! Compares two recordings of one episode and says how far they are equal.

use core::fmt;

use crate::recording::Recording;
use crate::session::StableFrame;
use crate::{Frame, PlayerHandle};

/// How two recordings stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// They are equal in every byte.
    Equal,
    /// All that both hold is equal, and one of them holds less: it ends earlier, or has no end that was agreed.
    Prefix {
        /// How many frames both hold.
        frames: Frame,
    },
    /// They differ.
    Different {
        /// The first frame that differs; 0 where the headers do.
        frame: Frame,
        /// What differs there.
        what: Difference,
    },
}

/// What differs between two recordings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// A field of the header.
    Header {
        /// Its name.
        field: &'static str,
    },
    /// The hash of the state before the frame.
    StateHash,
    /// The items.
    Items,
    /// The input of a player.
    Input {
        /// The player.
        player: PlayerHandle,
    },
    /// The flags of a player's input.
    Flags {
        /// The player.
        player: PlayerHandle,
    },
    /// The output.
    Output,
    /// The end record: both ends were agreed, at the same frame, and still differ.
    End,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { field } => write!(f, "header: {field}"),
            Self::StateHash => f.write_str("state hash"),
            Self::Items => f.write_str("items"),
            Self::Input { player } => write!(f, "input of {player}"),
            Self::Flags { player } => write!(f, "flags of {player}"),
            Self::Output => f.write_str("output"),
            Self::End => f.write_str("end record"),
        }
    }
}

/// Compares two recordings: first their headers, then frame by frame, then their ends.
#[must_use]
pub fn compare(one: &Recording, other: &Recording) -> Comparison {
    if one.as_bytes() == other.as_bytes() {
        return Comparison::Equal;
    }
    if let Some(field) = one.header().first_difference(other.header()) {
        let what = Difference::Header { field };
        return Comparison::Different { frame: Frame::ZERO, what };
    }
    let width = one.header().config.input_width();
    let (mut frames, mut others) = (one.frames(), other.frames());
    while let (Some(frame), Some(other)) = (frames.next_frame(), others.next_frame()) {
        if let Some(what) = difference(&frame, &other, width) {
            return Comparison::Different { frame: frame.frame, what };
        }
    }
    let (count, other_count) = (one.frame_count(), other.frame_count());
    let ends = one.end().zip(other.end());
    let both_agreed =
        ends.is_some_and(|(end, other)| end.end.cause.is_agreed() && other.end.cause.is_agreed());
    if count == other_count && both_agreed {
        return Comparison::Different { frame: count, what: Difference::End };
    }
    Comparison::Prefix { frames: count.min(other_count) }
}

fn difference(one: &StableFrame<'_>, other: &StableFrame<'_>, width: usize) -> Option<Difference> {
    if one == other {
        return None;
    }
    if one.state_hash != other.state_hash {
        return Some(Difference::StateHash);
    }
    if one.items != other.items {
        return Some(Difference::Items);
    }
    if let Some(player) = first_player(one.inputs, other.inputs, width) {
        return Some(Difference::Input { player });
    }
    if let Some(player) = first_player(one.flags, other.flags, 1) {
        return Some(Difference::Flags { player });
    }
    Some(Difference::Output)
}

/// The first player whose value differs.
fn first_player(one: &[u8], other: &[u8], width: usize) -> Option<PlayerHandle> {
    let index = one.chunks(width).zip(other.chunks(width)).position(|(one, other)| one != other)?;
    u8::try_from(index).ok().and_then(PlayerHandle::new)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::recording::{RecordedFrame, RecordingHeader, RecordingWriter};
    use crate::session::{End, EndCause};
    use crate::{Item, PeerId, Roster, SessionConfig, StateHash};

    /// A recording of 70 frames, of which one is changed.
    fn record(
        seed: u64,
        ends: Option<(u32, EndCause)>,
        change: impl Fn(&mut RecordedFrame),
    ) -> Recording {
        let header = RecordingHeader {
            session: 1,
            episode: 0,
            seed,
            config: SessionConfig::builder().input_width(2).build().unwrap(),
            roster: Roster::one_player_each(2).unwrap(),
            participants: vec!["a".into(), "b".into()],
            must_match: vec![],
            may_differ: vec![vec![], vec![]],
            start_hash: StateHash::default(),
        };
        let mut writer = RecordingWriter::new(&header).unwrap();
        for frame in Frame::ZERO.until(Frame::new(70)) {
            let mut row = RecordedFrame {
                frame,
                inputs: vec![0; 4],
                flags: vec![0; 2],
                items: vec![],
                output: vec![],
                state_hash: None,
                keyframe: None,
            };
            if frame.index() == 65 {
                change(&mut row);
            }
            writer.push(&row.as_stable()).unwrap();
        }
        if let Some((frame, cause)) = ends {
            writer.finish(End { frame: Frame::new(frame), cause, by: None }, 1).unwrap();
        } else {
            let beyond = End { frame: Frame::new(71), cause: EndCause::Left, by: None };
            writer.finish(beyond, 1).unwrap_err();
        }
        Recording::decode(&writer.take_bytes()).unwrap()
    }

    const FINISHED: Option<(u32, EndCause)> = Some((70, EndCause::Finished));

    fn against(change: impl Fn(&mut RecordedFrame)) -> Comparison {
        compare(&record(1, FINISHED, |_| {}), &record(1, FINISHED, change))
    }

    #[test]
    fn the_first_difference_is_named() {
        let player = PlayerHandle::new(1).unwrap();
        let at_65 = |what| Comparison::Different { frame: Frame::new(65), what };
        assert_eq!(against(|_| {}), Comparison::Equal);
        assert_eq!(against(|row| row.inputs[3] = 1), at_65(Difference::Input { player }));
        assert_eq!(against(|row| row.flags[1] = 1), at_65(Difference::Flags { player }));
        assert_eq!(against(|row| row.output = vec![1]), at_65(Difference::Output));
        let hash = Some(StateHash::from_u128(1));
        assert_eq!(against(|row| row.state_hash = hash), at_65(Difference::StateHash));
        let leave = (PeerId::new(0).unwrap(), Item::Leave);
        assert_eq!(against(|row| row.items = vec![leave]), at_65(Difference::Items));
        let what = Difference::Header { field: "seed" };
        let different = Comparison::Different { frame: Frame::ZERO, what };
        assert_eq!(compare(&record(1, None, |_| {}), &record(2, None, |_| {})), different);
    }

    #[test]
    fn ends_that_were_agreed_at_the_same_frame_must_be_equal() {
        let finished = record(1, FINISHED, |_| {});
        let with = |ends| compare(&finished, &record(1, ends, |_| {}));
        let what = Difference::End;
        let different = Comparison::Different { frame: Frame::new(70), what };
        assert_eq!(with(Some((70, EndCause::Left))), different);
        let prefix = |frames| Comparison::Prefix { frames: Frame::new(frames) };
        assert_eq!(with(Some((70, EndCause::GameFailed))), prefix(70));
        assert_eq!(with(Some((64, EndCause::Partitioned))), prefix(64));
        assert_eq!(with(None), prefix(70));
    }
}
