//! Runs a simulation: who wakes when, what strikes when, and when it is over. Knows no promise but liveness.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use super::clock::{PeerClock, TrueTime};
use super::faults::{Fault, Faults, Planned};
use super::gallery::Gallery;
use super::judgement::Judgement;
use super::kicks::Kicks;
use super::network::Network;
use super::node::{DriverStyle, Node, NodeParts};
use super::observed::Observed;
use super::oracle::{Failure, Oracle, Violation};
use super::random::Random;
use super::report::Report;
use super::simulation::{InputSource, Noise};
use super::wild::Wild;
use crate::session::Sabotage;
use crate::{
    Facts, Frame, Game, Idle, PeerId, PeerSet, PlayerHandle, RUN_AHEAD_MAX, Roster, Session,
    SessionConfig, Ticket,
};

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) config: SessionConfig,
    pub(crate) roster: Roster,
    pub(crate) faults: Faults,
    pub(crate) frames: u32,
    pub(crate) skews: Vec<(PeerId, i32)>,
    pub(crate) noise: Noise,
    pub(crate) gives_hints: bool,
    pub(crate) keeps_journals: bool,
    pub(crate) automatic_delay: Option<(u32, u32)>,
    pub(crate) run_ahead: Option<u32>,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) waived: Vec<Oracle>,
    /// What is left of the plan, by place; all unless said.
    pub(crate) kept: Option<BTreeSet<usize>>,
    pub(crate) command: String,
}

/// A simulation that runs.
pub(crate) struct World<'a, G: Game> {
    pub(super) setting: Setting,
    /// What strikes at a moment, by its place in all that was planned.
    plan: BTreeMap<usize, Planned>,
    make: &'a dyn Fn(PeerId) -> G,
    /// Peers that have not begun.
    awaited: VecDeque<(TrueTime, PeerId)>,
    pub(super) nodes: Vec<Node<G>>,
    pub(super) network: Network,
    pub(super) schedule: VecDeque<Planned>,
    source: InputSource,
    pub(super) random: Random,
    /// Former lives of peers that came back.
    pub(super) former: Vec<Node<G>>,
    pub(super) gallery: Gallery<G>,
    pub(super) left: PeerSet,
    pub(super) kicks: Kicks,
    pub(super) now: TrueTime,
    stage: Stage,
}

/// How far a simulation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Things go wrong until then.
    Faulty { heals_at: TrueTime },
    /// Every survivor must have this many stable frames by then.
    Healed { goal: Frame, deadline: TrueTime },
    /// The end was proposed, and all must be finished by then.
    Ending { deadline: TrueTime },
}

impl<'a, G: Game<Error: Debug>> World<'a, G> {
    pub(crate) fn new(
        setting: Setting,
        schedule: Vec<Planned>,
        source: InputSource,
        make: &'a dyn Fn(PeerId) -> G,
    ) -> Self {
        let mut random = Random::new(setting.seed, STREAM_WORLD);
        let peers = setting.roster.peer_count();
        let mut network = Network::new(&setting.faults, Random::new(setting.seed, STREAM_NETWORK));
        let nominal_ms =
            u64::from(setting.frames) * 1000 / u64::from(setting.config.tick_rate_hz());
        let faulty_ms = u32::try_from(nominal_ms * 3 / 4).unwrap_or(u32::MAX);
        let mut planned = setting.faults.plan(&mut random, peers, faulty_ms);
        planned.extend(schedule);
        planned.sort_by_key(|planned| planned.at);
        let is_kept = |place: &usize| setting.kept.as_ref().is_none_or(|kept| kept.contains(place));
        let mut apart = Random::new(setting.seed, STREAM_KICKS);
        planned.extend(setting.faults.plan_kicks(&mut apart, peers, faulty_ms));
        let late = setting.config.late_peers().and(setting.roster.peers());
        let is_said = |peer: PeerId| planned.iter().any(|it| it.fault == Fault::Return(peer));
        let unsaid = late.iter().filter(|peer| !is_said(*peer)).collect();
        planned.extend(setting.faults.plan_late(&mut apart, unsaid, faulty_ms));
        let mut apart = Random::new(setting.seed, STREAM_SLOWNESS);
        let while_ms = (setting.faults.earliest_ms(), faulty_ms);
        planned.extend(setting.faults.plan_slowness(&mut apart, peers, while_ms));
        let planned = planned.into_iter().enumerate().filter(|(place, _)| is_kept(place));
        let plan: BTreeMap<usize, Planned> = planned.collect();
        let mut planned: Vec<Planned> = plan.values().copied().collect();
        planned.sort_by_key(|planned| planned.at);
        let heals_at = planned
            .iter()
            .map(|planned| planned.at.plus_millis(planned.fault.lasts_ms().into()))
            .fold(TrueTime::from_millis(faulty_ms.into()), Ord::max);
        for planned in &planned {
            if let Fault::Crash(peer) = planned.fault {
                network.plan_crash(peer, planned.at);
            }
        }
        let spread = setting.faults.start_spread_max_ms;
        let mut awaited: Vec<(TrueTime, PeerId)> = PeerId::all(peers)
            .map(|peer| (TrueTime::from_millis(random.between(0, spread).into()), peer))
            .filter(|(_, peer)| !late.contains(*peer))
            .collect();
        awaited.sort();
        Self {
            setting,
            plan,
            make,
            awaited: awaited.into(),
            nodes: Vec::new(),
            network,
            schedule: planned.into(),
            source,
            random,
            former: Vec::new(),
            gallery: Gallery::empty(),
            left: PeerSet::EMPTY,
            kicks: Kicks::default(),
            now: TrueTime::ZERO,
            stage: Stage::Faulty { heals_at },
        }
    }

    /// Runs to the end, and judges.
    pub(crate) fn run(mut self, reference: impl Fn() -> G) -> Result<Report, Box<Failure>> {
        self.gallery = Gallery::drawn(&self.setting, &reference);
        while let Some(next) = self.next_event() {
            self.now = self.now.max(next);
            if let Some(overdue) = self.overdue() {
                self.judge((None, overdue))?;
                break;
            }
            if let Err(broken) = self.pass() {
                self.judge(broken)?;
            }
            self.move_on();
        }
        let judgement = Judgement {
            setting: &self.setting,
            nodes: &self.nodes,
            former: &self.former,
            gallery: &self.gallery,
            left: self.left,
            kicks: &self.kicks,
            now: self.now,
            counts: self.network.counts,
        };
        for broken in judgement.broken(reference) {
            self.judge(broken)?;
        }
        Ok(judgement.report())
    }

    /// Turns a broken promise into a failure, unless it is waived.
    fn judge(&self, (peer, violation): Broken) -> Result<(), Box<Failure>> {
        if self.setting.waived.contains(&violation.oracle) {
            return Ok(());
        }
        let Setting { seed, config, roster, faults, frames, .. } = &self.setting;
        let peers = roster.peer_count();
        let plan: Vec<_> = self.plan.values().map(ToString::to_string).collect();
        let plan = plan.join(", ");
        Err(Box::new(Failure {
            seed: *seed,
            oracle: violation.oracle,
            peer,
            frame: violation.frame,
            at: self.now.elapsed(),
            detail: violation.detail,
            setting: format!("{peers} peers, {frames} frames, {config:?}, {faults:?}, [{plan}]"),
            command: self.setting.command.clone(),
            shrunk: None,
            peers,
            frames: *frames,
            planned: self.plan.keys().copied().collect(),
            chances: Vec::new(),
            is_refused: false,
        }))
    }

    /// The next moment at which anything happens; none when all is over.
    fn next_event(&self) -> Option<TrueTime> {
        let wakes = self.nodes.iter().filter_map(Node::wakes_at).min();
        let begins = self.awaited.front().map(|(at, _)| *at);
        // Without a peer that is there or comes, nothing that is under way matters.
        let shows = self.gallery.wakes_at(self.now);
        let lives = wakes.into_iter().chain(begins).chain(shows).min()?;
        let heals = match self.stage {
            Stage::Faulty { heals_at } => Some(heals_at),
            Stage::Healed { .. } | Stage::Ending { .. } => None,
        };
        let strikes = self.schedule.front().map(|planned| planned.at);
        let arrives = self.network.next_arrival();
        [heals, strikes, arrives].into_iter().flatten().chain([lives]).min()
    }

    /// Whether play should have gone on by now.
    fn overdue(&self) -> Option<Violation> {
        let (what, deadline) = match self.stage {
            Stage::Faulty { .. } => return None,
            Stage::Healed { goal, deadline } => (format!("{goal} stable frames"), deadline),
            Stage::Ending { deadline } => ("the end".into(), deadline),
        };
        let told = |node: &Node<G>| {
            let session = &node.session;
            let (current, stable) = (session.current_frame(), session.stable().end());
            let (end, view, last) = (node.end(), session.view().members, node.last_stall);
            format!("{}: frame {current}, stable {stable}, {end:?}, {view:?}, {last:?}", node.peer)
        };
        (self.now > deadline && !self.are_members_done()).then(|| {
            let open = self.nodes.iter().filter(|node| !node.is_closed()).map(told);
            let open: Vec<_> = open.collect();
            Violation::new(Oracle::Liveness, format!("waited for {what}; {}", open.join("; ")))
        })
    }

    /// Lets happen what happens now.
    fn pass(&mut self) -> Result<(), Broken> {
        self.begin();
        self.strike();
        while let Some(arrived) = self.network.poll_arrival(self.now) {
            let Some(node) = self.nodes.iter_mut().find(|node| node.peer == arrived.to) else {
                continue;
            };
            let peer = node.peer;
            node.handle_arrival(self.now, arrived, &mut self.network)
                .map_err(|violation| (Some(peer), violation))?;
        }
        let is_faulty = matches!(self.stage, Stage::Faulty { .. });
        self.feed()?;
        self.show()?;
        for node in &mut self.nodes {
            if node.wakes_at().is_none_or(|at| at > self.now) {
                continue;
            }
            let peer = node.peer;
            node.wake(self.now, &mut self.network, &mut self.source)
                .map_err(|violation| (Some(peer), violation))?;
            node.take_time(self.now);
            if is_faulty && self.random.chance(self.setting.faults.slow_frame_per_mille) {
                let millis = self.random.between(1, self.setting.faults.slow_frame_max_ms);
                node.stumble(self.now.plus_millis(millis.into()));
                self.network.counts.slow_frames += 1;
            }
        }
        Ok(())
    }

    /// Lets the peers begin whose time has come.
    fn begin(&mut self) {
        while self.awaited.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, peer)) = self.awaited.pop_front() else { return };
            let Some(node) = self.node(peer, 0) else { continue };
            self.nodes.push(node);
            self.nodes.sort_by_key(|node| node.peer);
        }
    }

    /// A peer at the beginning of a life in its slot.
    pub(super) fn node(&mut self, peer: PeerId, incarnation: u8) -> Option<Node<G>> {
        let Setting { seed, config, roster, faults, .. } = &self.setting;
        let mut random = Random::new(*seed, STREAM_NODES + u64::from(peer.slot()));
        let skew = i64::from(random.between(0, faults.clock_skew_max_ppm.saturating_mul(2)));
        let skew = i32::try_from(skew - i64::from(faults.clock_skew_max_ppm)).unwrap_or_default();
        let said = self.setting.skews.iter().find(|(skewed, _)| *skewed == peer);
        let skew = said.map_or(skew, |(_, ppm)| *ppm);
        let is_skewed = skew.abs() > 1000 && incarnation == 0;
        self.network.counts.skewed_clocks += u64::from(is_skewed);
        let offset_ms = random.between(0, faults.clock_offset_max_ms);
        let clock = PeerClock::new(u64::from(offset_ms) * 1000, skew);
        let style = match random.chance(500) {
            true => DriverStyle::EachDatagram,
            false => DriverStyle::EachFrame,
        };
        let game = Observed::new((self.make)(peer));
        let ticket = Ticket {
            session: *seed,
            episode: 0,
            seed: *seed,
            roster: roster.clone(),
            local: peer,
            incarnation,
        };
        let now = clock.read(self.now);
        let new = match incarnation {
            0 if self.setting.keeps_journals => Session::with_journal,
            0 => Session::new,
            _ if self.setting.keeps_journals => Session::rejoin_with_journal,
            _ => Session::rejoin,
        };
        let session = new(config, &ticket, Facts::default(), &game, now).ok()?;
        let session = match random.below(4) {
            0 => session.with_predictor(Box::new(Idle)),
            1 => session.with_predictor(Box::new(Wild(Random::new(*seed, STREAM_GUESSES)))),
            _ => session,
        };
        let step_budget = (random.below(5) == 0).then(|| random.between(1, 4));
        let session = match step_budget {
            Some(frames) => session.with_step_budget(frames),
            None => session,
        };
        // Drawn apart, so that what a seed meant before this was thought of it means still.
        let mut apart = Random::new(*seed, STREAM_RUN_AHEAD + u64::from(peer.slot()));
        let drawn = if apart.chance(250) { apart.between(1, RUN_AHEAD_MAX) } else { 0 };
        let run_ahead = self.setting.run_ahead.unwrap_or(drawn);
        let session = session.with_run_ahead(run_ahead);
        self.network.counts.shown_ahead += u64::from(run_ahead > 0);
        let players = roster.players_of(peer).collect();
        let parts = NodeParts { peer, clock, style, players, seed: *seed, starts: self.now };
        let mut node = Node::new(parts, config, session, game);
        node.noise = self.setting.noise;
        node.step_budget = step_budget;
        node.run_ahead = run_ahead;
        node.gives_hints = self.setting.gives_hints;
        node.sabotage = self.setting.sabotage;
        node.session.set_automatic_input_delay(self.setting.automatic_delay);
        Some(node)
    }

    /// Goes to the next stage when this one is done.
    fn move_on(&mut self) {
        match self.stage {
            Stage::Faulty { heals_at } if self.now >= heals_at => {
                self.network.heal();
                self.gallery.heal();
                self.kick_the_gone();
                let survivors = self.survivors();
                let stable = survivors.iter().map(|node| node.session.stable().end());
                let reached = stable.clone().max().unwrap_or_default();
                let goal = reached.plus(PROGRESS_FRAMES).max(Frame::new(self.setting.frames));
                let frames = goal.since(stable.min().unwrap_or_default());
                let deadline = self.now.plus_micros(self.frames_take_micros(frames));
                self.stage = Stage::Healed { goal, deadline: self.settled_by(deadline) };
            }
            Stage::Healed { goal, .. } => {
                self.kick_the_gone();
                let survivors = self.survivors();
                let is_there =
                    |node: &&Node<G>| node.end().is_some() || node.session.stable().end() >= goal;
                if !survivors.iter().all(is_there) || !self.awaited.is_empty() {
                    return;
                }
                let first = survivors.iter().find(|node| node.end().is_none());
                let first = first.map(|node| node.peer);
                self.give_up_outside();
                self.stage = Stage::Ending { deadline: self.settled_by(self.now) };
                let node = self.nodes.iter_mut().find(|node| Some(node.peer) == first);
                if let Some(node) = node {
                    node.session.propose_end(END_CODE);
                }
            }
            Stage::Ending { .. } => self.kick_the_gone(),
            Stage::Faulty { .. } => {}
        }
    }

    /// Whether no peer is there any more, or is to come.
    pub(super) fn are_members_done(&self) -> bool {
        self.awaited.is_empty() && self.nodes.iter().all(Node::is_closed)
    }

    /// The peers that should go on.
    fn survivors(&self) -> Vec<&Node<G>> {
        let is_survivor = |node: &&Node<G>| {
            !node.is_crashed()
                && !node.is_outside()
                && !self.left.contains(node.peer)
                && !node.has_failed()
                && node.end().is_none_or(|end| end.cause.is_agreed())
        };
        self.nodes.iter().filter(is_survivor).collect()
    }

    /// How long this many frames may take on this network once it has healed.
    fn frames_take_micros(&self, frames: u32) -> u64 {
        let Setting { config, .. } = &self.setting;
        let delays = PlayerHandle::all(config.players());
        let delay = delays.map(|player| config.input_delay_frames(player)).min();
        let delay = delay.filter(|_| self.network.counts.delay_changes == 0);
        let ahead = config.prediction_window_frames() + delay.unwrap_or_default() + 1;
        let period = u64::try_from(config.frame_duration().as_micros()).unwrap_or(u64::MAX);
        // An input is made at a frame, travels, and is found at the next one: so many frames pass in this time.
        let round = self.network.delay_max_micros() + 2 * period;
        let pace = (round / u64::from(ahead)).max(period);
        pace.saturating_mul(frames.into()) * SLACK_PERCENT / 100
    }

    /// When the last departure, the last outage and the linger are over for all.
    fn settled_by(&self, from: TrueTime) -> TrueTime {
        let Setting { config, .. } = &self.setting;
        let wait = config.departure_timeout() * 3 + config.linger() * 2 + SETTLE;
        let round = self.network.delay_max_micros().saturating_mul(8);
        from.plus_micros(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)).plus_micros(round)
    }
}

/// A broken promise, and the peer that broke it when it was one.
pub(crate) type Broken = (Option<PeerId>, Violation);

/// How many more frames must become stable after healing.
const PROGRESS_FRAMES: u32 = 60;

/// Frames may take this much longer than the network's delays alone explain.
const SLACK_PERCENT: u64 = 250;

/// Beside timeouts and delays, this much may pass: a search for missing inputs, frames caught up with.
const SETTLE: Duration = Duration::from_secs(3);

/// The reason for which a simulation ends the episode.
const END_CODE: u16 = 7;

const STREAM_WORLD: u64 = 4;
const STREAM_NETWORK: u64 = 5;
const STREAM_KICKS: u64 = 7;
const STREAM_SLOWNESS: u64 = 8;
const STREAM_GUESSES: u64 = 6;
const STREAM_NODES: u64 = 100;
const STREAM_RUN_AHEAD: u64 = 200;
