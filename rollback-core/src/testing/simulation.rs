//! The door of the simulator: what is played, by whom, and what may go wrong.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::ops::{Range, RangeInclusive};
use core::time::Duration;

use super::clock::TrueTime;
use super::faults::{Fault, Faults, Planned};
use super::oracle::{Failure, Oracle};
use super::random::Random;
use super::reduction::{self, HINTS, NOISE, Reduction, SECOND_PLAYERS};
use super::report::Report;
use super::world::{Setting, World};
use crate::session::Sabotage;
use crate::{
    ConfigError, Game, Input, OnDesync, PEERS_MAX, PeerId, PlayerHandle, ResyncFrom, Roster,
    SessionConfig, SessionConfigBuilder,
};

/// A simulation to run. Everything that is not said is drawn from the seed.
#[must_use = "a simulation does nothing until it is run"]
pub struct Simulation {
    seed: u64,
    peers: usize,
    players_per_peer: RangeInclusive<usize>,
    frames: u32,
    configure: Vec<Configure>,
    faults: Faults,
    outlasts_timeouts: bool,
    schedule: Vec<Planned>,
    source: Rc<dyn Fn() -> InputSource>,
    shrinks: bool,
    reduction: String,
    waived: Vec<Oracle>,
    skews: Vec<(PeerId, i32)>,
    noise: Noise,
    gives_hints: bool,
    keeps_journals: bool,
    automatic_delay: Option<(u32, u32)>,
    run_ahead: Option<u32>,
    sabotage: Option<Sabotage>,
    command: Option<String>,
}

type Configure = Box<dyn Fn(SessionConfigBuilder) -> SessionConfigBuilder>;

impl Simulation {
    /// Two peers with one player each, a configuration and faults that are drawn from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            peers: 2,
            players_per_peer: 1..=1,
            frames: 600,
            configure: Vec::new(),
            faults: Faults::drawn(seed),
            outlasts_timeouts: false,
            schedule: Vec::new(),
            source: Rc::new(|| InputSource::Held),
            shrinks: true,
            reduction: String::new(),
            waived: Vec::new(),
            skews: Vec::new(),
            noise: Noise::default(),
            gives_hints: false,
            keeps_journals: false,
            automatic_delay: None,
            run_ahead: None,
            sabotage: None,
            command: None,
        }
    }

    /// How many peers play: 1 to 8.
    pub fn peers(mut self, peers: usize) -> Self {
        self.peers = peers;
        self
    }

    /// How many players each peer hosts; each draws its own number.
    pub fn players_per_peer(mut self, players: RangeInclusive<usize>) -> Self {
        self.players_per_peer = players;
        self
    }

    /// How many frames must be stable for every survivor; 600 unless said. Then the episode is ended in order.
    pub fn frames(mut self, frames: u32) -> Self {
        self.frames = frames;
        self
    }

    /// Changes the configuration that was drawn.
    pub fn config(
        mut self,
        configure: impl Fn(SessionConfigBuilder) -> SessionConfigBuilder + 'static,
    ) -> Self {
        self.configure.push(Box::new(configure));
        self
    }

    /// What goes wrong, in place of what was drawn.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Lets partitions and pauses last longer than the departure timeout, so that peers are given up that are there.
    /// Unless said, they are drawn shorter.
    pub fn outlasting_timeouts(mut self) -> Self {
        self.outlasts_timeouts = true;
        self
    }

    /// Has a peer's clock run fast by so many parts of a million, or slow by a negative number.
    pub fn clock_skew_ppm(mut self, peer: PeerId, ppm: i32) -> Self {
        self.skews.push((peer, ppm));
        self
    }

    /// Has every peer's input delay follow how late inputs come, within these limits in frames.
    pub fn automatic_input_delay(mut self, min: u32, max: u32) -> Self {
        self.automatic_delay = Some((min, max));
        self
    }

    /// Has every peer show its game so many frames ahead.
    pub fn run_ahead(mut self, frames: u32) -> Self {
        self.run_ahead = Some(frames);
        self
    }

    /// Nothing goes wrong but what is said with [`at_ms`](Self::at_ms).
    pub fn no_faults(self) -> Self {
        self.faults(Faults::none())
    }

    /// Something goes wrong at this moment of true time.
    pub fn at_ms(mut self, millis: u64, fault: Fault) -> Self {
        self.schedule.push(Planned { at: TrueTime::from_millis(millis), fault });
        self
    }

    /// Has every input written by `source`, which is handed the player's last one; unless said, players hold keys
    /// for a while.
    pub fn inputs(
        mut self,
        source: impl FnMut(PlayerHandle, &mut Random, &mut [u8]) + Clone + 'static,
    ) -> Self {
        self.source = Rc::new(move || InputSource::Custom(Box::new(source.clone())));
        self
    }

    /// Leaves out what a shrunk failure left out, in the words of its command: `peers=2,frames=75,kept=0+3,no-loss`.
    pub fn reduced(mut self, words: impl Into<String>) -> Self {
        self.reduction = words.into();
        self
    }

    /// Does not look for a smaller simulation that fails in the same way: for those that are meant to fail.
    pub fn unshrunk(mut self) -> Self {
        self.shrinks = false;
        self
    }

    /// Does not fail when this promise is broken: for games that break it on purpose.
    pub fn waive(mut self, oracle: Oracle) -> Self {
        self.waived.push(oracle);
        self
    }

    /// Does not fail whatever is broken.
    pub fn waive_all(mut self) -> Self {
        self.waived.extend(Oracle::ALL);
        self
    }

    /// Before each frame, hands each session this many datagrams that nobody sent: random bytes, and real datagrams
    /// that were changed.
    pub fn noise_per_frame(mut self, datagrams: u32) -> Self {
        self.noise.per_frame = datagrams;
        self
    }

    /// Gives the noise right tags, as a peer that breaks the protocol would. Then nothing is promised but that
    /// nothing panics; see [`waive_all`](Self::waive_all).
    pub fn noise_is_sealed(mut self) -> Self {
        self.noise.is_sealed = true;
        self
    }

    /// Has all players say what they will probably do, now rightly and now wrongly.
    pub fn hints(mut self) -> Self {
        self.gives_hints = true;
        self
    }

    /// Has every peer keep a [`journal`](crate::journal), to be played again from its report.
    pub fn journals(mut self) -> Self {
        self.keeps_journals = true;
        self
    }

    /// Breaks a part of the engine on every peer, to see that it is found out.
    pub fn sabotage(mut self, part: Sabotage) -> Self {
        self.sabotage = Some(part);
        self
    }

    /// What a failure names as the command that repeats it; unless said, the test that runs it with its seed.
    pub fn repeat_with(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Plays the game that `make` makes on every peer and once more as the reference.
    ///
    /// # Errors
    /// Names the first promise that was broken, and the command that repeats it.
    pub fn run<G: Game<Error: Debug>>(self, make: impl Fn() -> G) -> Result<Report, Box<Failure>> {
        self.run_each(|_| make(), &make)
    }

    /// Plays a game on each peer that may be another one, to see that it is found out.
    ///
    /// # Errors
    /// Names the first promise that was broken, and the command that repeats it; and the same of the smallest simulation
    /// that was found to break it as well.
    pub fn run_each<G: Game<Error: Debug>>(
        self,
        make: impl Fn(PeerId) -> G,
        reference: impl Fn() -> G,
    ) -> Result<Report, Box<Failure>> {
        let asked = Reduction::asked(&self.reduction)
            .map_err(|word| self.refused(format!("{word} says nothing to leave out")))?;
        let mut failure = match self.attempt(&asked, &make, &reference) {
            Ok(report) => return Ok(report),
            Err(failure) => failure,
        };
        if self.shrinks && !failure.is_refused {
            let attempt = |reduction: &Reduction| self.attempt(reduction, &make, &reference).err();
            failure.shrunk = reduction::shrink(&asked, &failure, attempt);
        }
        Err(failure)
    }

    /// Runs what is left of it.
    fn attempt<G: Game<Error: Debug>>(
        &self,
        reduction: &Reduction,
        make: &dyn Fn(PeerId) -> G,
        reference: impl Fn() -> G,
    ) -> Result<Report, Box<Failure>> {
        let seed = self.seed;
        let roster = self.roster(reduction).map_err(|error| self.refused(error.to_string()))?;
        let (width, players) = (G::Input::WIDTH, roster.player_count());
        let config = self.draw_config(width, players);
        let config = config.map_err(|error| self.refused(error.to_string()))?;
        // A partition or a pause heals before anybody is given up, unless it is said otherwise.
        let timeout_ms = u32::try_from(config.departure_timeout().as_millis()).unwrap_or(u32::MAX);
        let faults = reduction.faults(self.faults.clone());
        let command = self.command();
        let setting = Setting {
            seed,
            config,
            roster,
            faults: match self.outlasts_timeouts {
                true => faults,
                false => faults.shorter_than(timeout_ms / 5 * 4),
            },
            frames: reduction.frames.unwrap_or(self.frames).min(self.frames),
            skews: self.skews.clone(),
            noise: if reduction.is_without(NOISE) { Noise::default() } else { self.noise },
            gives_hints: self.gives_hints && !reduction.is_without(HINTS),
            keeps_journals: self.keeps_journals,
            automatic_delay: self.automatic_delay,
            run_ahead: self.run_ahead,
            sabotage: self.sabotage,
            waived: self.waived.clone(),
            kept: reduction.kept.clone(),
            command: match *reduction == Reduction::default() {
                true => command,
                false => reduction.before(&command),
            },
        };
        let (schedule, source) = (self.schedule.clone(), (self.source)());
        let habits = [
            (SECOND_PLAYERS, setting.roster.player_count() > setting.roster.peer_count()),
            (HINTS, setting.gives_hints),
            (NOISE, setting.noise != Noise::default()),
        ];
        let chances = reduction::chances(&setting.faults);
        let habits = habits.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
        let chances = chances.chain(habits).collect();
        let played = World::new(setting, schedule, source, make).run(reference);
        played.map_err(|failure| Box::new(Failure { chances, ..*failure }))
    }

    fn command(&self) -> String {
        self.command.clone().unwrap_or_else(|| repeat_command(self.seed))
    }

    fn refused(&self, detail: String) -> Box<Failure> {
        Box::new(Failure {
            seed: self.seed,
            oracle: Oracle::Errors,
            peer: None,
            frame: None,
            at: Duration::ZERO,
            detail,
            setting: "no simulation: the setting is out of range".into(),
            command: self.command(),
            shrunk: None,
            peers: self.peers,
            frames: self.frames,
            planned: BTreeSet::new(),
            chances: Vec::new(),
            is_refused: true,
        })
    }

    fn roster(&self, reduction: &Reduction) -> Result<Roster, crate::RosterError> {
        let mut random = Random::new(self.seed, STREAM_ROSTER);
        let limit = |players: usize| u32::try_from(players).unwrap_or(u32::MAX);
        let mut hosts = Vec::new();
        let peers = reduction.peers.unwrap_or(self.peers).min(self.peers).min(PEERS_MAX);
        for peer in PeerId::all(peers) {
            let (least, most) = match reduction.is_without(SECOND_PLAYERS) {
                true => (1, 1),
                false => (*self.players_per_peer.start(), *self.players_per_peer.end()),
            };
            let players = random.between(limit(least), limit(most)).max(1);
            hosts.extend((0..players).map(|_| peer));
        }
        Roster::new(&hosts)
    }

    fn draw_config(&self, width: usize, players: usize) -> Result<SessionConfig, ConfigError> {
        let mut random = Random::new(self.seed, STREAM_CONFIG);
        let mut drawn = |choices: &[u8]| random.one_of(choices).unwrap_or_default();
        let mut builder = SessionConfig::builder()
            .players(players)
            .input_width(width)
            .tick_rate_hz(drawn(&[30, 60, 60]).into())
            .prediction_window_frames(drawn(&[0, 1, 2, 4, 8, 8, 16]))
            .report_interval_frames(drawn(&[5, 10, 10, 30]))
            .departure_timeout(Duration::from_secs(drawn(&[1, 2, 5]).into()))
            .linger(Duration::from_secs(1));
        for player in PlayerHandle::all(players) {
            builder = builder.input_delay_frames_of(player, drawn(&[0, 0, 1, 2, 3, 5]));
        }
        builder = builder.pace_min_percent(drawn(&[50, 50, 20, 100]));
        if let (true, Some(anchor)) = (self.faults.rays > 0, PeerId::new(0)) {
            builder = builder.on_desync(OnDesync::Resync(ResyncFrom::Majority { anchor }));
        }
        self.configure.iter().fold(builder, |builder, configure| configure(builder)).build()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("seed", &self.seed)
            .field("peers", &self.peers)
            .field("frames", &self.frames)
            .field("faults", &self.faults)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

/// Datagrams that nobody sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Noise {
    pub(crate) per_frame: u32,
    pub(crate) is_sealed: bool,
}

/// The seeds of a test: those of `default`, unless the environment variable `ROLLBACK_SEEDS` names one (`17`) or a
/// range of them (`0..1000`).
#[must_use]
pub fn seeds(default: Range<u64>) -> Range<u64> {
    let named = std::env::var(SEEDS_VARIABLE).ok();
    named.and_then(|text| parse_seeds(&text)).unwrap_or(default)
}

/// One seed (`17`) or a range of them (`0..1000`), as people write them.
#[must_use]
pub fn parse_seeds(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.trim().parse().ok()?..end.trim().parse().ok()?),
        None => {
            let seed: u64 = text.trim().parse().ok()?;
            Some(seed..seed.saturating_add(1))
        }
    }
}

/// The test that runs on this thread, by the name that the test harness gave it.
fn repeat_command(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("{SEEDS_VARIABLE}={seed} cargo test {test}")
}

/// Where the players' inputs come from.
pub(crate) enum InputSource {
    /// Every player holds a key for a while.
    Held,
    Custom(Source),
}

type Source = Box<dyn FnMut(PlayerHandle, &mut Random, &mut [u8])>;

impl InputSource {
    pub(crate) fn next_input(
        &mut self,
        player: PlayerHandle,
        random: &mut Random,
        input: &mut [u8],
    ) {
        match self {
            Self::Held if random.chance(KEY_CHANGES_PER_MILLE) => random.fill(input),
            Self::Held => {}
            Self::Custom(source) => source(player, random, input),
        }
    }
}

/// A person changes keys about five times a second; at 60 Hz that is once in twelve frames.
const KEY_CHANGES_PER_MILLE: u32 = 83;

const SEEDS_VARIABLE: &str = "ROLLBACK_SEEDS";

const STREAM_ROSTER: u64 = 2;
const STREAM_CONFIG: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(parse_seeds("17"), Some(17..18));
        assert_eq!(parse_seeds("3..9"), Some(3..9));
        assert_eq!(parse_seeds("x"), None);
    }

    #[test]
    fn a_failure_names_the_test_that_repeats_it() {
        let command = repeat_command(5);
        assert!(command.starts_with("ROLLBACK_SEEDS=5 cargo test "), "{command}");
        assert!(command.ends_with("a_failure_names_the_test_that_repeats_it"), "{command}");
    }
}
