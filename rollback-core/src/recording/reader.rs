//! Reads a recording frame by frame and checks every byte. An error names the place in the file.

use crate::recording::cursor::Cursor;
use crate::recording::row::RowDecoder;
use crate::recording::section::{
    BLOCK_FRAMES, FORMAT_VERSION, Kind, MAGIC, OPENING_BYTES, Section, first_chain, read_section,
};
use crate::recording::{RecordingError, RecordingHeader};
use crate::session::{End, EndCause, StableFrame};
use crate::{Chain, Frame, PeerId, StateHash};

/// Reads a recording from its bytes, one frame after the other. The frames before a damage can be had.
#[derive(Clone, Debug)]
pub struct RecordingReader<'a> {
    header: RecordingHeader,
    rows: Rows<'a>,
}

impl<'a> RecordingReader<'a> {
    /// Reads the header of a recording.
    ///
    /// # Errors
    /// When the bytes are no recording of this version, or when the header is damaged or not whole.
    pub fn new(bytes: &'a [u8]) -> Result<Self, RecordingError> {
        let (header, rows) = open(bytes)?;
        Ok(Self { header, rows })
    }

    /// What was known before the first frame.
    #[must_use]
    pub fn header(&self) -> &RecordingHeader {
        &self.header
    }

    /// The next frame; `None` after the last one that is whole.
    ///
    /// # Errors
    /// When the file is damaged here; the same error is given from then on.
    pub fn next_frame(&mut self) -> Result<Option<StableFrame<'_>>, RecordingError> {
        self.rows.next_frame()
    }

    /// How the episode ended, once all frames are read; `None` for a recording that was not finished.
    #[must_use]
    pub fn end(&self) -> Option<EndRecord> {
        self.rows.end()
    }

    /// How many bytes the header, the blocks and the end record read so far take.
    #[must_use]
    pub fn whole_bytes(&self) -> usize {
        self.rows.whole_bytes()
    }
}

/// How an episode ended, as it is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndRecord {
    /// The first frame that is not part of the episode, why, and by whom.
    pub end: End,
    /// How many episodes of the match were played to an end, with this one if it was.
    pub completed_episodes: u32,
    /// The hash of the state at the end, where the members agreed on one.
    pub state_hash: Option<StateHash>,
}

/// The sections behind a header, as rows.
#[derive(Clone, Debug)]
pub(super) struct Rows<'a> {
    bytes: &'a [u8],
    offset: usize,
    chain: Chain,
    decoder: RowDecoder<'a>,
    peers: usize,
    body: Cursor<'a>,
    left: u8,
    next: Frame,
    end: Option<EndRecord>,
    failed: Option<RecordingError>,
}

impl<'a> Rows<'a> {
    pub(super) fn next_frame(&mut self) -> Result<Option<StableFrame<'_>>, RecordingError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.left == 0
            && let Err(error) = self.next_section()
        {
            self.failed = Some(error);
            return Err(error);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let frame = self.next;
        let (failed, left, body) = (&mut self.failed, self.left, &mut self.body);
        let row = self.decoder.decode(frame, body);
        let row = row.and_then(|row| if left == 0 { body.finish().map(|()| row) } else { Ok(row) });
        match row {
            Ok(row) => {
                self.next = frame.next();
                Ok(Some(row))
            }
            Err(error) => {
                *failed = Some(error);
                Err(error)
            }
        }
    }

    pub(super) fn end(&self) -> Option<EndRecord> {
        self.end
    }

    /// The first frame that was not read.
    pub(super) fn next(&self) -> Frame {
        self.next
    }

    pub(super) fn whole_bytes(&self) -> usize {
        self.offset
    }

    /// The digest of all bytes read so far.
    pub(super) fn chain(&self) -> Chain {
        self.chain
    }

    fn next_section(&mut self) -> Result<(), RecordingError> {
        if self.end.is_some() {
            return Ok(());
        }
        let Some((section, chain)) = read_section(self.bytes, self.offset, self.chain)? else {
            return Ok(());
        };
        let (offset, first) = (section.offset, section.first);
        if first != self.next {
            return Err(RecordingError::First { offset, expected: self.next, got: first });
        }
        let whole = section.body.clone();
        match section.kind {
            Kind::Header => return Err(RecordingError::Kind { offset, got: 1 }),
            Kind::Block => self.begin_block(section)?,
            Kind::End => {
                let (offset, end) = (whole.end(), decode_end(section, self.peers)?);
                let got = self.bytes.len().saturating_sub(offset);
                if got > 0 {
                    return Err(RecordingError::Trailing { offset, got });
                }
                self.end = Some(end);
            }
        }
        self.offset = whole.end();
        self.chain = chain;
        Ok(())
    }

    fn begin_block(&mut self, section: Section<'a>) -> Result<(), RecordingError> {
        let Section { offset, first, count, body, .. } = section;
        // A block that is cut short by the end of the episode is the last one.
        if !first.is_multiple_of(BLOCK_FRAMES) || count == 0 || u32::from(count) > BLOCK_FRAMES {
            return Err(RecordingError::Block { offset, first, count });
        }
        if first.index().checked_add(count.into()).is_none() {
            return Err(RecordingError::Block { offset, first, count });
        }
        self.decoder.begin_block();
        self.body = body;
        self.left = count;
        Ok(())
    }
}

/// Reads all up to the first frame.
pub(super) fn open(bytes: &[u8]) -> Result<(RecordingHeader, Rows<'_>), RecordingError> {
    let Some((opening, _)) = bytes.split_at_checked(OPENING_BYTES) else {
        return Err(RecordingError::HeaderEnds { got: bytes.len() });
    };
    let mut cursor = Cursor::new(opening, 0);
    if cursor.array()? != MAGIC {
        return Err(RecordingError::Magic);
    }
    let version = cursor.u16()?;
    if version != FORMAT_VERSION {
        return Err(RecordingError::Version { expected: FORMAT_VERSION, got: version });
    }
    let section = read_section(bytes, OPENING_BYTES, first_chain(opening))?;
    let (section, chain) = section.ok_or(RecordingError::HeaderEnds { got: bytes.len() })?;
    let offset = section.offset;
    if section.kind != Kind::Header || section.first != Frame::ZERO || section.count != 0 {
        return Err(RecordingError::NoHeader { offset });
    }
    let body = section.body;
    let header = RecordingHeader::decode(body.clone())?;
    let peers = header.roster.peer_count();
    let rows = Rows {
        bytes,
        offset: body.end(),
        chain,
        decoder: RowDecoder::new(&header.config, peers),
        peers,
        body,
        left: 0,
        next: Frame::ZERO,
        end: None,
        failed: None,
    };
    Ok((header, rows))
}

fn decode_end(section: Section<'_>, peers: usize) -> Result<EndRecord, RecordingError> {
    let Section { first, count, mut body, offset, .. } = section;
    if count != 0 {
        return Err(RecordingError::Block { offset, first, count });
    }
    let offset = body.offset();
    let (kind, code) = (body.u8()?, body.u16()?);
    let cause = EndCause::from_code(kind, code)
        .filter(|cause| cause.code() == (kind, code))
        .ok_or(RecordingError::Cause { offset, kind, code })?;
    let offset = body.offset();
    let by = match body.u8()? {
        NOBODY => None,
        slot => Some(
            PeerId::new(slot)
                .filter(|peer| peer.index() < peers)
                .ok_or(RecordingError::Peer { offset, got: slot })?,
        ),
    };
    let completed_episodes = body.u32()?;
    let state_hash = match body.remaining() {
        0 => None,
        _ => Some(StateHash::from_bytes(body.array()?)),
    };
    body.finish()?;
    Ok(EndRecord { end: End { frame: first, cause, by }, completed_episodes, state_hash })
}

/// Stands for nobody where a peer could stand.
pub(super) const NOBODY: u8 = 0xff;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::recording::fixtures::header;
    use crate::recording::section::{HEAD_BYTES, check_of, put_section};
    use crate::recording::{Recording, RecordingWriter};

    /// A recording that is written by hand, section by section.
    struct Hand {
        bytes: Vec<u8>,
        chain: Chain,
        last: usize,
    }

    impl Hand {
        fn new() -> Self {
            let bytes = RecordingWriter::new(&header()).unwrap().take_bytes();
            let (_, rows) = open(&bytes).unwrap();
            let (chain, last) = (rows.chain, bytes.len());
            Self { bytes, chain, last }
        }

        fn section(mut self, kind: Kind, first: u32, count: u8, body: &[u8]) -> Self {
            self.last = self.bytes.len();
            let place = (kind, Frame::new(first), count);
            self.chain = put_section(&mut self.bytes, self.chain, place, body);
            self
        }

        fn error(&self) -> RecordingError {
            Recording::decode(&self.bytes).unwrap_err()
        }
    }

    const END: [u8; 8] = [0, 0, 0, NOBODY, 1, 0, 0, 0];

    #[test]
    fn a_recording_without_frames_is_sound() {
        let hand = Hand::new().section(Kind::End, 0, 0, &END);
        let recording = Recording::decode(&hand.bytes).unwrap();
        let end = End { frame: Frame::ZERO, cause: EndCause::Finished, by: None };
        assert_eq!(
            recording.end(),
            Some(EndRecord { end, completed_episodes: 1, state_hash: None })
        );
        assert_eq!(recording.digest(), hand.chain.to_u64());
    }

    #[test]
    fn what_is_no_recording_is_told_apart_from_one_that_is_cut_short() {
        let sound = Hand::new().bytes;
        for got in 0..sound.len() {
            let read = RecordingReader::new(&sound[..got]).map(|_| ());
            assert_eq!(read, Err(RecordingError::HeaderEnds { got }));
        }
        let mut bytes = sound.clone();
        bytes[0] = b'R';
        assert_eq!(open(&bytes).unwrap_err(), RecordingError::Magic);
        let mut bytes = sound.clone();
        bytes[6] = 2;
        let version = RecordingError::Version { expected: 1, got: 2 };
        assert_eq!(open(&bytes).unwrap_err(), version);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        let chain = first_chain(&bytes);
        put_section(&mut bytes, chain, (Kind::End, Frame::ZERO, 0), &END);
        assert_eq!(open(&bytes).unwrap_err(), RecordingError::NoHeader { offset: 8 });
    }

    #[test]
    fn sections_that_cannot_follow_are_refused() {
        let header = Hand::new().section(Kind::Header, 0, 0, &[]);
        let offset = header.last;
        assert_eq!(header.error(), RecordingError::Kind { offset, got: 1 });
        let mut unknown = Hand::new().section(Kind::Block, 0, 1, &[0]);
        unknown.bytes[offset] = 9;
        let check = check_of(&unknown.bytes[offset..offset + HEAD_BYTES - 4]).to_le_bytes();
        unknown.bytes[offset + HEAD_BYTES - 4..offset + HEAD_BYTES].copy_from_slice(&check);
        assert_eq!(unknown.error(), RecordingError::Kind { offset, got: 9 });

        let gap = Hand::new().section(Kind::Block, 60, 1, &[0]);
        let (expected, got) = (Frame::ZERO, Frame::new(60));
        assert_eq!(gap.error(), RecordingError::First { offset, expected, got });
        for (count, rows) in [(0, 0), (61, 61)] {
            let block = Hand::new().section(Kind::Block, 0, count, &vec![0; rows]);
            let first = Frame::ZERO;
            assert_eq!(block.error(), RecordingError::Block { offset, first, count });
        }
        let short = Hand::new().section(Kind::Block, 0, 59, &[0; 59]);
        let short = short.section(Kind::Block, 59, 1, &[0]);
        let (offset, first) = (short.last, Frame::new(59));
        assert_eq!(short.error(), RecordingError::Block { offset, first, count: 1 });
        let end = Hand::new().section(Kind::Block, 0, 60, &[0; 60]).section(Kind::End, 60, 1, &END);
        let (offset, first) = (end.last, Frame::new(60));
        assert_eq!(end.error(), RecordingError::Block { offset, first, count: 1 });
    }

    #[test]
    fn a_section_must_hold_what_it_says_and_no_more() {
        let few = Hand::new().section(Kind::Block, 0, 2, &[0]);
        let offset = few.bytes.len();
        assert_eq!(few.error(), RecordingError::BodyEnds { offset, expected: 1, got: 0 });
        let many = Hand::new().section(Kind::Block, 0, 2, &[0; 3]);
        let offset = many.bytes.len() - 1;
        assert_eq!(many.error(), RecordingError::Trailing { offset, got: 1 });
        let mut behind = Hand::new().section(Kind::End, 0, 0, &END);
        let offset = behind.bytes.len();
        behind.bytes.push(0);
        assert_eq!(behind.error(), RecordingError::Trailing { offset, got: 1 });
    }

    #[test]
    fn a_cause_or_a_peer_that_does_not_exist_is_refused() {
        let at = |at: usize, byte: u8| {
            let mut body = END;
            body[at] = byte;
            let hand = Hand::new().section(Kind::End, 0, 0, &body);
            (hand.last + HEAD_BYTES, Recording::decode(&hand.bytes))
        };
        let (offset, read) = at(0, 9);
        assert_eq!(read.unwrap_err(), RecordingError::Cause { offset, kind: 9, code: 0 });
        let (offset, read) = at(1, 1);
        assert_eq!(read.unwrap_err(), RecordingError::Cause { offset, kind: 0, code: 1 });
        let (offset, read) = at(3, 2);
        assert_eq!(read.unwrap_err(), RecordingError::Peer { offset: offset + 3, got: 2 });
        assert!(at(3, 1).1.is_ok());
    }

    #[test]
    fn an_end_has_a_whole_state_hash_or_none() {
        let hash = StateHash::from_u128(u128::MAX / 3).to_bytes();
        let with = |length: usize| {
            let body = [&END[..], &hash, &[0]].concat();
            let hand = Hand::new().section(Kind::End, 0, 0, &body[..END.len() + length]);
            let offset = hand.last + HEAD_BYTES + END.len();
            (offset, Recording::decode(&hand.bytes))
        };
        let end = with(16).1.unwrap().end().unwrap();
        assert_eq!(end.state_hash, Some(StateHash::from_bytes(hash)));
        let (offset, read) = with(15);
        let cut = RecordingError::BodyEnds { offset, expected: 16, got: 15 };
        assert_eq!(read.unwrap_err(), cut);
        let (offset, read) = with(17);
        let longer = RecordingError::Trailing { offset: offset + 16, got: 1 };
        assert_eq!(read.unwrap_err(), longer);
    }

    #[test]
    fn the_frames_before_a_damage_can_be_read() {
        let mut hand = Hand::new().section(Kind::Block, 0, 60, &[0; 60]);
        let whole = hand.bytes.len();
        hand = hand.section(Kind::Block, 60, 60, &[0; 60]).section(Kind::End, 120, 0, &END);
        hand.bytes[whole + HEAD_BYTES + 5] ^= 1;
        let damage = RecordingError::Checksum { offset: whole, first: Frame::new(60) };
        assert_eq!(hand.error(), damage);
        let mut reader = RecordingReader::new(&hand.bytes).unwrap();
        for index in 0..60 {
            let frame = reader.next_frame().unwrap().map(|row| row.frame);
            assert_eq!(frame, Some(Frame::new(index)));
        }
        assert_eq!(reader.next_frame(), Err(damage));
        assert_eq!(reader.next_frame(), Err(damage));
        assert_eq!((reader.whole_bytes(), reader.end()), (whole, None));
    }

    #[test]
    fn a_block_that_is_cut_out_is_missed() {
        let mut hand = Hand::new();
        let header = hand.bytes.len();
        hand = hand.section(Kind::Block, 0, 60, &[0; 60]);
        let block = hand.bytes.len();
        hand = hand.section(Kind::Block, 60, 60, &[0; 60]);
        hand.bytes.drain(header..block);
        assert!(matches!(hand.error(), RecordingError::Chain { offset, .. } if offset == header));
    }
}
