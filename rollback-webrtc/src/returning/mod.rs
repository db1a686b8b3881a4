//! Coming back into a match that is played: what the game loops tell each other, so that a new process of a member finds the
//! episode, steps what was recorded of it, and is let in. One that comes late into its slot comes as one that comes back. Knows
//! no socket; who has come back in which life of its slot is the server's to say.
//!
//! It asks all others which episode is played ([`Inquiry`]). It takes the stable log from one of them, which goes on sending
//! as the log grows, at a limited rate. While it steps that, it asks for a state as well, and goes on from it if it comes before the
//! steps to it are done. When it has stepped what there is, it tells all, who then expect it
//! ([`Session::readmit`]); until then they play on without it, or wait for it if they have not given it up yet.

mod catch_up;
mod inquiry;
mod notice;
mod reception;
mod states;

use std::time::Duration;

use rollback_core::recording::{RecordingError, RecordingHeader};
use rollback_core::{BackfillError, Event, Game, PeerId, PeerSet, Session, StableFrame, Timestamp};

use self::catch_up::CatchUp;
pub use self::inquiry::{Inquiry, Standing};
use self::notice::{Notice, Refusal, Stage};
use self::reception::Reception;
use crate::datagram_transport::DatagramTransport;
use crate::episode_setup::EpisodeSetup;

/// Both sides of coming back, of one game loop.
#[derive(Debug)]
pub(crate) struct Returns {
    local: PeerId,
    episode: u32,
    completed: u32,
    /// Those for whom the episode did not wait.
    late: PeerSet,
    reception: Reception,
    /// While this peer is not let in.
    catch_up: Option<CatchUp>,
    /// Whether play has begun.
    has_begun: bool,
}

impl Returns {
    pub(crate) fn new(setup: &EpisodeSetup) -> Self {
        let ticket = &setup.ticket;
        // Where the loss of one ends the episode, there is nothing to come back to.
        let is_open = setup.config.members_min() < ticket.roster.peer_count();
        Self {
            local: ticket.local,
            episode: ticket.episode,
            completed: setup.completed_episodes,
            late: setup.config.late_peers(),
            reception: Reception::new(ticket.episode, is_open),
            catch_up: setup.rejoins.then(|| CatchUp::new(setup)),
            has_begun: false,
        }
    }

    /// Whether play has begun.
    pub(crate) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether this peer is not let in yet.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.catch_up.is_some()
    }

    /// What was agreed on before the first frame, as the members say; for one that came back, once it has heard it.
    pub(crate) fn header(&mut self) -> Option<RecordingHeader> {
        self.catch_up.as_mut().and_then(CatchUp::header)
    }

    pub(crate) fn begin(&mut self, header: &RecordingHeader) {
        self.reception.begin(header);
    }

    pub(crate) fn push(&mut self, row: &StableFrame<'_>) {
        self.reception.push(row);
    }

    pub(crate) fn note<T: DatagramTransport>(&mut self, event: &Event, transport: &mut T) {
        match event {
            Event::Started => self.has_begun = true,
            Event::Joined { peer, .. } if *peer == self.local => {
                if let Some(catch_up) = self.catch_up.take() {
                    catch_up.stop(transport);
                }
            }
            Event::StateTaken { .. } | Event::StateRefused { .. } => {
                if let Some(catch_up) = &mut self.catch_up {
                    catch_up.note_state(matches!(event, Event::StateTaken { .. }));
                }
            }
            _ => {}
        }
    }

    /// Takes what the other game loops say.
    pub(crate) fn hear<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        session: &mut Session<G>,
        transport: &mut T,
    ) {
        while let Some((from, bytes)) = transport.try_receive_notice() {
            let Some(notice) = Notice::decode(&bytes) else { continue };
            match (&mut self.catch_up, notice) {
                (
                    Some(catch_up),
                    Notice::Piece { .. } | Notice::Refused { .. } | Notice::State { .. },
                ) => catch_up.handle(now, from, &notice),
                (_, notice) => {
                    if let Some(answer) = self.answer(from, &notice, session) {
                        transport.try_send_notice(from, &answer.encode());
                    }
                }
            }
        }
    }

    /// Gives others what they lack, and takes what this peer does.
    pub(crate) fn proceed<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        setup: &EpisodeSetup,
        session: &mut Session<G>,
        transport: &mut T,
    ) -> Result<(), ReturnError> {
        self.reception.write_state(now, session);
        self.reception.give(now, transport);
        match &mut self.catch_up {
            Some(catch_up) => catch_up.proceed(now, setup, session, transport),
            None => Ok(()),
        }
    }

    fn answer<G: Game>(
        &mut self,
        from: PeerId,
        notice: &Notice<'_>,
        session: &mut Session<G>,
    ) -> Option<Notice<'static>> {
        let (episode, is_over) = (self.episode, session.end().is_some());
        match *notice {
            // Between two episodes, and for one that is outside itself, others answer, or the next game loop does.
            Notice::Ask { .. } if is_over || self.catch_up.is_some() => None,
            Notice::Ask { life } => {
                let is_known = self.has_begun || session.facts_of(from).is_some();
                let stage = match (is_known, self.reception.is_open()) {
                    (false, _) => Stage::NotBegun,
                    (true, true) => Stage::Begun,
                    (true, false) => Stage::Closed,
                };
                let (completed, late) = (self.completed, self.late);
                Some(Notice::Answer { life, episode, completed, stage, late })
            }
            Notice::Send { episode: of, .. } | Notice::Ready { episode: of, .. }
                if of < episode || of == episode && is_over =>
            {
                Some(Notice::Refused { episode: of, reason: Refusal::Over })
            }
            Notice::Send { episode: of, offset } if of == episode => {
                self.reception.serve(from, offset);
                None
            }
            Notice::SendState { episode: of } if of == episode && !is_over => {
                self.reception.serve_state(from);
                None
            }
            Notice::Stop { episode: of } if of == episode => {
                self.reception.stop(from);
                None
            }
            Notice::Ready { episode: of, life } if of == episode && self.reception.is_open() => {
                session.readmit(from, life);
                None
            }
            _ => None,
        }
    }
}

/// How long a piece of a log or a state is: four packets, so that what else is sent has its place between them. With two, SCTP
/// carries less than a log may grow where a line of 128 kbit/s is full.
const PIECE_BYTES_MAX: usize = 4 << 10;

/// Why one that came back into its slot does not play.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReturnError {
    /// All others have left the room.
    #[error("the match is over: all others have left")]
    MatchOver,
    /// Nobody who plays has said anything.
    #[error(
        "none of the others answered within {within:?}: they do not play, or cannot be reached"
    )]
    NobodyAnswers {
        /// How long they had.
        within: Duration,
    },
    /// The match ends when a member is lost, so nobody is let in again.
    #[error("{by} lets nobody back in: this match ends when a member is lost")]
    Closed {
        /// Who said so.
        by: PeerId,
    },
    /// The episode ended before this peer was let in.
    #[error("episode {episode} ended before this computer was let in")]
    EpisodeOver {
        /// The episode.
        episode: u32,
    },
    /// The log of the episode is longer than members keep.
    #[error("what was recorded of the episode is longer than the members keep")]
    TooLong,
    /// The members did not agree in time.
    #[error(
        "the members did not let this computer in within {within:?}: too few of them are left, or cannot reach it"
    )]
    NotLetIn {
        /// How long they had.
        within: Duration,
    },
    /// This peer does not play what the others do.
    #[error("this computer does not play what the others do: {} differ", fields.join(", "))]
    Differs {
        /// What differs.
        fields: Vec<String>,
    },
    /// What a member sent is no log.
    #[error("what was recorded cannot be read: {0}")]
    Log(#[from] RecordingError),
    /// What a member sent does not fit the episode.
    #[error("what was recorded does not fit: {0}")]
    Backfill(#[from] BackfillError),
}
