//! Writes a recording: takes frames when they are stable, and gives out their bytes when they are agreed. Touches no disk.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use thiserror::Error;

use crate::bytes::PutBytes;
use crate::finality::Agreed;
use crate::recording::reader::NOBODY;
use crate::recording::row::{ITEMS_PER_FRAME_MAX, OUTPUT_BYTES_MAX, RowEncoder};
use crate::recording::section::{
    BLOCK_FRAMES, FORMAT_VERSION, Kind, MAGIC, first_chain, put_section,
};
use crate::recording::{HeaderError, RecordingHeader};
use crate::session::{End, StableFrame};
use crate::{Chain, Frame, PeerId, STATE_BYTES_MAX, StateHash};

/// Makes the bytes of a recording out of an episode's stable frames.
///
/// A block is given out when the states of all its frames are agreed; the frames after the last such block are given
/// out by [`finish`](Self::finish). What comes out is a function of the header, the frames and the end alone, and not
/// of when the calls are made.
#[derive(Clone, Debug)]
pub struct RecordingWriter {
    encoder: RowEncoder,
    inputs: usize,
    players: usize,
    peers: usize,
    chain: Chain,
    pending: VecDeque<Block>,
    /// Every frame before this one was given out.
    written: Frame,
    /// The next frame to be pushed.
    next: Frame,
    agreed: Frame,
    end_hash: Option<StateHash>,
    bytes: Vec<u8>,
    is_finished: bool,
}

/// The frames of a block, as far as they were pushed.
#[derive(Clone, Debug)]
struct Block {
    rows: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl RecordingWriter {
    /// A writer that has the header to give out.
    ///
    /// # Errors
    /// When a field of the header is too long or does not fit the roster.
    pub fn new(header: &RecordingHeader) -> Result<Self, HeaderError> {
        let body = header.encode()?;
        let mut bytes = MAGIC.to_vec();
        bytes.put_u16(FORMAT_VERSION);
        let chain = first_chain(&bytes);
        let chain = put_section(&mut bytes, chain, (Kind::Header, Frame::ZERO, 0), &body);
        let players = header.config.players();
        Ok(Self {
            encoder: RowEncoder::new(&header.config),
            inputs: players * header.config.input_width(),
            players,
            peers: header.roster.peer_count(),
            chain,
            pending: VecDeque::new(),
            written: Frame::ZERO,
            next: Frame::ZERO,
            agreed: Frame::ZERO,
            end_hash: None,
            bytes,
            is_finished: false,
        })
    }

    /// Takes the next stable frame.
    ///
    /// # Errors
    /// When it is not the next one, does not fit the configuration or a limit, when too many frames wait for
    /// agreement, or after the end. The frame is not taken then.
    pub fn push(&mut self, frame: &StableFrame<'_>) -> Result<(), WriterError> {
        self.check(frame)?;
        if frame.frame.is_multiple_of(BLOCK_FRAMES) {
            self.encoder.begin_block();
            self.pending.push_back(Block { rows: Vec::new(), ends: Vec::new() });
        }
        if let Some(block) = self.pending.back_mut() {
            self.encoder.encode(frame, &mut block.rows);
            block.ends.push(block.rows.len());
        }
        self.next = frame.frame.next();
        self.give_out_agreed();
        Ok(())
    }

    /// Takes how far the members' states are known to be equal.
    pub fn agreed(&mut self, agreed: Agreed) {
        self.agreed = self.agreed.max(agreed.end());
        self.give_out_agreed();
    }

    /// Takes the hash of the state at the end, where the members agreed on it, before [`finish`](Self::finish). It is
    /// recorded, so all members must give it or none; without it, the last frames are proved by their outputs alone.
    pub fn set_end_hash(&mut self, hash: StateHash) {
        self.end_hash = Some(hash);
    }

    /// Takes the end of the episode and gives out the frames before it; frames from it on are dropped. The session
    /// knows the end: `completed_episodes` counts the episodes of the match that were played to an end.
    ///
    /// # Errors
    /// When frames before the end were not pushed, or frames after it were given out. The recording has no end record
    /// then, and reads as unfinished.
    pub fn finish(&mut self, end: End, completed_episodes: u32) -> Result<(), WriterError> {
        if self.is_finished {
            return Err(WriterError::Finished);
        }
        self.is_finished = true;
        if end.frame < self.written {
            return Err(WriterError::EndTooEarly { written: self.written, got: end.frame });
        }
        while let Some(block) = self.pending.pop_front() {
            self.give_out(&block, end.frame);
        }
        if self.written < end.frame {
            return Err(WriterError::FramesMissing { expected: end.frame, got: self.written });
        }
        let (kind, code) = end.cause.code();
        let mut body = Vec::new();
        body.put_u8(kind);
        body.put_u16(code);
        body.put_u8(end.by.map_or(NOBODY, PeerId::slot));
        body.put_u32(completed_episodes);
        if let Some(hash) = self.end_hash {
            body.put(&hash.to_bytes());
        }
        self.chain = put_section(&mut self.bytes, self.chain, (Kind::End, end.frame, 0), &body);
        Ok(())
    }

    /// The bytes to append to the file, given out since the last call.
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    /// Whether the end was taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn check(&self, frame: &StableFrame<'_>) -> Result<(), WriterError> {
        if self.is_finished {
            return Err(WriterError::Finished);
        }
        if frame.frame != self.next || self.next == Frame::MAX {
            return Err(WriterError::Gap { expected: self.next, got: frame.frame });
        }
        let frame_at = frame.frame;
        for (field, expected, got) in [
            ("inputs", self.inputs, frame.inputs.len()),
            ("flags", self.players, frame.flags.len()),
        ] {
            if expected != got {
                return Err(WriterError::Width { frame: frame_at, field, expected, got });
            }
        }
        for (field, max, got) in [
            ("output", OUTPUT_BYTES_MAX, frame.output.len()),
            ("items", ITEMS_PER_FRAME_MAX, frame.items.len()),
            ("keyframe", STATE_BYTES_MAX, frame.keyframe.map_or(0, <[u8]>::len)),
        ] {
            if got > max {
                return Err(WriterError::TooLong { frame: frame_at, field, max, got });
            }
        }
        let mut peers = frame.items.iter().map(|(peer, _)| *peer);
        if !peers.clone().is_sorted() || peers.any(|peer| peer.index() >= self.peers) {
            return Err(WriterError::Proposers { frame: frame_at });
        }
        if self.next.since(self.written) >= PENDING_FRAMES_MAX {
            return Err(WriterError::NotAgreed { frame: frame_at, max: PENDING_FRAMES_MAX });
        }
        Ok(())
    }

    fn give_out_agreed(&mut self) {
        while !self.is_finished {
            let end = self.written.plus(BLOCK_FRAMES);
            if end > self.agreed || end > self.next {
                return;
            }
            let Some(block) = self.pending.pop_front() else { return };
            self.give_out(&block, end);
        }
    }

    /// Gives out the frames of `block` that are before `end`.
    fn give_out(&mut self, block: &Block, end: Frame) {
        let count = block.ends.len().min(end.since(self.written) as usize);
        let Some(length) = count.checked_sub(1).and_then(|last| block.ends.get(last)) else {
            return;
        };
        let body = block.rows.get(..*length).unwrap_or_default();
        let count = u8::try_from(count).unwrap_or(u8::MAX);
        let place = (Kind::Block, self.written, count);
        self.chain = put_section(&mut self.bytes, self.chain, place, body);
        self.written = self.written.plus(count.into());
    }
}

/// Why a recording cannot take a frame or an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum WriterError {
    /// The end was taken already.
    #[error("the recording is finished")]
    Finished,
    /// A frame is not the next one.
    #[error("expected frame {expected}, got {got}")]
    Gap {
        /// The next frame.
        expected: Frame,
        /// The frame given.
        got: Frame,
    },
    /// A field has not the width that the configuration says.
    #[error("frame {frame}: expected {expected} bytes of {field}, got {got}")]
    Width {
        /// The frame.
        frame: Frame,
        /// The field.
        field: &'static str,
        /// The width.
        expected: usize,
        /// The width given.
        got: usize,
    },
    /// A field is longer than its limit.
    #[error("frame {frame}: {field}: expected at most {max}, got {got}")]
    TooLong {
        /// The frame.
        frame: Frame,
        /// The field.
        field: &'static str,
        /// The limit.
        max: usize,
        /// What was given.
        got: usize,
    },
    /// The items are not in the order of their proposers, or a proposer is not of the roster.
    #[error("frame {frame}: expected items in the order of their proposers, all of the roster")]
    Proposers {
        /// The frame.
        frame: Frame,
    },
    /// Too many frames wait for agreement: the writer is not told what is agreed.
    #[error("frame {frame}: expected at most {max} frames that wait for agreement")]
    NotAgreed {
        /// The frame.
        frame: Frame,
        /// The limit.
        max: u32,
    },
    /// Frames from the end on were given out already.
    #[error("expected an end at frame {written} or later, got {got}")]
    EndTooEarly {
        /// The first frame that was not given out.
        written: Frame,
        /// The end given.
        got: Frame,
    },
    /// Frames before the end were never pushed.
    #[error("expected all frames before {expected}, got those before {got}")]
    FramesMissing {
        /// The end.
        expected: Frame,
        /// The first frame that is missing.
        got: Frame,
    },
}

/// The most frames that wait for agreement: twice the longest history of a session, which stalls before that.
pub const PENDING_FRAMES_MAX: u32 = 2048;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::Item;
    use crate::recording::fixtures::header;
    use crate::recording::{Comparison, Recording, compare};
    use crate::session::EndCause;

    fn push(writer: &mut RecordingWriter, index: u32) -> Result<(), WriterError> {
        let [a, b, ..] = (index / 7).to_le_bytes();
        let output = (index / 3).to_le_bytes();
        let frame = Frame::new(index);
        let hash = frame.is_multiple_of(10).then(|| StateHash::from_u128(index.into()));
        let row = StableFrame {
            frame,
            inputs: &[a, b],
            flags: &[0, 1],
            items: &[],
            output: &output,
            state_hash: hash,
            keyframe: None,
        };
        writer.push(&row)
    }

    fn end(frame: u32, cause: EndCause) -> End {
        End { frame: Frame::new(frame), cause, by: None }
    }

    fn agreed(frame: u32) -> Agreed {
        Agreed::before(Frame::new(frame))
    }

    #[test]
    fn a_block_is_given_out_when_all_its_frames_are_agreed() {
        let mut writer = RecordingWriter::new(&header()).unwrap();
        assert!(!writer.take_bytes().is_empty());
        for index in 0..70 {
            push(&mut writer, index).unwrap();
        }
        writer.agreed(agreed(59));
        assert!(writer.take_bytes().is_empty());
        writer.agreed(agreed(60));
        assert!(!writer.take_bytes().is_empty());
        writer.agreed(agreed(300));
        assert!(writer.take_bytes().is_empty());
        for index in 70..120 {
            assert!(writer.take_bytes().is_empty());
            push(&mut writer, index).unwrap();
        }
        assert!(!writer.take_bytes().is_empty());
    }

    #[test]
    fn after_a_desync_both_files_end_where_the_members_last_agreed() {
        let [ahead, behind] = [150, 131].map(|pushed| {
            let mut writer = RecordingWriter::new(&header()).unwrap();
            (0..pushed).for_each(|index| push(&mut writer, index).unwrap());
            writer.agreed(agreed(pushed - 30));
            writer.finish(end(130, EndCause::Desync), 0).unwrap();
            writer.take_bytes()
        });
        assert_eq!(ahead, behind);
        let recording = Recording::decode(&ahead).unwrap();
        assert_eq!(recording.frame_count(), Frame::new(130));
    }

    #[test]
    fn a_minority_s_file_is_a_prefix_and_its_whole_blocks_are_the_others_bytes() {
        let [minority, rest] =
            [(95, EndCause::Partitioned), (200, EndCause::Finished)].map(|(frame, cause)| {
                let mut writer = RecordingWriter::new(&header()).unwrap();
                (0..frame).for_each(|index| push(&mut writer, index).unwrap());
                writer.finish(end(frame, cause), 1).unwrap();
                writer.take_bytes()
            });
        let (one, other) =
            (Recording::decode(&minority).unwrap(), Recording::decode(&rest).unwrap());
        assert_eq!(compare(&one, &other), Comparison::Prefix { frames: Frame::new(95) });
        let equal = minority.iter().zip(&rest).take_while(|(one, other)| one == other).count();
        let mut writer = RecordingWriter::new(&header()).unwrap();
        (0..60).for_each(|index| push(&mut writer, index).unwrap());
        writer.agreed(agreed(60));
        assert!(equal >= writer.take_bytes().len());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut writer = RecordingWriter::new(&header()).unwrap();
        push(&mut writer, 0).unwrap();
        let frame = Frame::new(1);
        assert_eq!(
            push(&mut writer, 2),
            Err(WriterError::Gap { expected: frame, got: Frame::new(2) })
        );
        let row = StableFrame {
            frame,
            inputs: &[0, 0],
            flags: &[0, 0],
            items: &[],
            output: &[],
            state_hash: None,
            keyframe: None,
        };
        let width = |field, got| Err(WriterError::Width { frame, field, expected: 2, got });
        let short = StableFrame { inputs: &[0], ..row };
        assert_eq!(writer.push(&short), width("inputs", 1));
        assert_eq!(writer.push(&StableFrame { flags: &[0; 3], ..row }), width("flags", 3));

        let leave = |slot| (PeerId::new(slot).unwrap(), Item::Leave);
        let refused = Err(WriterError::Proposers { frame });
        assert_eq!(writer.push(&StableFrame { items: &[leave(1), leave(0)], ..row }), refused);
        assert_eq!(writer.push(&StableFrame { items: &[leave(2)], ..row }), refused);
        let (max, got) = (ITEMS_PER_FRAME_MAX, ITEMS_PER_FRAME_MAX + 1);
        let refused = Err(WriterError::TooLong { frame, field: "items", max, got });
        assert_eq!(writer.push(&StableFrame { items: &vec![leave(0); got], ..row }), refused);
        let (max, got) = (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX + 1);
        let refused = Err(WriterError::TooLong { frame, field: "output", max, got });
        assert_eq!(writer.push(&StableFrame { output: &vec![0; got], ..row }), refused);
        assert_eq!(writer.push(&StableFrame { output: &vec![0; max], ..row }), Ok(()));

        writer.finish(end(2, EndCause::Left), 0).unwrap();
        assert_eq!(push(&mut writer, 2), Err(WriterError::Finished));
        assert_eq!(writer.finish(end(2, EndCause::Left), 0), Err(WriterError::Finished));
        assert!(Recording::decode(&writer.take_bytes()).unwrap().is_complete());
    }

    #[test]
    fn a_writer_that_is_not_told_what_is_agreed_stops_at_its_limit() {
        let mut writer = RecordingWriter::new(&header()).unwrap();
        (0..PENDING_FRAMES_MAX).for_each(|index| push(&mut writer, index).unwrap());
        let frame = Frame::new(PENDING_FRAMES_MAX);
        let refused = Err(WriterError::NotAgreed { frame, max: PENDING_FRAMES_MAX });
        assert_eq!(push(&mut writer, PENDING_FRAMES_MAX), refused);
        writer.agreed(agreed(60));
        push(&mut writer, PENDING_FRAMES_MAX).unwrap();
    }

    #[test]
    fn an_end_that_does_not_fit_leaves_the_recording_unfinished() {
        let mut writer = RecordingWriter::new(&header()).unwrap();
        (0..70).for_each(|index| push(&mut writer, index).unwrap());
        let mut early = writer.clone();
        let (expected, got) = (Frame::new(71), Frame::new(70));
        assert_eq!(
            writer.finish(end(71, EndCause::Finished), 1),
            Err(WriterError::FramesMissing { expected, got })
        );
        let recording = Recording::decode(&writer.take_bytes()).unwrap();
        assert_eq!((recording.frame_count(), recording.is_complete()), (got, false));

        early.agreed(agreed(60));
        let (written, got) = (Frame::new(60), Frame::new(59));
        let refused = Err(WriterError::EndTooEarly { written, got });
        assert_eq!(early.finish(end(59, EndCause::Named(1)), 1), refused);
        let recording = Recording::decode(&early.take_bytes()).unwrap();
        assert_eq!((recording.frame_count(), recording.is_complete()), (written, false));
    }

    proptest! {
        #[test]
        fn the_bytes_do_not_depend_on_when_the_calls_are_made(
            frames in 0..400_u32,
            beyond in 0..20_u32,
            calls in prop::collection::vec((0..50_u32, 0..80_u32, any::<bool>()), 0..60),
        ) {
            let at_once = {
                let mut writer = RecordingWriter::new(&header()).unwrap();
                (0..frames).for_each(|index| push(&mut writer, index).unwrap());
                writer.finish(end(frames, EndCause::Departed), 2).unwrap();
                writer.take_bytes()
            };
            let mut writer = RecordingWriter::new(&header()).unwrap();
            let (mut bytes, mut pushed) = (Vec::new(), 0);
            for (count, lag, drain) in calls {
                for _ in 0..count.min(frames + beyond - pushed) {
                    push(&mut writer, pushed).unwrap();
                    pushed += 1;
                }
                // Nothing from the end on is ever agreed.
                writer.agreed(agreed(pushed.saturating_sub(lag).min(frames)));
                if drain {
                    bytes.extend(writer.take_bytes());
                }
            }
            (pushed..frames).for_each(|index| push(&mut writer, index).unwrap());
            writer.finish(end(frames, EndCause::Departed), 2).unwrap();
            bytes.extend(writer.take_bytes());
            prop_assert_eq!(bytes, at_once);
        }
    }
}
