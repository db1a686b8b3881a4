//! One peer of a simulation: a real session, driven as a user drives it. Does not know the other peers.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::{PeerClock, TrueTime};
use super::network::{Network, UnderWay};
use super::observed::Observed;
use super::oracle::{Oracle, Violation};
use super::pauses::PauseLog;
use super::players::Player;
use super::random::Random;
use super::returns::Feed;
use super::silence::Silence;
use super::simulation::{InputSource, Noise};
use super::slowness::Slowness;
use super::stable_log::StableLog;
use crate::session::Sabotage;
use crate::wire::{DATAGRAM_BYTES_MAX, Kind};
use crate::{
    Actor, Advance, AdvanceError, DesyncDump, End, Event, Frame, Game, InputFlags, Output,
    PEERS_MAX, PeerId, PeerSet, PlayerHandle, Session, SessionConfig, Stall, Timestamp,
};

/// A peer.
pub(crate) struct Node<G: Game> {
    pub(crate) peer: PeerId,
    pub(crate) clock: PeerClock,
    pub(crate) game: Observed<G>,
    pub(crate) log: StableLog,
    pub(crate) events: Vec<Event>,
    pub(crate) error: Option<String>,
    /// What each local player gave, by frame.
    pub(crate) given: BTreeMap<(PlayerHandle, Frame), (Vec<u8>, InputFlags)>,
    /// When each frame was first stepped, in true time.
    pub(crate) stepped_at: Vec<TrueTime>,
    /// When it had to wait, in true time.
    pub(crate) stalled_at: Vec<TrueTime>,
    /// When the episode was over for it.
    pub(crate) ended_at: Option<TrueTime>,
    pub(crate) pauses: PauseLog,
    /// What it is given of what was recorded, as one that comes back.
    pub(crate) feed: Option<Feed>,
    /// Who it has sent away since nobody was to wait for them any longer.
    pub(crate) kicked: PeerSet,
    pub(super) silence: Silence,
    pub(crate) session: Session<Observed<G>>,
    /// What the last call to advance waited for.
    pub(crate) last_stall: Option<Stall>,
    /// The frame it was at when it last searched, or took a state over.
    pub(super) searched_at: Option<Frame>,
    /// Datagrams that nobody sent come before each frame.
    pub(crate) noise: Noise,
    /// How many frames a call may step again, where that is limited.
    pub(crate) step_budget: Option<u32>,
    /// How many frames ahead its game is shown.
    pub(crate) run_ahead: u32,
    /// A bit of its state was flipped, or it was given what such a one had recorded; and it found that others agree on another state
    /// than its own.
    pub(super) is_struck: bool,
    pub(super) is_misfit: bool,
    /// Its players say what they will probably do.
    pub(crate) gives_hints: bool,
    /// Its side of a desync.
    pub(crate) dump: Option<DesyncDump>,
    /// What its session wrote down, where it keeps a journal.
    pub(crate) journal: Vec<u8>,
    /// The part that is broken.
    pub(crate) sabotage: Option<Sabotage>,
    style: DriverStyle,
    inbox: VecDeque<(Option<Timestamp>, PeerId, Vec<u8>)>,
    pub(super) last_datagrams: [Vec<u8>; PEERS_MAX],
    busy_until: TrueTime,
    pub(super) slowness: Slowness,
    ladder: [Frame; 3],
    /// How many frames its session passed over.
    pub(super) passed: u64,
    /// How far all agreed while there was another who could say otherwise.
    pub(super) compared: Frame,
    pub(super) players: Vec<Player>,
    pub(super) actor: Actor,
    pub(super) random: Random,
    pub(super) noise_random: Random,
    pub(super) hint_random: Random,
    window: u32,
    pub(super) report_interval: u32,
    is_crashed: bool,
}

/// How a driver waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DriverStyle {
    /// It wakes for each datagram, and for the session's timeouts.
    EachDatagram,
    /// It wakes for frames, and finds what has come in between.
    EachFrame,
}

/// What a node is made of, beside its session and game.
pub(crate) struct NodeParts {
    pub(crate) peer: PeerId,
    pub(crate) clock: PeerClock,
    pub(crate) style: DriverStyle,
    pub(crate) players: Vec<PlayerHandle>,
    pub(crate) seed: u64,
    pub(crate) starts: TrueTime,
}

impl<G: Game<Error: Debug>> Node<G> {
    pub(crate) fn new(
        parts: NodeParts,
        config: &SessionConfig,
        session: Session<Observed<G>>,
        game: Observed<G>,
    ) -> Self {
        let stream = u64::from(parts.peer.slot());
        let player = |player| Player { player, input: vec![0; config.input_width()] };
        Self {
            peer: parts.peer,
            clock: parts.clock,
            style: parts.style,
            game,
            session,
            log: StableLog::default(),
            events: Vec::new(),
            error: None,
            given: BTreeMap::new(),
            stepped_at: Vec::new(),
            stalled_at: Vec::new(),
            ended_at: None,
            pauses: PauseLog::default(),
            feed: None,
            kicked: PeerSet::EMPTY,
            silence: Silence::new(parts.starts),
            last_stall: None,
            searched_at: None,
            noise: Noise::default(),
            step_budget: None,
            run_ahead: 0,
            is_struck: false,
            is_misfit: false,
            gives_hints: false,
            dump: None,
            journal: Vec::new(),
            sabotage: None,
            inbox: VecDeque::new(),
            last_datagrams: Default::default(),
            busy_until: parts.starts,
            slowness: Slowness::default(),
            ladder: [Frame::ZERO; 3],
            passed: 0,
            compared: Frame::ZERO,
            players: parts.players.into_iter().map(player).collect(),
            actor: Actor::Person,
            random: Random::new(parts.seed, STREAM_INPUTS + stream),
            noise_random: Random::new(parts.seed, STREAM_NOISE + stream),
            hint_random: Random::new(parts.seed, STREAM_HINTS + stream),
            window: config.prediction_window_frames(),
            report_interval: config.report_interval_frames(),
            is_crashed: false,
        }
    }

    pub(crate) fn crash(&mut self) {
        self.is_crashed = true;
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.session.end()
    }

    /// Whether its driver calls the session no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_crashed || self.session.is_finished()
    }

    /// Whether its driver stands still.
    pub(crate) fn is_busy(&self, now: TrueTime) -> bool {
        now < self.busy_until
    }

    /// Which life of its slot it lives.
    pub(crate) fn incarnation(&self) -> u8 {
        self.feed.as_ref().map_or(0, |feed| feed.incarnation)
    }

    pub(crate) fn is_crashed(&self) -> bool {
        self.is_crashed
    }

    /// Keeps the driver from calling the session until then.
    pub(crate) fn keep_busy(&mut self, until: TrueTime) {
        self.busy_until = self.busy_until.max(until);
    }

    /// When the driver wakes next without a datagram; never when it is closed.
    pub(crate) fn wakes_at(&self) -> Option<TrueTime> {
        if self.is_closed() {
            return None;
        }
        let frame = self.session.next_frame_at();
        let due = match self.style {
            DriverStyle::EachDatagram => frame.min(self.session.next_timeout()),
            DriverStyle::EachFrame => frame,
        };
        Some(self.clock.when(due).max(self.busy_until))
    }

    /// A datagram has come.
    pub(crate) fn handle_arrival(
        &mut self,
        now: TrueTime,
        arrived: UnderWay,
        network: &mut Network,
    ) -> Result<(), Violation> {
        if self.is_closed() {
            return Ok(());
        }
        if !arrived.is_damaged {
            self.silence.note_heard(now, arrived.from);
        }
        let is_busy = now < self.busy_until;
        if is_busy || self.style == DriverStyle::EachFrame {
            let stamp = (!is_busy).then(|| self.clock.read(now));
            if self.inbox.len() < INBOX_MAX {
                self.inbox.push_back((stamp, arrived.from, arrived.bytes));
            }
            return Ok(());
        }
        let local = self.clock.read(now);
        self.session.handle_datagram(local, arrived.from, &arrived.bytes);
        self.remember(arrived.from, arrived.bytes);
        self.tamper();
        self.drain(now, network)?;
        self.check(now)
    }

    /// The driver wakes.
    pub(crate) fn wake(
        &mut self,
        now: TrueTime,
        network: &mut Network,
        source: &mut InputSource,
    ) -> Result<(), Violation> {
        let local = self.clock.read(now);
        while let Some((stamp, from, bytes)) = self.inbox.pop_front() {
            self.session.handle_datagram(stamp.unwrap_or(local), from, &bytes);
            self.remember(from, bytes);
        }
        self.tamper();
        self.drain(now, network)?;
        self.make_noise(local);
        if local < self.session.next_frame_at() {
            self.session.handle_timeout(local);
            self.drain(now, network)?;
            return self.check(now);
        }
        if self.session.end().is_none() {
            self.give_inputs(source)?;
            if self.gives_hints {
                self.give_hints()?;
            }
        }
        let steps = self.game.steps;
        let resimulated = self.session.counters().rollback.resimulated;
        let advance = self.session.advance_frame(local, &mut self.game);
        let steps = self.game.steps - steps;
        let steps_max = self.steps_max();
        if steps > steps_max && self.session.end().is_none() && !self.is_searching(&advance) {
            let detail =
                format!("{steps} steps in one call, expected at most {steps_max}: {advance:?}");
            return Err(Violation::new(Oracle::Bounds, detail));
        }
        let resimulated = self.session.counters().rollback.resimulated - resimulated;
        if let Some(budget) = self.step_budget.filter(|budget| resimulated > u64::from(*budget)) {
            let detail = format!("{resimulated} frames stepped again, expected at most {budget}");
            return Err(Violation::new(Oracle::Bounds, detail));
        }
        self.tamper();
        self.note_advance(now, advance)?;
        let done = now.plus_micros(self.micros_taken(now, steps));
        self.keep_busy(done);
        self.drain_at(now, done, network)?;
        self.check(now)
    }

    /// The most steps of one call: a rollback with the way from the saved state before it, the frame itself, and at the
    /// end of the episode the way from the last report.
    pub(super) fn steps_max(&self) -> u64 {
        let steps_max = u64::from(self.window) * 2 + 2 + u64::from(self.report_interval);
        steps_max + u64::from(self.run_ahead)
    }

    /// How much was refused of what came.
    pub(crate) fn refused(&self) -> u64 {
        let links = PeerId::all(PEERS_MAX).filter_map(|peer| self.session.link_counters(peer));
        links.map(|counters| counters.refused()).sum()
    }

    fn tamper(&mut self) {
        if let Some(part) = self.sabotage {
            self.session.sabotage(part);
        }
    }

    fn remember(&mut self, from: PeerId, bytes: Vec<u8>) {
        if let Some(last) = self.last_datagrams.get_mut(from.index()) {
            *last = bytes;
        }
    }

    fn note_advance(
        &mut self,
        now: TrueTime,
        advance: Result<Advance, AdvanceError<G::Error>>,
    ) -> Result<(), Violation> {
        if let Some(violation) = self.game.take_violation() {
            return Err(violation);
        }
        self.note_passed(now);
        match advance {
            Ok(Advance::Stepped { frame, .. } | Advance::Held { frame, .. }) => {
                self.note_taken_over(now, frame);
                if frame.index() as usize != self.stepped_at.len() {
                    let detail = format!("expected frame {}", self.stepped_at.len());
                    return Err(Violation::at(Oracle::Stepping, frame, detail));
                }
                self.stepped_at.push(now);
                self.check_shown()
            }
            Ok(Advance::Stalled(stall)) => {
                self.stalled_at.push(now);
                self.last_stall = Some(stall);
                if matches!(
                    stall,
                    Stall::SearchingDesync | Stall::Disputed(_) | Stall::Resyncing(_)
                ) {
                    self.searched_at = Some(self.session.current_frame());
                }
                self.pauses.note_stall(stall, self.session.current_frame());
                self.check_shown()
            }
            Ok(Advance::Ended(_)) => Ok(()),
            Err(AdvanceError::Game(error)) if self.game.failed.is_some() => {
                self.error.get_or_insert_with(|| format!("{error:?}"));
                // Drivers leave whatever has no end yet; what the others are told must still be the failure.
                self.session.leave();
                Ok(())
            }
            // A bit of its state was flipped before its new life.
            Err(AdvanceError::OtherState { .. }) if self.is_struck => {
                self.is_misfit = true;
                self.session.leave();
                Ok(())
            }
            Err(error) => Err(Violation::new(Oracle::Errors, format!("{error:?}"))),
        }
    }

    /// The game must be as far ahead as the session says.
    fn check_shown(&self) -> Result<(), Violation> {
        let ahead = self.session.frames_ahead();
        let shown = self.session.current_frame().plus(ahead);
        if ahead > self.run_ahead || ahead > 0 && self.game.at() != Some(shown) {
            let detail = format!("{ahead} frames ahead, but the game is at {:?}", self.game.at());
            return Err(Violation::at(Oracle::Stepping, shown, detail));
        }
        Ok(())
    }

    /// Does what the session says, as far as it says anything.
    fn drain(&mut self, now: TrueTime, network: &mut Network) -> Result<(), Violation> {
        self.drain_at(now, now, network)
    }

    /// The same of a call that began at `now` and is `done` later.
    fn drain_at(
        &mut self,
        now: TrueTime,
        done: TrueTime,
        network: &mut Network,
    ) -> Result<(), Violation> {
        self.note_filed(now);
        let local = self.clock.read(now);
        let (mut inputs, mut outputs) = ([0_u32; PEERS_MAX], 0);
        while let Some(output) = self.session.poll_output(local) {
            outputs += 1;
            match output {
                Output::Datagram { to, bytes } => {
                    let count = inputs.get_mut(to.index());
                    if let (Some(Kind::Inputs), Some(count)) = (Kind::of(bytes), count) {
                        *count += 1;
                    }
                    if bytes.len() > DATAGRAM_BYTES_MAX || to == self.peer {
                        let detail = format!("{} bytes to {to}", bytes.len());
                        return Err(Violation::new(Oracle::Bounds, detail));
                    }
                    network.send(done, self.peer, to, bytes);
                    self.silence.note_sent(done, to);
                }
                Output::Event(event) => {
                    // Whoever proposes a departure may crash before it is agreed: its silence counts all the same.
                    if let Event::DepartureProposed { peers } = event {
                        for peer in peers.iter() {
                            self.silence.note_given_up(now, peer);
                        }
                    }
                    self.pauses.note_event(now, self.peer, &event);
                    self.note_return(&event);
                    self.events.push(event);
                }
                Output::Stable(frame) => {
                    let at = frame.frame;
                    self.game.check_recorded(at, frame.inputs)?;
                    if !self.log.push(frame) {
                        let detail = format!("is row {} of the log", self.log.rows().len() - 1);
                        return Err(Violation::at(Oracle::StableLogs, at, detail));
                    }
                }
            }
            if outputs > OUTPUTS_MAX || inputs.iter().any(|count| *count > 1) {
                let detail = format!("{outputs} outputs of one call, inputs to each {inputs:?}");
                return Err(Violation::new(Oracle::Bounds, detail));
            }
        }
        self.dump = self.session.take_desync_dump().or(self.dump.take());
        self.journal.append(&mut self.session.take_journal());
        Ok(())
    }

    /// The ladder of finality, after every call.
    fn check(&mut self, now: TrueTime) -> Result<(), Violation> {
        self.note_compared();
        let session = &self.session;
        let current = session.current_frame();
        let (confirmed, stable) = (session.confirmed().end(), session.stable().end());
        let agreed = session.agreed().end();
        let rungs = [confirmed, stable, agreed];
        let fell = self.ladder.iter().zip(rungs).any(|(before, after)| after < *before);
        let is_ordered = agreed <= stable && stable <= confirmed && confirmed <= current;
        if fell || !is_ordered || current.since(confirmed) > self.window {
            let detail = format!(
                "current {current}, confirmed {confirmed}, stable {stable}, agreed {agreed}; before {:?}",
                self.ladder.map(Frame::index)
            );
            return Err(Violation::at(Oracle::Ladder, current, detail));
        }
        self.ladder = rungs;
        if self.ended_at.is_none() && self.session.end().is_some() {
            self.ended_at = Some(now);
        }
        if session.counters().events_lost > 0 {
            return Err(Violation::new(Oracle::Bounds, "events were lost".into()));
        }
        let mut links = PeerId::all(PEERS_MAX).filter_map(|peer| session.link_counters(peer));
        if links.any(|counters| counters.runs_refused + counters.hints_refused > 0) {
            let detail = "what an honest peer sent of its own players or of others was refused";
            return Err(Violation::new(Oracle::Inputs, detail.into()));
        }
        Ok(())
    }
}

/// What a socket holds of a process that stands still; beyond it datagrams are lost.
const INBOX_MAX: usize = 1024;

/// More than the rows of the longest history and a datagram of each kind for each remote.
const OUTPUTS_MAX: usize = 2_048;

const STREAM_INPUTS: u64 = 1_000;
const STREAM_NOISE: u64 = 2_000;
const STREAM_HINTS: u64 = 3_000;
