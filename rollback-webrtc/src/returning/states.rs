//! States on their way to one that comes back: a member has one written out and gives it in pieces, the other gathers it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rollback_core::recording::{RecordingError, StreamReader};
use rollback_core::{AgreedState, Frame, Game, PeerId, STATE_BYTES_MAX, Session, Timestamp};

use super::PIECE_BYTES_MAX;
use super::notice::Notice;
use super::reception::Allowance;
use crate::datagram_transport::DatagramTransport;

/// What a member gives. A state is written once for all who ask while it is fresh.
#[derive(Debug, Default)]
pub(super) struct States {
    asked: BTreeSet<PeerId>,
    /// Whether the session was asked for one.
    is_writing: bool,
    newest: Option<(Timestamp, Arc<AgreedState>)>,
    given: BTreeMap<PeerId, Giving>,
}

/// A state that is given, as far as it is; none where there is none.
#[derive(Debug)]
struct Giving {
    state: Option<Arc<AgreedState>>,
    offset: usize,
}

impl States {
    pub(super) fn ask(&mut self, peer: PeerId) {
        self.given.remove(&peer);
        self.asked.insert(peer);
    }

    pub(super) fn stop(&mut self, peer: PeerId) {
        self.asked.remove(&peer);
        self.given.remove(&peer);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.given.is_empty()
    }

    /// Has a state written where one is asked for; `can_be_used` where all that goes with it is given as well.
    pub(super) fn write<G: Game>(
        &mut self,
        now: Timestamp,
        session: &mut Session<G>,
        can_be_used: bool,
    ) {
        if std::mem::take(&mut self.is_writing) {
            let state = session.take_requested_state().map(Arc::new);
            self.newest = state.clone().map(|state| (now, state));
            self.give_to_all(state.as_ref());
        }
        self.newest = self.newest.take().filter(|(at, _)| now.since(*at) < FRESH);
        if self.asked.is_empty() {
            return;
        }
        match self.newest.as_ref().map(|(_, state)| state.clone()) {
            _ if !can_be_used => self.give_to_all(None),
            Some(state) => self.give_to_all(Some(&state)),
            None => {
                session.request_state();
                self.is_writing = true;
            }
        }
    }

    fn give_to_all(&mut self, state: Option<&Arc<AgreedState>>) {
        for peer in std::mem::take(&mut self.asked) {
            self.given.insert(peer, Giving { state: state.cloned(), offset: 0 });
        }
    }

    /// Sends what is due, as far as the rate allows.
    pub(super) fn give<T: DatagramTransport>(
        &mut self,
        episode: u32,
        allowance: &mut Allowance,
        transport: &mut T,
    ) {
        self.given.retain(|peer, giving| {
            while let Some(sent) = giving.piece(episode, *peer, allowance, transport) {
                giving.offset += sent;
                if giving.offset >= giving.length() {
                    return false;
                }
            }
            true
        });
    }
}

impl Giving {
    fn length(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.bytes.len())
    }

    /// Sends the next piece. Answers how long it was, where it could be sent.
    fn piece<T: DatagramTransport>(
        &self,
        episode: u32,
        to: PeerId,
        allowance: &mut Allowance,
        transport: &mut T,
    ) -> Option<usize> {
        let (frame, bytes) = match &self.state {
            Some(state) => (state.frame.index(), state.bytes.as_slice()),
            None => (0, &[][..]),
        };
        let rest = bytes.get(self.offset..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
        let total = u32::try_from(bytes.len()).ok()?;
        let offset = u32::try_from(self.offset).ok()?;
        let notice = Notice::State { episode, frame, total, offset, bytes: piece };
        let is_sent = allowance.has(piece.len()) && transport.try_send_notice(to, &notice.encode());
        is_sent.then(|| {
            allowance.spend(piece.len());
            piece.len()
        })
    }
}

/// What one that comes back gathers: it steps frames meanwhile, so that the quicker way is the one that it takes.
#[derive(Debug)]
pub(super) struct Gathering {
    episode: u32,
    way: Way,
    /// Who had none, or a wrong one, or was lost.
    tried: BTreeSet<PeerId>,
}

#[derive(Debug)]
enum Way {
    /// None was asked for yet.
    Open,
    Coming {
        of: PeerId,
        heard_at: Timestamp,
        state: AgreedState,
    },
    Whole {
        of: PeerId,
        state: AgreedState,
    },
    /// The session looks at it.
    Offered {
        of: PeerId,
    },
    /// None is needed, or to be had.
    Done,
}

impl Gathering {
    pub(super) fn new(episode: u32) -> Self {
        Self { episode, way: Way::Open, tried: BTreeSet::new() }
    }

    /// Takes a piece.
    pub(super) fn handle(&mut self, now: Timestamp, from: PeerId, notice: &Notice<'_>) {
        let Way::Coming { of, heard_at, state } = &mut self.way else { return };
        let Notice::State { episode, frame, total, offset, bytes } = *notice else { return };
        let (total, offset) = (as_length(total), as_length(offset));
        if from != *of || episode != self.episode || offset != state.bytes.len() {
            return;
        }
        let is_whole = offset + bytes.len() == total;
        let is_same = offset == 0 || state.frame == Frame::new(frame);
        let is_part = !bytes.is_empty() && offset + bytes.len() < total;
        if total == 0 || total > STATE_BYTES_MAX || !is_same || !is_whole && !is_part {
            self.tried.insert(from);
            self.way = Way::Open;
            return;
        }
        *heard_at = now;
        state.frame = Frame::new(frame);
        state.bytes.extend_from_slice(bytes);
        if is_whole {
            let (of, bytes) = (*of, std::mem::take(&mut state.bytes));
            self.way = Way::Whole { of, state: AgreedState { frame: state.frame, bytes } };
        }
    }

    /// Takes a sign of life: what else a member gives may be before its state on a slow line.
    pub(super) fn hear(&mut self, now: Timestamp, from: PeerId) {
        if let Way::Coming { of, heard_at, .. } = &mut self.way
            && *of == from
        {
            *heard_at = now;
        }
    }

    /// The session goes on from it, or has found it wrong.
    pub(super) fn note_looked_at(&mut self, was_taken: bool) {
        if let Way::Offered { of } = self.way {
            if !was_taken {
                tracing::warn!(peer = of.slot(), "a state is not the one that was recorded");
                self.tried.insert(of);
            }
            self.way = if was_taken { Way::Done } else { Way::Open };
        }
    }

    /// Asks for a state where `frames_left` are many, and has the session go on from it when it is known what was recorded of it.
    /// Of `others`, the first is asked first.
    pub(super) fn proceed<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        (others, is_worth_it): (&[PeerId], bool),
        reader: &mut StreamReader,
        session: &mut Session<G>,
        transport: &mut T,
    ) -> Result<(), RecordingError> {
        match &mut self.way {
            Way::Open if is_worth_it => {
                let is_there = |peer: &&PeerId| !transport.has_left(**peer);
                let untried = |peer: &&PeerId| !self.tried.contains(peer);
                let next = others.iter().filter(is_there).find(untried).copied();
                let Some(of) = next else {
                    self.way = Way::Done;
                    return Ok(());
                };
                let send = Notice::SendState { episode: self.episode }.encode();
                if transport.try_send_notice(of, &send) {
                    let state = AgreedState { frame: Frame::ZERO, bytes: Vec::new() };
                    self.way = Way::Coming { of, heard_at: now, state };
                }
            }
            Way::Coming { of, heard_at, .. } => {
                let is_silent = now.since(*heard_at) >= SILENT_MAX || transport.has_left(*of);
                if is_silent {
                    self.tried.insert(*of);
                    self.way = Way::Open;
                }
            }
            Way::Whole { state, .. } if state.frame <= session.current_frame() => {
                self.way = Way::Done;
            }
            Way::Whole { of, state } => {
                let Some(recorded) = reader.hash_ahead(state.frame)? else { return Ok(()) };
                let state =
                    AgreedState { frame: state.frame, bytes: std::mem::take(&mut state.bytes) };
                let of = *of;
                self.way = match session.offer_state(state, recorded) {
                    true => Way::Offered { of },
                    false => Way::Done,
                };
            }
            Way::Open | Way::Offered { .. } | Way::Done => {}
        }
        Ok(())
    }
}

fn as_length(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// So long a state is given to others who ask: one of a large game is dear to write.
const FRESH: Duration = Duration::from_secs(5);

/// When one that gives nothing is left for another one.
const SILENT_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detached::Detached;
    use crate::returning::notice::STATE_HEAD_BYTES;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn state(length: usize) -> AgreedState {
        let bytes = (0..length).map(|place| place.to_le_bytes()[0]).collect();
        AgreedState { frame: Frame::new(900), bytes }
    }

    /// What a member gives of a state while so many bytes are allowed at each of its calls.
    fn given(state: Option<AgreedState>, allowed: u64) -> Vec<Vec<u8>> {
        let mut states = States::default();
        states.ask(peer(1));
        states.give_to_all(state.map(Arc::new).as_ref());
        let mut to = Detached { room: usize::MAX, ..Detached::default() };
        for call in 1.. {
            if states.is_idle() {
                break;
            }
            let mut allowance = Allowance::of(allowed);
            states.give(7, &mut allowance, &mut to);
            let sent: usize = to.notices.iter().map(|notice| notice.len() - STATE_HEAD_BYTES).sum();
            assert!(sent as u64 <= call * allowed);
        }
        to.notices
    }

    fn gathering() -> Gathering {
        let state = AgreedState { frame: Frame::ZERO, bytes: Vec::new() };
        let way = Way::Coming { of: peer(0), heard_at: Timestamp::ZERO, state };
        Gathering { episode: 7, way, tried: BTreeSet::new() }
    }

    /// What one that comes back makes of these notices.
    fn gathered(notices: &[Vec<u8>]) -> Gathering {
        let mut gathering = gathering();
        for notice in notices {
            let notice = Notice::decode(notice).unwrap();
            // Another one's pieces are none of this.
            gathering.handle(Timestamp::ZERO, peer(2), &notice);
            gathering.handle(Timestamp::ZERO, peer(0), &notice);
        }
        gathering
    }

    #[test]
    fn a_state_goes_in_pieces_at_a_rate_and_is_whole_at_the_other_side() {
        for length in [1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 100_000] {
            let notices = given(Some(state(length)), 20_000);
            assert_eq!(notices.len(), length.div_ceil(PIECE_BYTES_MAX));
            let Way::Whole { of, state: whole } = gathered(&notices).way else {
                panic!("{length} bytes are not whole");
            };
            assert_eq!((of, whole), (peer(0), state(length)));
        }
    }

    #[test]
    fn another_one_is_asked_where_there_is_none_or_what_comes_is_no_state() {
        let none = given(None, 20_000);
        let whole = given(Some(state(50_000)), 20_000);
        let piece = |frame, total, offset, bytes: &[u8]| {
            Notice::State { episode: 7, frame, total, offset, bytes }.encode()
        };
        let too_long = u32::try_from(STATE_BYTES_MAX + 1).unwrap();
        let first = u32::try_from(PIECE_BYTES_MAX).unwrap();
        let wrong = [
            none,
            vec![piece(900, too_long, 0, &[1])],
            vec![piece(900, 2, 0, &[1, 2, 3])],
            vec![piece(900, 2, 0, &[])],
            vec![whole[0].clone(), piece(910, 50_000, first, &[1])],
        ];
        for notices in wrong {
            let gathering = gathered(&notices);
            assert!(matches!(gathering.way, Way::Open), "{:?}", gathering.way);
            assert!(gathering.tried.contains(&peer(0)));
        }
        // A piece out of its place is no harm: it is of another request.
        let late = [whole[1].clone(), whole[0].clone(), whole[0].clone()];
        assert!(matches!(gathered(&late).way, Way::Coming { .. }));
    }

    #[test]
    fn a_member_that_gives_something_else_first_is_not_left() {
        for from in [0, 2] {
            let mut gathering = gathering();
            let heard = Timestamp::from_millis(1_000);
            gathering.hear(heard, peer(from));
            let Way::Coming { heard_at, .. } = gathering.way else { panic!("it is left") };
            assert_eq!(heard_at == heard, from == 0);
        }
    }

    #[test]
    fn one_whose_state_was_wrong_is_not_asked_again() {
        for was_taken in [false, true] {
            let way = Way::Offered { of: peer(0) };
            let mut gathering = Gathering { way, ..gathering() };
            gathering.note_looked_at(was_taken);
            assert_eq!(matches!(gathering.way, Way::Done), was_taken);
            assert_eq!(gathering.tried.contains(&peer(0)), !was_taken);
        }
    }
}
