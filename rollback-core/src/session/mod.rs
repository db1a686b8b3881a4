//! The session: one episode as one peer plays it. Its doors take inputs, datagrams and time, and give out datagrams, events and
//! stable frames.

mod actors;
mod admission;
mod branch;
pub(crate) mod coverage;
mod departure;
mod due;
mod ending;
mod episode;
mod error;
mod event;
mod extras;
mod handover;
mod hints;
mod input_delay;
mod kick;
mod ledger;
mod links;
mod local_inputs;
pub(crate) mod membership;
mod output;
mod pause;
mod rates;
mod rejoin;
mod resyncing;
mod rows;
mod run_ahead;
mod searching;
mod status;
#[cfg(feature = "testing")]
mod tampering;
mod transmit;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::branch::{Branch, BranchError};
use self::episode::Episode;
pub use self::error::{AdvanceError, SessionError};
pub use self::event::{DepartureCause, Event};
pub use self::handover::AgreedState;
pub use self::kick::KickError;
pub use self::local_inputs::InputError;
pub use self::output::{Advance, End, EndCause, Output, StableFrame, Stall};
pub use self::rejoin::BackfillError;
#[cfg(feature = "testing")]
pub use self::tampering::Sabotage;
use crate::frame_pacer::FramePacer;
use crate::held_rate::FULL_RATE;
use crate::journal::{Entry, Journal, Witness, digest_of_advance, digest_of_output};
use crate::rollback::Rollback;
use crate::wire::{self, Hello};
use crate::{
    Agreed, Confirmed, Facts, Frame, Game, GuessCounters, Input, InputFlags, Item, OnDesync,
    PeerId, PlayerHandle, Predictor, RollbackCounters, SessionConfig, Stable, Ticket, Timestamp,
};

/// One episode of a match, as one peer plays it.
///
/// The session owns no socket, clock or thread. Its driver, at every [`next_frame_at`](Self::next_frame_at), hands it
/// the datagrams that have come, gives an input for each local player, advances, and does what
/// [`poll_output`](Self::poll_output) says:
///
/// ```
/// # use core::convert::Infallible;
/// # use rollback_core::*;
/// # #[derive(Clone, Default)] struct Duel { x: [i32; 2] }
/// # impl Game for Duel {
/// #     type Input = i8; type Snapshot = Self; type Error = Infallible;
/// #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
/// #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
/// #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> { Ok(Outcome::Running) }
/// #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> { hasher.write_i32s(&slot.x); Ok(()) }
/// # }
/// # fn receive() -> Option<(PeerId, Vec<u8>)> { None }
/// # fn send(_: PeerId, _: &[u8]) {}
/// # let config = SessionConfig::builder().players(1).build()?;
/// # let local = PeerId::new(0).unwrap();
/// # let ticket = Ticket { session: 1, episode: 0, seed: 1, roster: Roster::new(&[local])?, local, incarnation: 0 };
/// # let player = PlayerHandle::new(0).unwrap();
/// let mut game = Duel::default();
/// let mut session = Session::new(&config, &ticket, Facts::default(), &game, Timestamp::ZERO)?;
/// for tick in 0..600 {
///     let now = Timestamp::from_millis(tick * 16);
///     while let Some((from, bytes)) = receive() {
///         session.handle_datagram(now, from, &bytes);
///     }
///     session.set_local_input(player, &1)?;
///     session.advance_frame(now, &mut game)?;
///     while let Some(output) = session.poll_output(now) {
///         match output {
///             Output::Datagram { to, bytes } => send(to, bytes),
///             Output::Event(event) => println!("{event:?}"),
///             Output::Stable(frame) => println!("{} is stable", frame.frame),
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session<G: Game> {
    episode: Episode<G>,
    pacer: FramePacer,
    stalls: u64,
    /// Scratch for an input on its way to bytes.
    input: Vec<u8>,
    datagram: Vec<u8>,
    last_due: Timestamp,
    journal: Option<Box<Journal>>,
}

/// What a session has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// What rolling back has cost.
    pub rollback: RollbackCounters,
    /// How often inputs were guessed, and how often wrongly.
    pub guesses: GuessCounters,
    /// Calls to advance that stepped a frame or let a held one pass.
    pub frames: u64,
    /// Calls to advance that had to wait.
    pub stalls: u64,
    /// Datagrams of peers that are not of this match.
    pub strangers: u64,
    /// Events that were dropped because nobody read them.
    pub events_lost: u64,
    /// Frames that were passed over, to a state that was taken in place of the steps to it.
    pub passed: u64,
    /// States that were offered and are not those that were recorded.
    pub states_refused: u64,
}

impl<G: Game> Session<G> {
    /// A session for `game`, which must just have been reset with the ticket's seed.
    ///
    /// # Errors
    /// When the configuration, the ticket and the game do not fit each other, when the facts are too long for a
    /// datagram, or when the game cannot save and hash its state.
    pub fn new(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        game: &G,
        now: Timestamp,
    ) -> Result<Self, SessionError<G::Error>> {
        check_fit::<G>(config, ticket)?;
        let mut rollback = Rollback::new(config);
        let start_hash = rollback.start(game).map_err(SessionError::Game)?;
        if matches!(config.on_desync(), OnDesync::Resync(_)) && !rollback.can_resync(game) {
            return Err(SessionError::NoExport);
        }
        let mut texts = facts.must_match.iter().chain(&facts.may_differ);
        if let Some((name, value)) =
            texts.find(|(name, value)| name.len().max(value.len()) > FACT_BYTES_MAX)
        {
            let got = name.len().max(value.len());
            return Err(SessionError::FactsTooLong { max: FACT_BYTES_MAX, got });
        }
        let hello = Hello::new(config, ticket, facts, start_hash);
        let mut datagram = Vec::new();
        hello.encode(false, &mut datagram);
        let room = wire::DATAGRAM_BYTES_MAX - wire::HEAD_BYTES;
        if datagram.len() > room {
            return Err(SessionError::FactsTooLong { max: room, got: datagram.len() });
        }
        Ok(Self {
            episode: Episode::new(config, ticket, hello.facts, (rollback, start_hash), now),
            pacer: FramePacer::new(config.frame_duration()),
            stalls: 0,
            input: alloc::vec![0; config.input_width()],
            datagram,
            last_due: now,
            journal: None,
        })
    }

    /// The same with a [`journal`](crate::journal) of every call and answer, from which the session can be played again.
    /// It costs about a hundred bytes and a few microseconds a frame.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_journal(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        game: &G,
        now: Timestamp,
    ) -> Result<Self, SessionError<G::Error>> {
        let mut session = Self::new(config, ticket, facts, game, now)?;
        let (facts, start) = (&session.episode.links.facts, session.episode.links.start);
        let journal = Journal::new(config, ticket, facts, (start, now));
        session.journal = Some(Box::new(journal));
        Ok(session)
    }

    /// What was added to the journal since this was last called; nothing without one. To be called after each frame: at most
    /// 64 MiB wait, and what follows is left out.
    pub fn take_journal(&mut self) -> Vec<u8> {
        self.journal.as_mut().map(|journal| journal.take()).unwrap_or_default()
    }

    fn note(&mut self, entry: &Entry<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.note(entry);
        }
    }

    /// Guesses with another predictor from now on.
    pub(crate) fn replace_predictor(&mut self, predictor: Box<dyn Predictor + Send>) {
        self.episode.predictor = predictor;
    }

    /// Guesses with `predictor` in place of [`RepeatLast`](crate::RepeatLast).
    #[must_use]
    pub fn with_predictor(mut self, predictor: Box<dyn Predictor + Send>) -> Self {
        self.replace_predictor(predictor);
        self
    }

    /// How many frames one call to [`advance_frame`](Self::advance_frame) may step again; without this, any number. A
    /// longer rollback goes on in the next calls, which are due at once: for games whose steps take long, so that the
    /// network is heard in between.
    #[must_use]
    pub fn with_step_budget(mut self, frames: u32) -> Self {
        self.set_step_budget(frames);
        self
    }

    pub(crate) fn set_step_budget(&mut self, frames: u32) {
        self.note(&Entry::StepBudget(frames));
        self.episode.rollback.set_step_budget(frames);
    }

    /// How long a peer must be silent until [`Event::Interrupted`] says so; without this, half a second, and a tenth at
    /// least. Where the others go on without it after a departure timeout that is no longer, it is not said.
    #[must_use]
    pub fn with_interrupted_after(mut self, silence: Duration) -> Self {
        let micros = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        self.set_interrupted_after(micros.max(INTERRUPTED_MIN_MICROS));
        self
    }

    pub(crate) fn set_interrupted_after(&mut self, micros: u64) {
        self.note(&Entry::InterruptedAfter { micros });
        self.episode.links.set_interrupted_after(micros);
    }

    /// Files what a local player does. It takes effect the player's input delay later, at the frame that is answered;
    /// `None` when that frame has its input already, as while the session stalls.
    ///
    /// # Errors
    /// When the player is hosted elsewhere.
    pub fn set_local_input(
        &mut self,
        player: PlayerHandle,
        input: &G::Input,
    ) -> Result<Option<Frame>, InputError> {
        input.write(&mut self.input);
        let Self { episode, journal, input, .. } = self;
        episode.file_local_input(journal, player, input, InputFlags::NONE)
    }

    /// The same for an input that is bytes already, with flags beside it.
    ///
    /// # Errors
    /// When the player is hosted elsewhere or the bytes have another width than the configuration says.
    pub fn set_local_input_bytes(
        &mut self,
        player: PlayerHandle,
        input: &[u8],
        flags: InputFlags,
    ) -> Result<Option<Frame>, InputError> {
        self.episode.file_local_input(&mut self.journal, player, input, flags)
    }

    /// Whether an input of this local player would be filed now: false while the session waits with the one it has.
    #[must_use]
    pub fn wants_local_input(&self, player: PlayerHandle) -> bool {
        self.episode.local_inputs.wants(self.episode.rollback.current(), player)
    }

    /// Proposes that the episode ends for all, for a reason that the application numbers. It ends at the next frame
    /// that is filed. Answers whether there was room for the proposal.
    pub fn propose_end(&mut self, code: u16) -> bool {
        self.note(&Entry::ProposeEnd(code));
        self.episode.local_inputs.propose(Item::End { code })
    }

    /// Leaves in order: idle is filled in for the local players from the frame that is answered, and the others play
    /// on if enough of them are left. Where all are to play on after a desync, it leaves when they do; a dispute that every
    /// application is to decide it [ends](Self::end_disputed), unless it has decided already. One that comes back leaves at once, or
    /// with its first frame where the others may count on it already.
    pub fn leave(&mut self) -> Frame {
        self.note(&Entry::Leave);
        self.episode.leave()
    }

    /// Takes a datagram of a peer. Nothing in it can fail the session: what is wrong is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: PeerId, bytes: &[u8]) {
        if self.journal.is_some() {
            self.note(&Entry::Datagram { now, from, bytes });
        }
        let confirmed = self.episode.links.queue.confirmed_end();
        self.episode.links.handle_datagram(now, from, bytes);
        // A session that waits for an input goes on as soon as it is there.
        // One that does not wait yet keeps its time: else two peers would drive each other beyond the tick rate.
        let waits = self.episode.links.is_waiting
            && self.episode.rollback.current() >= confirmed.plus(self.episode.window());
        if waits && self.episode.links.queue.confirmed_end() > confirmed {
            self.pacer.hurry(now);
        }
    }

    /// Has datagrams sent that are due because time has passed. Needed only where frames are not advanced regularly.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.note(&Entry::Timeout { now });
        if now >= self.next_timeout() {
            self.make_due(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Timestamp {
        self.last_due.plus(KEEPALIVE)
    }

    /// When the next frame is due, so that all members run at one rate.
    #[must_use]
    pub fn next_frame_at(&self) -> Timestamp {
        self.pacer.next_frame_at()
    }

    /// Steps one frame, after rolling back where a guess was wrong; or says what it waits for.
    ///
    /// # Errors
    /// When the game fails with the inputs that the players gave, when a local input is missing, or when the members
    /// cannot play together. After an error of the game or of the members, go on calling this and
    /// [`poll_output`](Self::poll_output) until [`is_finished`](Self::is_finished), so that the others hear of it.
    pub fn advance_frame(
        &mut self,
        now: Timestamp,
        game: &mut G,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        if self.journal.is_some() {
            self.note(&Entry::Advance { now });
        }
        let mut game = Witness { game, journal: self.journal.as_deref_mut() };
        let advance = self.episode.advance(now, &mut game);
        // Also while waiting, and after the end: a lost datagram costs one frame, not a timeout.
        self.make_due(now);
        match &advance {
            Ok(Advance::Stepped { .. } | Advance::Held { .. }) if !self.episode.is_behind() => {
                self.pacer.handle_frame(now, self.episode.advantage(now), false);
            }
            Ok(Advance::Stepped { .. } | Advance::Held { .. }) => self.pacer.catch_up(now),
            Ok(Advance::Stalled(Stall::CatchingUp)) if self.episode.has_passed() => {
                self.pacer.catch_up(now);
            }
            // The driver looks at the network between two parts of a rollback, and does not wait.
            Ok(Advance::Stalled(Stall::Resimulating { .. })) => self.pacer.hurry(now),
            Err(AdvanceError::MissingInput { .. }) => {}
            waits => {
                self.stalls += u64::from(matches!(waits, Ok(Advance::Stalled(_))));
                // In a pause nobody runs ahead.
                let is_paused = matches!(waits, Ok(Advance::Stalled(Stall::Paused { .. })));
                let advantage = if is_paused { None } else { self.episode.advantage(now) };
                self.pacer.handle_frame(now, advantage, true);
            }
        }
        let held = self.pacer.held_rate();
        self.episode.rollback.note_rate(now, held == FULL_RATE);
        self.pacer.set_pace(self.episode.links.pace(now, held));
        self.episode.links.period_micros = self.pacer.paced_micros();
        if let Some(journal) = &mut self.journal {
            journal.note(&Entry::Advanced { digest: digest_of_advance(&advance) });
        }
        advance
    }

    /// What there is to do: to be called until it answers `None`, after every call into the session.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Output<'_>> {
        let output = if let Some(event) = self.episode.links.events.pop() {
            if event == Event::Started {
                // The hello needed more room than what follows.
                self.datagram = Vec::new();
            }
            Output::Event(event)
        } else if self.episode.has_row() {
            Output::Stable(self.episode.next_row())
        } else {
            let to = self.episode.links.write_datagram(now, &mut self.datagram)?;
            Output::Datagram { to, bytes: &self.datagram }
        };
        if let Some(journal) = &mut self.journal {
            journal.note(&Entry::Poll { now, digest: digest_of_output(&output) });
        }
        Some(output)
    }

    /// The next frame to step.
    #[must_use]
    pub fn current_frame(&self) -> Frame {
        self.episode.rollback.current()
    }

    /// The frames of which every player's input is held.
    #[must_use]
    pub fn confirmed(&self) -> Confirmed {
        Confirmed::before(
            self.episode.links.queue.confirmed_end().min(self.episode.rollback.current()),
        )
    }

    /// The frames that nothing can retract.
    #[must_use]
    pub fn stable(&self) -> Stable {
        Stable::before(self.episode.ledger.stable.min(self.episode.rollback.current()))
    }

    /// The frames up to which all members' states are equal.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        Agreed::before(self.episode.ledger.agreed)
    }

    fn make_due(&mut self, now: Timestamp) {
        self.last_due = now;
        self.episode.links.make_due(now);
    }
}

fn check_fit<G: Game>(
    config: &SessionConfig,
    ticket: &Ticket,
) -> Result<(), SessionError<G::Error>> {
    let (expected, got) = (config.players(), ticket.roster.player_count());
    if expected != got {
        return Err(SessionError::PlayerCount { expected, got });
    }
    let (expected, got) = (G::Input::WIDTH, config.input_width());
    // An input of width 0 takes the width of the configuration.
    if expected != 0 && expected != got {
        return Err(SessionError::InputWidth { expected, got });
    }
    let (peers, late) = (ticket.roster.peers(), config.late_peers());
    if !peers.contains(ticket.local) {
        return Err(SessionError::NotInRoster { peer: ticket.local });
    }
    if late.contains(ticket.local) && ticket.incarnation == 0 {
        return Err(SessionError::ComesLate { peer: ticket.local });
    }
    let (expected, got) = (config.members_min(), peers.minus(late).len());
    if got < expected {
        return Err(SessionError::TooFewAtStart { expected, got });
    }
    for peer in ticket.roster.peers().iter() {
        let got = ticket.roster.players_of(peer).count() * config.input_width();
        if got > PEER_INPUT_BYTES_MAX {
            return Err(SessionError::TooManyBytes { peer, max: PEER_INPUT_BYTES_MAX, got });
        }
    }
    Ok(())
}

/// The most bytes that all players of a peer may give in a frame: a datagram holds a new frame and a repeated one.
pub const PEER_INPUT_BYTES_MAX: usize = 480;

/// The longest name or value of a fact: one byte counts it.
const FACT_BYTES_MAX: usize = 255;

/// In less, one that plays well is heard of now and then only.
const INTERRUPTED_MIN_MICROS: u64 = 100_000;

/// How often datagrams are sent when no frame is advanced.
const KEEPALIVE: Duration = Duration::from_millis(100);
