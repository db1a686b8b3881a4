//! The public machine: one episode, as one peer plays it. Four doors in, two out.

mod event;
mod ledger;
mod links;
mod local_inputs;
mod membership;
mod output;
mod transmit;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

pub use self::event::Event;
use self::ledger::Ledger;
use self::links::Links;
pub use self::local_inputs::InputError;
use self::local_inputs::LocalInputs;
use self::membership::Verdict;
pub use self::output::{Advance, End, EndCause, Output, StableFrame, Stall};
use crate::desync::{Desync, Disagreement, Search};
use crate::frame_pacer::FramePacer;
use crate::peer::{LinkCounters, Mismatch, first_mismatch};
use crate::rollback::Rollback;
use crate::wire::{self, Goodbye, Hello};
use crate::{
    Agreed, Confirmed, Facts, Frame, Game, GameError, Input, InputFlags, Item, PeerId, PeerSet,
    PlayerHandle, Predictor, RepeatLast, RollbackCounters, SessionConfig, Stable, StateHash,
    Ticket, Timestamp, View,
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
    config: SessionConfig,
    rollback: Rollback<G>,
    links: Links,
    local_inputs: LocalInputs,
    ledger: Ledger,
    pacer: FramePacer,
    predictor: Box<dyn Predictor + Send>,
    phase: Phase,
    start_hash: StateHash,
    counters: SessionCounters,
    datagram: Vec<u8>,
    last_due: Timestamp,
}

/// Where an episode stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshaking,
    Playing,
    /// The states of two members differ; the search began at this moment.
    Searching { since: Timestamp },
    /// The simulation failed here; the others are told.
    Failing { since: Timestamp },
    /// The end is known; the others may need to hear of it.
    Over { end: End, since: Timestamp },
}

/// What a session has done so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// What rolling back has cost.
    pub rollback: RollbackCounters,
    /// Calls to advance that stepped a frame or let a held one pass.
    pub frames: u64,
    /// Calls to advance that had to wait.
    pub stalls: u64,
    /// Datagrams of peers that are not of this match.
    pub strangers: u64,
    /// Events that were dropped because nobody read them.
    pub events_lost: u64,
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
        let hosts = PlayerHandle::all(config.players()).filter_map(|p| ticket.roster.host(p));
        let hello = Hello {
            version: wire::WIRE_VERSION,
            heard: false,
            incarnation: ticket.incarnation,
            seed: ticket.seed,
            start: start_hash,
            roster: hosts.map(PeerId::slot).collect(),
            config: config.encode(),
            facts,
        };
        let mut datagram = Vec::with_capacity(wire::DATAGRAM_BYTES_MAX);
        hello.encode(false, &mut datagram);
        let room = wire::DATAGRAM_BYTES_MAX - wire::HEAD_BYTES;
        if datagram.len() > room {
            return Err(SessionError::FactsTooLong { max: room, got: datagram.len() });
        }
        let links = Links::new(config, ticket, hello, now);
        let local_players = links.queue.players_of(ticket.local);
        Ok(Self {
            local_inputs: LocalInputs::new(config, ticket.local, local_players),
            ledger: Ledger::new(
                config.members_min(),
                config.report_interval_frames(),
                start_hash,
            ),
            pacer: FramePacer::new(config.frame_duration()),
            predictor: Box::new(RepeatLast),
            phase: Phase::Handshaking,
            config: config.clone(),
            rollback,
            links,
            start_hash,
            counters: SessionCounters::default(),
            datagram,
            last_due: now,
        })
    }

    /// Guesses with `predictor` in place of [`RepeatLast`].
    #[must_use]
    pub fn with_predictor(mut self, predictor: Box<dyn Predictor + Send>) -> Self {
        self.predictor = predictor;
        self
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
        let mut bytes = [0; crate::INPUT_WIDTH_MAX];
        let bytes = bytes.get_mut(..self.links.queue.width()).unwrap_or_default();
        input.write(bytes);
        self.set_local_input_bytes(player, bytes, InputFlags::NONE)
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
        let current = self.rollback.current();
        self.local_inputs.file(&mut self.links.queue, current, player, input, flags)
    }

    /// Proposes that the episode ends for all, for a reason that the application numbers. It ends at the next frame
    /// that is filed. Answers whether there was room for the proposal.
    pub fn propose_end(&mut self, code: u16) -> bool {
        self.local_inputs.propose(Item::End { code })
    }

    /// Leaves in order: idle is filled in for the local players from the frame that is answered, and the others play
    /// on if enough of them are left.
    pub fn leave(&mut self) -> Frame {
        self.local_inputs.leave(&mut self.links.queue)
    }

    /// Takes a datagram of a peer. Nothing in it can fail the session: what is wrong is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: PeerId, bytes: &[u8]) {
        let confirmed = self.links.queue.confirmed_end();
        self.links.handle_datagram(now, from, bytes);
        // A session that waits for an input goes on as soon as it is there.
        let waits = self.rollback.current() >= confirmed.plus(self.window());
        if waits && self.links.queue.confirmed_end() > confirmed {
            self.pacer.hurry(now);
        }
    }

    /// Has datagrams sent that are due because time has passed. Needed only where frames are not advanced regularly.
    pub fn handle_timeout(&mut self, now: Timestamp) {
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
        let advance = match self.phase {
            Phase::Handshaking => self.shake_hands(now),
            Phase::Playing => self.play(now, game),
            Phase::Searching { since } => self.search(now, since, game),
            Phase::Failing { since } => Ok(self.fail_on(now, since)),
            Phase::Over { end, .. } => {
                // Others may still have to agree on a departure.
                self.links.commit_departure();
                Ok(Advance::Ended(end))
            }
        };
        if let Ok(Advance::Stalled(_)) = advance {
            self.counters.stalls += 1;
        }
        // Also while waiting, and after the end: a lost datagram costs one frame, not a timeout.
        self.make_due(now);
        if !matches!(advance, Err(AdvanceError::MissingInput { .. })) {
            self.pacer.handle_frame(now, self.advantage(now));
        }
        advance
    }

    /// What there is to do: to be called until it answers `None`, after every call into the session.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Output<'_>> {
        if let Some(event) = self.links.events.pop() {
            return Some(Output::Event(event));
        }
        if self.has_row() {
            return Some(Output::Stable(self.next_row()));
        }
        let to = self.links.write_datagram(now, &mut self.datagram)?;
        Some(Output::Datagram { to, bytes: &self.datagram })
    }

    /// The next frame to step.
    #[must_use]
    pub fn current_frame(&self) -> Frame {
        self.rollback.current()
    }

    /// The frames of which every player's input is held.
    #[must_use]
    pub fn confirmed(&self) -> Confirmed {
        Confirmed::before(self.links.queue.confirmed_end().min(self.rollback.current()))
    }

    /// The frames that nothing can retract.
    #[must_use]
    pub fn stable(&self) -> Stable {
        Stable::before(self.ledger.stable.min(self.rollback.current()))
    }

    /// The frames up to which all members' states are equal.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        Agreed::before(self.ledger.agreed)
    }

    /// The members in force.
    #[must_use]
    pub fn view(&self) -> View {
        self.links.membership.view()
    }

    /// Which peer this is.
    #[must_use]
    pub fn local(&self) -> PeerId {
        self.links.local
    }

    /// How the episode ended, once it is over.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Over { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Whether the episode is over and nobody needs this session any more, or it has stayed long enough.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Over { since, .. } => {
                let mut links = self.links.links.iter();
                let is_heard = self.links.goodbye.is_some() && links.all(|l| l.heard_goodbye);
                is_heard
                    || self.links.others_not_done().is_empty()
                    || self.last_due.since(since) >= self.config.linger()
            }
            _ => false,
        }
    }

    /// The hash of the state after reset.
    #[must_use]
    pub fn start_hash(&self) -> StateHash {
        self.start_hash
    }

    /// What a peer said of itself, once it has said hello.
    #[must_use]
    pub fn facts_of(&self, peer: PeerId) -> Option<&Facts> {
        if peer == self.links.local {
            return Some(&self.links.hello.facts);
        }
        self.links.link(peer)?.handshake.remote.as_ref().map(|hello| &hello.facts)
    }

    /// The least round trip to a peer of late, on the way that datagrams take.
    #[must_use]
    pub fn rtt(&self, peer: PeerId) -> Option<Duration> {
        self.links.link(peer)?.clock.rtt()
    }

    /// How much the way of a peer's datagrams varies (RFC 3550 §6.4.1).
    #[must_use]
    pub fn jitter(&self, peer: PeerId) -> Option<Duration> {
        self.links.link(peer).map(|link| link.clock.jitter())
    }

    /// How far ahead of the other members this peer runs, in thousandths of a frame.
    #[must_use]
    pub fn frame_advantage_millis(&self) -> i64 {
        self.pacer.advantage()
    }

    /// What passed between this peer and another.
    #[must_use]
    pub fn link_counters(&self, peer: PeerId) -> Option<LinkCounters> {
        self.links.link(peer).map(|link| link.counters)
    }

    /// What the session has done so far.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        SessionCounters {
            rollback: self.rollback.counters().clone(),
            strangers: self.links.strangers(),
            events_lost: self.links.events.lost(),
            ..self.counters.clone()
        }
    }

    fn window(&self) -> u32 {
        self.config.prediction_window_frames()
    }

    fn shake_hands(&mut self, now: Timestamp) -> Result<Advance, AdvanceError<G::Error>> {
        let mut missing = PeerSet::EMPTY;
        let mut misfit = None;
        for link in &self.links.links {
            match &link.handshake.remote {
                None => {
                    missing.insert(link.peer);
                }
                Some(theirs) => {
                    let mismatch = first_mismatch(&self.links.hello, theirs, &self.config);
                    misfit = misfit.or(mismatch.map(|mismatch| (link.peer, mismatch)));
                }
            }
        }
        if let Some((peer, mismatch)) = misfit {
            self.finish(now, Frame::ZERO, EndCause::Incompatible, Some(peer));
            return Err(AdvanceError::Incompatible { peer, mismatch });
        }
        if missing.is_empty() {
            self.phase = Phase::Playing;
            self.links.has_started = true;
            // Silence counts from here: before, a peer may have waited for others.
            for link in &mut self.links.links {
                link.handle_heard(now);
            }
            self.links.events.push(Event::Started);
        }
        Ok(Advance::Stalled(Stall::Handshaking(missing)))
    }

    fn play(
        &mut self,
        now: Timestamp,
        game: &mut G,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        let current = self.rollback.current();
        if let Some(player) = self.local_inputs.missing(current) {
            return Err(AdvanceError::MissingInput { player });
        }
        self.update_members(now);
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        self.step_or_stall(now, game).map_err(|error| {
            self.links.goodbye = Some(Goodbye::GameFailed { frame: error.frame() });
            self.phase = Phase::Failing { since: now };
            AdvanceError::Game(error)
        })
    }

    fn step_or_stall(
        &mut self,
        now: Timestamp,
        game: &mut G,
    ) -> Result<Advance, GameError<G::Error>> {
        let (queue, predictor) = (&mut self.links.queue, self.predictor.as_mut());
        let rolled_back = self.rollback.resimulate(game, queue, predictor)?;
        self.settle(now, game)?;
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        if let Some(stall) = self.stall() {
            return Ok(Advance::Stalled(stall));
        }
        let frame = self.rollback.current();
        let (queue, predictor) = (&mut self.links.queue, self.predictor.as_mut());
        self.rollback.step(game, queue, predictor)?;
        self.counters.frames += 1;
        Ok(match self.rollback.ended_at() {
            Some(end) if end <= frame => Advance::Held { frame, rolled_back },
            _ => Advance::Stepped { frame, rolled_back },
        })
    }

    /// Why the current frame cannot be stepped yet.
    fn stall(&mut self) -> Option<Stall> {
        if matches!(self.phase, Phase::Searching { .. }) {
            return Some(Stall::SearchingDesync);
        }
        let (current, queue) = (self.rollback.current(), &self.links.queue);
        let confirmed = queue.confirmed_end();
        if self.end_frame().is_some_and(|end| end.frame <= current.min(confirmed)) {
            return Some(Stall::Closing);
        }
        if current >= confirmed.plus(self.window()) {
            let peers = self.links.links.iter().map(|link| link.peer);
            let missing = peers.filter(|peer| {
                queue.end(*peer) <= confirmed && queue.closed(*peer).is_none_or(|c| c > confirmed)
            });
            return Some(Stall::WaitingForInput(missing.collect()));
        }
        // The ring takes no frame beyond its history, and a report that nobody agrees with keeps its snapshot.
        let newest = current.plus(self.config.input_delay_max()).next();
        let history = newest >= queue.floor().plus(queue.capacity() - 1);
        let report = self.links.reports.next_frame();
        if history || current > report.plus(self.window()) {
            let slowest = self.links.links.iter().filter(|l| self.links.others().contains(l.peer));
            let slowest = slowest.min_by_key(|link| (link.confirmed, link.report.map(|r| r.0)));
            return Some(Stall::WaitingForAck(slowest.map_or(self.links.local, |link| link.peer)));
        }
        None
    }

    /// Takes in what silence, claims and goodbyes mean for who is a member.
    fn update_members(&mut self, now: Timestamp) {
        self.links.note_silence(now);
        if let Some((departed, cut)) = self.links.commit_departure() {
            let members = self.links.membership.view().members.len();
            self.ledger.note_departure(members, departed, cut);
        }
        self.ledger.stable = self.links.stable_end();
        self.links.retire_leavers();
        if let Some(Verdict::NoQuorum | Verdict::Evicted) = self.links.take_verdict() {
            self.finish(now, self.row_limit(), EndCause::Partitioned, None);
        }
    }

    /// Where the episode ends, as far as confirmed inputs tell.
    fn end_frame(&self) -> Option<End> {
        let ended = self.rollback.ended_at();
        let simulated = self.rollback.simulated_end(&self.links.queue);
        let confirmed = self.links.queue.confirmed_end();
        self.ledger.end(ended.filter(|end| *end <= simulated && *end <= confirmed))
    }

    /// Moves the frontiers: hashes what is final, compares reports, and sees whether the episode is over.
    fn settle(&mut self, now: Timestamp, game: &mut G) -> Result<(), GameError<G::Error>> {
        let simulated = self.rollback.simulated_end(&self.links.queue);
        self.ledger.chain_confirmed(&mut self.links, simulated);
        self.report_finals(game, simulated)?;
        self.ledger.stable = self.links.stable_end();
        let Some(disagreement) = self.links.reports.compare(self.links.others()) else {
            let others = self.links.others_not_done();
            self.ledger.agreed = self.links.reports.agreed_frame(others);
            self.rollback.agreed(self.ledger.agreed);
            self.close(now, game)?;
            self.raise_floor();
            return Ok(());
        };
        self.start_search(now, game, disagreement)
    }

    /// Hashes the states of the frames that are reported, once they are final.
    fn report_finals(&mut self, game: &G, simulated: Frame) -> Result<(), GameError<G::Error>> {
        let end = self.end_frame();
        loop {
            let frame = self.links.reports.next_frame();
            let is_final = frame <= simulated.min(self.links.queue.confirmed_end());
            let is_stepped = frame < self.rollback.current() || self.rollback.ended_at() == Some(frame);
            let is_in_episode = end.is_none_or(|end| frame <= end.frame);
            if !is_final || !is_stepped || !is_in_episode || !self.rollback.has_room_for_report() {
                return Ok(());
            }
            if !self.report(game, frame)? {
                return Ok(());
            }
        }
    }

    /// Hashes and reports the state of a frame. Answers whether it was saved.
    fn report(&mut self, game: &G, frame: Frame) -> Result<bool, GameError<G::Error>> {
        let Some(inputs) = self.ledger.inputs_before(frame) else { return Ok(false) };
        let Some(hash) = self.rollback.hash_final(game, frame)? else { return Ok(false) };
        self.links.reports.push(frame, hash, inputs);
        self.ledger.note_hash(frame, hash);
        for link in &mut self.links.links {
            link.digests_due = DIGEST_REPEATS;
        }
        Ok(true)
    }

    /// Ends the episode when all its frames are stable and their states agreed.
    fn close(&mut self, now: Timestamp, game: &mut G) -> Result<(), GameError<G::Error>> {
        let Some(end) = self.end_frame().filter(|end| self.ledger.stable >= end.frame) else {
            return Ok(());
        };
        if self.rollback.simulated_end(&self.links.queue) < end.frame {
            return Ok(());
        }
        if self.ledger.leaves_alone {
            self.links.goodbye = Some(Goodbye::Left { confirmed: end.frame });
            self.finish(now, end.frame, end.cause, end.by);
            return Ok(());
        }
        if self.links.reports.last().frame < end.frame && self.rollback.has_room_for_report() {
            self.rollback.settle_at(game, &mut self.links.queue, end.frame)?;
            self.report(game, end.frame)?;
        }
        let others = self.links.others_not_done();
        self.ledger.agreed = self.links.reports.agreed_frame(others);
        if self.ledger.agreed == end.frame {
            self.finish(now, end.frame, end.cause, end.by);
        }
        Ok(())
    }

    /// The episode is over; what is left is to answer the others.
    fn finish(&mut self, now: Timestamp, frame: Frame, cause: EndCause, by: Option<PeerId>) {
        self.links.end_agreed = cause.is_agreed() && !self.ledger.leaves_alone;
        self.phase = Phase::Over { end: End { frame, cause, by }, since: now };
    }

    /// What is kept: everything from the last agreed report, and every row that was not handed out.
    fn raise_floor(&mut self) {
        self.links.queue.set_floor(self.ledger.agreed.min(self.ledger.next_row));
    }

    fn start_search(
        &mut self,
        now: Timestamp,
        game: &mut G,
        disagreement: Disagreement,
    ) -> Result<(), GameError<G::Error>> {
        let agreed = self.links.reports.agreed_frame(self.links.others());
        self.rollback.agreed(agreed);
        let mut hashes = Vec::new();
        let queue = &mut self.links.queue;
        self.rollback.replay(game, queue, disagreement.frame, |_, hash| {
            hashes.push(short_hash(hash));
        })?;
        self.links.search = Some(Search::new(disagreement, agreed, hashes));
        self.phase = Phase::Searching { since: now };
        Ok(())
    }

    /// One round of the search for the first frame at which the states part.
    fn search(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        game: &mut G,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        let Some(search) = &mut self.links.search else { return Ok(Advance::Stalled(Stall::Closing)) };
        if let (Some(Some(frame)), None) = (search.first_bad(), &search.leaves) {
            let queue = &mut self.links.queue;
            let leaves = self.rollback.replay(game, queue, frame, |_, _| {});
            search.leaves = Some((frame, leaves.map_err(AdvanceError::Game)?));
        }
        let is_late = now.since(since) >= self.config.departure_timeout();
        let finding = search.finding().or(is_late.then(|| search.late_finding()));
        let Some(finding) = finding else { return Ok(Advance::Stalled(Stall::SearchingDesync)) };
        let agreed = search.agreed();
        let Disagreement { peer, frame, inputs_are_equal } = search.disagreement;
        let desync = Desync { peer, agreed, reported: frame, inputs_are_equal, finding };
        self.links.events.push(Event::Desync(desync));
        self.ledger.agreed = agreed;
        self.finish(now, agreed, EndCause::Desync, None);
        Ok(self.end().map_or(Advance::Stalled(Stall::SearchingDesync), Advance::Ended))
    }

    /// The simulation has failed here: what is stable is still handed out while the others are told.
    fn fail_on(&mut self, now: Timestamp, since: Timestamp) -> Advance {
        self.ledger.stable = self.links.stable_end();
        let heard = self.links.links.iter().all(|link| link.heard_goodbye);
        if heard || now.since(since) >= self.config.linger() {
            let by = Some(self.links.local);
            self.finish(now, self.row_limit(), EndCause::GameFailed, by);
        }
        self.end().map_or(Advance::Stalled(Stall::Closing), Advance::Ended)
    }

    fn make_due(&mut self, now: Timestamp) {
        self.last_due = now;
        self.links.make_due(now);
    }

    /// The first frame that cannot be handed out yet.
    fn row_limit(&self) -> Frame {
        let simulated = self.rollback.simulated_end(&self.links.queue);
        let limit = self.ledger.stable.min(simulated).min(self.links.reports.next_frame());
        let end = self.end().or_else(|| self.end_frame());
        end.map_or(limit, |end| limit.min(end.frame))
    }

    fn has_row(&self) -> bool {
        self.ledger.next_row < self.row_limit()
    }

    fn next_row(&mut self) -> StableFrame<'_> {
        let frame = self.ledger.next_row;
        self.ledger.next_row = frame.next();
        let state_hash = self.ledger.take_hash(frame);
        self.ledger.row_items.clear();
        if self.links.queue.has_items() {
            self.ledger.row_items.extend(self.links.queue.items_at(frame));
        }
        let row = self.links.queue.confirmed_row(frame);
        StableFrame {
            frame,
            inputs: row.inputs,
            flags: row.flags,
            items: &self.ledger.row_items,
            output: self.rollback.output(frame),
            state_hash,
        }
    }

    /// How far ahead of the other members this peer is, in thousandths of a frame.
    fn advantage(&self, now: Timestamp) -> Option<i64> {
        let others = self.links.others_not_done();
        let period = self.config.frame_duration();
        let links = self.links.links.iter().filter(|link| others.contains(link.peer));
        let own = i64::from(self.rollback.current().index()) * 1000;
        let (mut sum, mut count) = (0, 0);
        for progress in links.filter_map(|link| link.progress_at(now, period)) {
            sum += own - progress;
            count += 1;
        }
        (count > 0).then(|| sum / count)
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
    if !ticket.roster.peers().contains(ticket.local) {
        return Err(SessionError::NotInRoster { peer: ticket.local });
    }
    for peer in ticket.roster.peers().iter() {
        let got = ticket.roster.players_of(peer).count() * config.input_width();
        if got > PEER_INPUT_BYTES_MAX {
            return Err(SessionError::TooManyBytes { peer, max: PEER_INPUT_BYTES_MAX, got });
        }
    }
    Ok(())
}

/// The part of a hash that the search compares.
fn short_hash(hash: StateHash) -> u32 {
    (hash.to_u128() & u128::from(u32::MAX)) as u32
}

/// Why a session cannot begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SessionError<E> {
    /// Configuration and roster name different numbers of players.
    #[error("the configuration has {expected} players, the roster {got}")]
    PlayerCount {
        /// By the configuration.
        expected: usize,
        /// By the roster.
        got: usize,
    },
    /// Configuration and game name different widths of an input.
    #[error("the game's inputs take {expected} bytes, the configuration says {got}")]
    InputWidth {
        /// By the game.
        expected: usize,
        /// By the configuration.
        got: usize,
    },
    /// The ticket's own peer is not in its roster.
    #[error("{peer} is not in the roster")]
    NotInRoster {
        /// The peer.
        peer: PeerId,
    },
    /// The inputs of a peer's players do not fit a datagram twice.
    #[error("the inputs of {peer} take {got} bytes a frame, expected at most {max}")]
    TooManyBytes {
        /// The peer.
        peer: PeerId,
        /// What fits.
        max: usize,
        /// What they take.
        got: usize,
    },
    /// The facts do not fit the hello's datagram.
    #[error("the hello takes {got} bytes, expected at most {max}: shorten the facts")]
    FactsTooLong {
        /// What fits.
        max: usize,
        /// What it takes.
        got: usize,
    },
    /// The game could not save or hash its first state.
    #[error(transparent)]
    Game(GameError<E>),
}

/// Why a frame could not be advanced.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AdvanceError<E> {
    /// The simulation failed with the inputs that the players gave.
    #[error(transparent)]
    Game(GameError<E>),
    /// No input was given for a local player.
    #[error("{player} has no input for this frame")]
    MissingInput {
        /// The player.
        player: PlayerHandle,
    },
    /// The members cannot play together.
    #[error("{peer} does not fit: {mismatch}")]
    Incompatible {
        /// The other peer.
        peer: PeerId,
        /// What differs.
        mismatch: Mismatch,
    },
}

/// The most bytes that all players of a peer may give in a frame: a datagram holds a new frame and a repeated one.
pub const PEER_INPUT_BYTES_MAX: usize = 480;

/// How many datagrams carry a digest: a lost one does not delay agreement, and the chain makes later ones cover it.
const DIGEST_REPEATS: u8 = 2;

/// How often datagrams are sent when no frame is advanced.
const KEEPALIVE: Duration = Duration::from_millis(100);
