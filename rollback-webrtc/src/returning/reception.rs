//! What a member keeps for those that come back, and how fast it gives it.

use std::collections::BTreeMap;
use std::time::Duration;

use rollback_core::recording::{RecordingHeader, StreamWriter};
use rollback_core::{Game, PeerId, Session, StableFrame, Timestamp};

use super::PIECE_BYTES_MAX;
use super::notice::{Notice, Refusal};
use super::states::States;
use crate::datagram_transport::DatagramTransport;

/// The stable log of an episode, and who is given it.
#[derive(Debug)]
pub(crate) struct Reception {
    episode: u32,
    /// Whether one that is lost may come back, so that the log is kept.
    is_open: bool,
    log: Option<StreamWriter>,
    /// A frame had no room in the log.
    is_full: bool,
    frames: u32,
    served: BTreeMap<PeerId, Served>,
    states: States,
    allowance: Allowance,
}

#[derive(Clone, Copy, Debug)]
struct Served {
    offset: usize,
    said_at: Option<Timestamp>,
}

/// How many bytes may be given now.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    bytes: u64,
    filled_at: Option<Timestamp>,
}

impl Reception {
    pub(crate) fn new(episode: u32, is_open: bool) -> Self {
        Self {
            episode,
            is_open,
            log: None,
            is_full: false,
            frames: 0,
            served: BTreeMap::new(),
            states: States::default(),
            allowance: Allowance::default(),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Begins the log. A header that cannot be written is reported by the recording, where there is one.
    pub(crate) fn begin(&mut self, header: &RecordingHeader) {
        if self.is_open && self.log.is_none() {
            self.log = StreamWriter::with_outputs(header).ok();
        }
    }

    pub(crate) fn push(&mut self, row: &StableFrame<'_>) {
        if let Some(log) = &mut self.log {
            self.is_full |= !log.push(row);
            self.frames += u32::from(!self.is_full);
        }
    }

    /// Gives a peer the log from a byte on.
    pub(crate) fn serve(&mut self, peer: PeerId, offset: u32) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.served.insert(peer, Served { offset, said_at: None });
    }

    /// Gives a peer a state, as soon as it is written.
    pub(crate) fn serve_state(&mut self, peer: PeerId) {
        self.states.ask(peer);
    }

    pub(crate) fn stop(&mut self, peer: PeerId) {
        self.served.remove(&peer);
        self.states.stop(peer);
    }

    /// Has a state written where one is asked for. One whose frames are given without their outputs would be of no use.
    pub(crate) fn write_state<G: Game>(&mut self, now: Timestamp, session: &mut Session<G>) {
        let has_outputs = self.log.as_ref().is_some_and(StreamWriter::has_outputs);
        self.states.write(now, session, has_outputs && !self.is_full);
    }

    /// Sends what is due, as far as the rate allows.
    pub(crate) fn give<T: DatagramTransport>(&mut self, now: Timestamp, transport: &mut T) {
        if self.served.is_empty() && self.states.is_idle() {
            return;
        }
        let Some(log) = &self.log else { return };
        self.allowance.fill(now);
        let episode = self.episode;
        for (peer, served) in &mut self.served {
            loop {
                let rest = log.bytes().get(served.offset..).unwrap_or_default();
                let length = rest.len().min(PIECE_BYTES_MAX);
                let is_news_due = served.said_at.is_none_or(|at| now.since(at) >= SAY_EVERY);
                if length == 0 && !is_news_due || !self.allowance.has(length) {
                    break;
                }
                let offset = u32::try_from(served.offset).unwrap_or(u32::MAX);
                let bytes = rest.get(..length).unwrap_or_default();
                let piece = Notice::Piece { episode, offset, frames: self.frames, bytes };
                if !transport.try_send_notice(*peer, &piece.encode()) {
                    break;
                }
                served.offset += length;
                served.said_at = Some(now);
                self.allowance.spend(length);
            }
        }
        self.states.give(episode, &mut self.allowance, transport);
        if self.is_full {
            let refused = Notice::Refused { episode, reason: Refusal::TooLong }.encode();
            for peer in std::mem::take(&mut self.served).keys() {
                transport.try_send_notice(*peer, &refused);
            }
        }
    }
}

impl Allowance {
    #[cfg(test)]
    pub(super) fn of(bytes: u64) -> Self {
        Self { bytes, filled_at: None }
    }

    fn fill(&mut self, now: Timestamp) {
        let passed = now.since(*self.filled_at.get_or_insert(now)).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX).min(1_000_000);
        self.bytes = (self.bytes + passed * BYTES_PER_SECOND / 1_000_000).min(BURST_BYTES);
        self.filled_at = Some(now);
    }

    pub(super) fn has(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bytes
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// How fast logs and states are given at most, to all together, so that making them takes no time from a frame; an hour of a
/// small game passes in some seconds. On a line on which play would notice they go slower (`mailbox::bulk_pace`).
const BYTES_PER_SECOND: u64 = 512 << 10;

/// What may go at once.
const BURST_BYTES: u64 = 64 << 10;

/// How often one that has all is told so: it knows then that it is heard.
const SAY_EVERY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detached::Detached;
    use rollback_core::{Frame, Roster, SessionConfig, StateHash};

    /// A receiver that takes so many pieces.
    fn with_room(room: usize) -> Detached {
        Detached { room, ..Detached::default() }
    }

    /// What was given of the log from its beginning on.
    fn given(to: &Detached) -> Vec<u8> {
        let mut log = Vec::new();
        for notice in &to.notices {
            let Some(Notice::Piece { offset, bytes, .. }) = Notice::decode(notice) else {
                panic!("no piece: {notice:?}")
            };
            assert_eq!(offset as usize, log.len());
            log.extend_from_slice(bytes);
        }
        log
    }

    fn header() -> RecordingHeader {
        RecordingHeader {
            session: 1,
            episode: 0,
            seed: 5,
            config: SessionConfig::builder().input_width(100).build().unwrap(),
            roster: Roster::one_player_each(2).unwrap(),
            participants: vec!["a".into(), "b".into()],
            must_match: vec![],
            may_differ: vec![vec![], vec![]],
            start_hash: StateHash::from_u128(3),
        }
    }

    fn reception(frames: u32) -> Reception {
        let mut reception = Reception::new(0, true);
        reception.begin(&header());
        for index in 0..frames {
            let inputs = [index.to_le_bytes()[0] | 1; 200];
            reception.push(&StableFrame {
                frame: Frame::new(index),
                inputs: &inputs,
                flags: &[0, 0],
                items: &[],
                output: &[],
                state_hash: None,
                keyframe: None,
            });
        }
        reception
    }

    #[test]
    fn the_log_is_given_at_a_rate_and_as_the_receiver_takes_it() {
        let mut reception = reception(10_000);
        let whole = reception.log.as_ref().unwrap().bytes().to_vec();
        let peer = PeerId::new(1).unwrap();
        let mut sink = with_room(usize::MAX);
        reception.serve(peer, 0);
        let mut seconds = 0;
        while given(&sink).len() < whole.len() {
            reception.give(Timestamp::from_millis(seconds * 100), &mut sink);
            let most = BURST_BYTES + seconds * BYTES_PER_SECOND / 10;
            assert!(given(&sink).len() as u64 <= most, "{} after {seconds}", given(&sink).len());
            seconds += 1;
            assert!(seconds < 100);
        }
        assert!(given(&sink) == whole);
        // One that has all hears of that now and then, and one whose window is full is not given more.
        let pieces = sink.notices.len();
        for millis in 0..1000 {
            reception.give(Timestamp::from_millis(seconds * 100 + millis), &mut sink);
        }
        let more = sink.notices.len() - pieces;
        assert!((3..=4).contains(&more), "{more}");
        let mut full = with_room(1);
        reception.serve(peer, 0);
        reception.give(Timestamp::from_millis(60_000), &mut full);
        assert_eq!(given(&full).len(), PIECE_BYTES_MAX);
        reception.stop(peer);
        full.room = 1;
        reception.give(Timestamp::from_millis(61_000), &mut full);
        assert_eq!(full.notices.len(), 1);
    }

    #[test]
    fn nothing_is_kept_where_nobody_may_come_back() {
        let mut reception = Reception::new(0, false);
        reception.begin(&header());
        assert!(reception.log.is_none());
    }
}
