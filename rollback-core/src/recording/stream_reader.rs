//! Reads such a stream as it arrives, for a peer that comes back.

use alloc::vec::Vec;

use crate::recording::stream::{self, BYTES_MAX, Entry, entry_at};
use crate::recording::{RecordingError, RecordingHeader};
use crate::session::StableFrame;
use crate::{Frame, StateHash};

/// Takes a stream that a [`StreamWriter`](crate::recording::StreamWriter) makes, in pieces of any length, and gives its
/// frames one by one. What was read is let go.
#[derive(Debug, Default)]
pub struct StreamReader {
    /// What was not read; behind the header, the first byte stands for all that was.
    bytes: Vec<u8>,
    at: usize,
    received: usize,
    header: Option<RecordingHeader>,
    next: Frame,
    /// How far it was looked ahead: so many bytes beyond the next row this one begins.
    ahead: (usize, Frame),
}

impl StreamReader {
    /// How many bytes of the stream have come.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// How many bytes wait to be read.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next frame to be read.
    #[must_use]
    pub fn next_frame(&self) -> Frame {
        self.next
    }

    /// Appends what has come. Answers `false`, and takes nothing, when the stream would become longer than one is.
    pub fn extend(&mut self, bytes: &[u8]) -> bool {
        let fits = self.received + bytes.len() <= BYTES_MAX;
        if fits {
            self.received += bytes.len();
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// What was agreed on before the first frame, once it has come.
    ///
    /// # Errors
    /// When the stream does not begin with it.
    pub fn header(&mut self) -> Result<Option<&RecordingHeader>, RecordingError> {
        // The first entry is a header or an error.
        if self.header.is_none()
            && let Some((Entry::Header(body), next)) = entry_at(&self.bytes, 0)?
        {
            self.header = Some(stream::header(body)?);
            self.at = next;
        }
        Ok(self.header.as_ref())
    }

    /// The hash that was recorded of the state before a frame, once the row of it has come and was not read yet.
    ///
    /// # Errors
    /// When what has come is no stream.
    pub fn hash_ahead(&mut self, frame: Frame) -> Result<Option<StateHash>, RecordingError> {
        if self.header()?.is_none() || frame < self.next {
            return Ok(None);
        }
        let Some(header) = &self.header else { return Ok(None) };
        let (mut beyond, mut next) = self.ahead;
        if next < self.next || next > frame {
            (beyond, next) = (0, self.next);
        }
        let hash = loop {
            let at = self.at + beyond;
            let Some((Entry::Row(body) | Entry::WholeRow(body), end)) = entry_at(&self.bytes, at)?
            else {
                break None;
            };
            if next == frame {
                break stream::with_row(header, next, body, |row| row.state_hash)?;
            }
            (beyond, next) = (end - self.at, next.next());
        };
        self.ahead = (beyond, next);
        Ok(hash)
    }

    /// Shows the next frame to `take`, and whether its output is there, and goes past it if that answers true. Answers `None` when it
    /// has not come whole, else what `take` did.
    ///
    /// # Errors
    /// When what has come is no stream.
    pub fn next_row(
        &mut self,
        take: impl FnOnce(&StableFrame<'_>, bool) -> bool,
    ) -> Result<Option<bool>, RecordingError> {
        if self.header()?.is_none() {
            return Ok(None);
        }
        let Some(header) = &self.header else { return Ok(None) };
        let (body, has_output, next) = match entry_at(&self.bytes, self.at)? {
            Some((Entry::Row(body), next)) => (body, false, next),
            Some((Entry::WholeRow(body), next)) => (body, true, next),
            _ => return Ok(None),
        };
        let is_taken = stream::with_row(header, self.next, body, |row| take(row, has_output))?;
        if is_taken {
            self.ahead.0 = self.ahead.0.saturating_sub(next - self.at);
            self.next = self.next.next();
            self.at = next;
            if self.at > READ_BYTES_MAX {
                self.bytes.drain(1..self.at);
                self.at = 1;
            }
        }
        Ok(Some(is_taken))
    }
}

/// So many bytes that were read are kept before they are let go together.
const READ_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::recording::StreamWriter;
    use crate::recording::fixtures::header;
    use crate::{OnDesync, PeerId, SessionConfig};

    fn stream(frames: u32) -> Vec<u8> {
        let mut writer = StreamWriter::new(&header()).unwrap();
        for index in 0..frames {
            let frame = Frame::new(index);
            let [a, b, ..] = (index / 3).to_le_bytes();
            let row = StableFrame {
                frame,
                inputs: &[a, b],
                flags: &[0, 1],
                items: &[(PeerId::new(1).unwrap(), crate::Item::Pause)],
                output: b"not in the stream",
                state_hash: frame.is_multiple_of(10).then(|| StateHash::from_u128(index.into())),
                keyframe: None,
            };
            assert!(writer.push(&row));
        }
        writer.bytes().to_vec()
    }

    #[test]
    fn a_stream_in_pieces_of_any_length_gives_each_frame_once_and_keeps_little() {
        let stream = stream(10_000);
        for length in [1, 7, 16 * 1024, stream.len()] {
            let mut reader = StreamReader::default();
            let (mut frames, mut kept) = (0, 0);
            for piece in stream.chunks(length) {
                assert!(reader.extend(piece));
                kept = kept.max(reader.bytes.len());
                while let Some(is_taken) = reader
                    .next_row(|row, _| {
                        assert_eq!((row.frame.index(), row.output.len()), (frames, 0));
                        assert_eq!(row.inputs[0], (frames / 3).to_le_bytes()[0]);
                        assert_eq!(row.state_hash.is_some(), frames % 10 == 0);
                        true
                    })
                    .unwrap()
                {
                    assert!(is_taken);
                    frames += 1;
                }
            }
            assert_eq!((frames, reader.received(), reader.waiting()), (10_000, stream.len(), 0));
            assert!(length == stream.len() || kept < READ_BYTES_MAX + 17 * 1024, "{kept}");
            assert_eq!(reader.header().unwrap(), Some(&header()));
        }
    }

    #[test]
    fn a_frame_that_is_not_taken_is_shown_again() {
        let mut reader = StreamReader::default();
        reader.extend(&stream(2));
        for (is_taken, index) in [(false, 0), (false, 0), (true, 0), (false, 1), (true, 1)] {
            let shown = reader.next_row(|row, _| {
                assert_eq!(row.frame.index(), index);
                is_taken
            });
            assert_eq!(shown, Ok(Some(is_taken)));
        }
        assert_eq!(reader.next_row(|_, _| true), Ok(None));
    }

    #[test]
    fn a_hash_is_found_ahead_of_what_was_read_wherever_it_came() {
        let stream = stream(400);
        let mut reader = StreamReader::default();
        let mut read = 0;
        for piece in stream.chunks(100) {
            reader.extend(piece);
            let found = reader.hash_ahead(Frame::new(300)).unwrap();
            assert!(found.is_none_or(|hash| hash == StateHash::from_u128(300)), "{found:?}");
            // Every third piece a row is read meanwhile.
            if reader.received() / 100 % 3 == 0 && reader.next_row(|_, _| true).unwrap().is_some() {
                read += 1;
            }
        }
        assert!(read > 10);
        let hash = |reader: &mut StreamReader, frame| reader.hash_ahead(Frame::new(frame)).unwrap();
        assert_eq!(hash(&mut reader, 300), Some(StateHash::from_u128(300)));
        assert_eq!(hash(&mut reader, 310), Some(StateHash::from_u128(310)));
        assert_eq!(hash(&mut reader, 200), Some(StateHash::from_u128(200)));
        assert_eq!((hash(&mut reader, 305), hash(&mut reader, 400)), (None, None));
        assert_eq!(hash(&mut reader, 0), None, "it was read");
    }

    #[test]
    fn outputs_are_given_up_to_the_first_long_one_or_all() {
        let given = |on_desync, long: usize| {
            let config = SessionConfig::builder().on_desync(on_desync).build().unwrap();
            let mut writer =
                StreamWriter::with_outputs(&RecordingHeader { config, ..header() }).unwrap();
            for index in 0..6 {
                let output = vec![7; if index == 3 { long } else { 2 }];
                let row = StableFrame {
                    frame: Frame::new(index),
                    inputs: &[0, 0],
                    flags: &[0, 0],
                    items: &[],
                    output: &output,
                    state_hash: None,
                    keyframe: None,
                };
                assert!(writer.push(&row));
            }
            let mut reader = StreamReader::default();
            reader.extend(writer.bytes());
            let mut lengths = vec![];
            let mut show = |row: &StableFrame<'_>, has_output: bool| {
                lengths.push(has_output.then_some(row.output.len()));
                true
            };
            while reader.next_row(&mut show).unwrap().is_some() {}
            (lengths, writer.has_outputs())
        };
        let short = Some(2);
        let whole = |long| (vec![short, short, short, Some(long), short, short], true);
        assert_eq!(given(OnDesync::End, 1024), whole(1024));
        let cut = vec![short, short, short, None, None, None];
        assert_eq!(given(OnDesync::End, 1025), (cut, false));
        assert_eq!(given(OnDesync::Pause, 5000), whole(5000));
    }

    #[test]
    fn what_is_no_stream_is_an_error() {
        let mut reader = StreamReader::default();
        assert!(reader.extend(&[0, 0, 0, 0, 9]));
        assert!(reader.header().is_err() && reader.next_row(|_, _| true).is_err());
        let mut bytes = stream(0);
        bytes.extend([1, 0, 0, 0, 1, 0xff]);
        let mut reader = StreamReader::default();
        assert!(reader.extend(&bytes));
        assert!(reader.header().is_ok_and(|header| header.is_some()));
        assert!(reader.next_row(|_, _| true).is_err());
        assert!(!StreamReader { received: BYTES_MAX, ..StreamReader::default() }.extend(&[0]));
    }
}
