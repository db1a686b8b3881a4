//! The file that describes a scenario, and what is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::line::Change;
use crate::switch::{ALL, PEER, PEERS, Rule};

/// What is played, over which lines, what happens meanwhile, and what has to come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One sentence.
    pub about: String,
    /// What plays.
    #[serde(default)]
    pub program: Play,
    /// How many peers play: `peer0`, `peer1` and so on.
    #[serde(default = "two")]
    pub peers: u8,
    /// With how many of them play begins, where the others come late: each when something starts it.
    pub begin_with: Option<u8>,
    /// Which TURN server there is.
    pub turn: Option<Turn>,
    /// For how many seconds the credentials are good that the server gives out; for half a day unless given.
    pub turn_ttl_s: Option<u64>,
    /// Whether the server keeps its groups in a file, so that it knows them after a restart.
    #[serde(default)]
    pub server_state: bool,
    /// Whether peers play through TURN only.
    #[serde(default)]
    pub relay_only: bool,
    /// Whether peers may play through the server, which then is another way beside those that are bad here.
    #[serde(default = "yes")]
    pub server_relay: bool,
    /// Peers that reach the server through an HTTP proxy, on the host `proxy`.
    #[serde(default)]
    pub proxied: Vec<String>,
    /// Peers that sit behind a router of their own.
    #[serde(default)]
    pub nat: Vec<Home>,
    /// Peers that have IPv6 as well; all else in the lab has IPv4 only.
    #[serde(default)]
    pub ipv6: Vec<String>,
    /// Peers with a second interface, which is down at the beginning: `net1` beside `net0`.
    #[serde(default)]
    pub second_interface: Vec<String>,
    /// How long all of it may take.
    #[serde(default = "two_minutes")]
    pub seconds_max: u64,
    /// What is played.
    #[serde(default)]
    pub game: GamePlan,
    /// What the lines are like from the beginning.
    #[serde(default)]
    pub line: Vec<LineRule>,
    /// Hosts that send to all others over one line, which is slow.
    #[serde(default)]
    pub uplink: Vec<Uplink>,
    /// What happens, in the order of time.
    #[serde(default)]
    pub at: Vec<Event>,
    /// What has to come of it, beside equal and verified recordings.
    #[serde(default)]
    pub expect: Expectation,
}

/// What plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Play {
    /// `examples/rust`, with `rollback-server`.
    #[default]
    Arena,
    /// The command `rollback` of the wheel with the kitchen of `examples/python`, which has its own number of frames. It
    /// prints no summary for the lab: only how it ends and what it records is judged.
    Python,
}

/// A TURN server, and how peers know and reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// coturn on the host `turn`, by UDP; peers have a user and a password.
    Udp,
    /// The same by TCP.
    Tcp,
    /// The same by TLS.
    Tls,
    /// The same by UDP, with credentials that the server makes for each peer and that are good for a minute.
    Minted,
    /// The server is the TURN server, too.
    Server,
}

/// What the peers are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GamePlan {
    /// How many episodes.
    pub episodes: u32,
    /// How many frames each.
    pub frames: u32,
    /// Frames a second.
    pub fps: u16,
    /// Frames until an input takes effect.
    pub input_delay: u8,
    /// How many bytes an input takes; for the game in Rust.
    pub input_bytes: u16,
    /// How many bytes of no use a state has; for the game in Rust.
    pub state_bytes: u32,
    /// How long a step takes beside what it does; for the game in Rust.
    pub step_ms: u32,
    /// How long one may be silent.
    pub departure_timeout_s: u64,
    /// With fewer an episode ends.
    pub members_min: u8,
}

/// A peer behind a router.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The peer.
    pub peer: String,
    /// What its router does.
    pub kind: Nat,
}

/// What a router does with the ports of those behind it (RFC 4787 §4 and §5 have finer words).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Another port for each remote end, so that nobody can be told in advance where to send.
    Symmetric,
    /// One port for all, and everybody may send to it.
    FullCone,
}

/// What some lines are like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineRule {
    /// The sender: a host, `peers`, or `*`.
    #[serde(default = "all")]
    pub from: String,
    /// The receiver.
    #[serde(default = "all")]
    pub to: String,
    /// Whether the other direction, too.
    #[serde(default)]
    pub both_ways: bool,
    /// What they are like.
    #[serde(flatten)]
    pub change: Change,
}

/// What all that a host sends goes through, before the line to its receiver: the way out of a home.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The host, or `peers`, of whom each has its own.
    pub host: String,
    /// Thousands of bits a second.
    pub rate_kbit: u64,
    /// Milliseconds that a packet may wait for it.
    pub queue_ms: Option<f64>,
}

/// Something that happens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Event {
    /// Seconds since all play.
    pub seconds: f64,
    /// Lines that change.
    pub line: Option<LineRule>,
    /// A process that is ended by `kill -9`: `server`, `turn`, `proxy` or a peer.
    pub kill: Option<String>,
    /// The same, started again.
    pub start: Option<String>,
    /// An interface that is taken down, such as `peer0.net0`.
    pub down: Option<String>,
    /// An interface that is taken up.
    pub up: Option<String>,
}

/// What has to come of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// How each episode ends.
    pub end: String,
    /// The first frame of each peer that was there from the beginning came so soon after it began to join.
    pub first_frame_ms_max: Option<u64>,
    /// No peer stood still longer.
    pub stall_ms_max: Option<u64>,
    /// Some peer stood still as long.
    pub stall_ms_min: Option<u64>,
    /// While somebody comes back, the round trips between those that play on are at most so many per cent of what they are
    /// otherwise, at their median for each peer.
    pub round_trip_beside_percent_max: Option<u64>,
    /// Nine in ten of them are at most so many per cent of that median.
    pub round_trip_beside_p90_percent_max: Option<u64>,
    /// No more packets were lost: those that find no room on a line, where nothing else loses any.
    pub packets_lost_max: Option<u64>,
    /// And each peer that plays on has measured so many of them.
    pub round_trips_beside_min: u32,
    /// Some peer that came back was given a state, so that it did not step so many frames.
    pub passed_min: u64,
    /// Each peer rolled back as often.
    pub rollbacks_min: u64,
    /// Some peer made as many connections anew.
    pub reconnections_min: u64,
    /// No peer made more.
    pub reconnections_max: Option<u64>,
    /// The first way of each peer: `direct`, `turn` or `server`.
    pub path_first: Option<String>,
    /// Ways that someone's datagrams took at some time.
    pub paths_seen: Vec<String>,
    /// The last way of each peer.
    pub path_last: Option<String>,
    /// Some peer lost the server as often.
    pub server_losses_min: u64,
    /// From its second minute of play on no peer's memory grew by more.
    pub memory_kib_growth_max: Option<u64>,
    /// And neither its open files and sockets nor its threads by more.
    pub descriptors_growth_max: Option<u64>,
}

impl Scenario {
    /// Reads a scenario and checks it.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ScenarioError::Io { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// The scenario in a text.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario: Self = basic_toml::from_str(text)?;
        scenario.at.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        scenario.check()?;
        Ok(scenario)
    }

    /// Hosts beside the server and the peers, each with one process of its own.
    pub fn helpers(&self) -> impl Iterator<Item = &'static str> + use<> {
        let turn = self.turn.is_some_and(|turn| turn != Turn::Server).then_some("turn");
        turn.into_iter().chain((!self.proxied.is_empty()).then_some("proxy"))
    }

    /// The names of those that play.
    pub fn peer_names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.peers).map(|number| format!("{PEER}{number}"))
    }

    /// How many peers are started at the beginning.
    #[must_use]
    pub fn first_peers(&self) -> u8 {
        self.begin_with.unwrap_or(self.peers)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        if !(2..=8).contains(&self.peers) {
            return Err(ScenarioError::Peers { got: self.peers });
        }
        if let Some(got) = self.begin_with.filter(|got| !(1..=self.peers).contains(got)) {
            return Err(ScenarioError::BeginWith { peers: self.peers, got });
        }
        let peers: Vec<String> = self.peer_names().collect();
        let known = |name: &str| {
            name == "server"
                || self.helpers().any(|helper| helper == name)
                || peers.iter().any(|peer| peer == name)
        };
        let expect = |name: &str, is_right: bool| match is_right {
            true => Ok(()),
            false => Err(ScenarioError::Unknown { name: name.to_owned() }),
        };
        let homes = self.nat.iter().map(|home| &home.peer);
        for peer in homes.chain(&self.second_interface).chain(&self.proxied).chain(&self.ipv6) {
            expect(peer, peers.contains(peer))?;
        }
        for rule in self.line.iter().chain(self.at.iter().filter_map(|event| event.line.as_ref())) {
            for end in [&rule.from, &rule.to] {
                expect(end, end == ALL || end == PEERS || known(end))?;
            }
            for share in [rule.change.loss, rule.change.duplicate, rule.change.reorder] {
                if let Some(got) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                    return Err(ScenarioError::Share { got });
                }
            }
        }
        for uplink in &self.uplink {
            expect(&uplink.host, uplink.host == PEERS || known(&uplink.host))?;
        }
        let Expectation { path_first, path_last, paths_seen, .. } = &self.expect;
        for path in path_first.iter().chain(path_last).chain(paths_seen) {
            expect(path, ["direct", "turn", "server"].contains(&path.as_str()))?;
        }
        if self.program == Play::Python {
            expect("expect", self.expect == Expectation::default())?;
        }
        for event in &self.at {
            for process in event.kill.iter().chain(&event.start) {
                expect(process, known(process))?;
            }
            for interface in event.down.iter().chain(&event.up) {
                let is_known =
                    interface.split_once('.').is_some_and(|(host, device)| match device {
                        "net0" => peers.iter().any(|peer| peer == host),
                        "net1" => self.second_interface.iter().any(|peer| peer == host),
                        _ => false,
                    });
                expect(interface, is_known)?;
            }
        }
        Ok(())
    }
}

impl LineRule {
    /// The rule for the switch.
    #[must_use]
    pub fn rule(&self) -> Rule {
        let Self { from, to, both_ways, change } = self.clone();
        Rule { from, to, both_ways, change }
    }
}

impl Default for GamePlan {
    fn default() -> Self {
        Self {
            episodes: 1,
            frames: 600,
            fps: 60,
            input_delay: 2,
            input_bytes: 1,
            state_bytes: 0,
            step_ms: 0,
            departure_timeout_s: 60,
            members_min: 1,
        }
    }
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            end: "finished".to_owned(),
            first_frame_ms_max: None,
            stall_ms_max: None,
            stall_ms_min: None,
            round_trip_beside_percent_max: None,
            round_trip_beside_p90_percent_max: None,
            packets_lost_max: None,
            round_trips_beside_min: 0,
            passed_min: 0,
            rollbacks_min: 0,
            reconnections_min: 0,
            reconnections_max: None,
            path_first: None,
            paths_seen: Vec::new(),
            path_last: None,
            server_losses_min: 0,
            memory_kib_growth_max: None,
            descriptors_growth_max: None,
        }
    }
}

const fn two() -> u8 {
    2
}

const fn yes() -> bool {
    true
}

const fn two_minutes() -> u64 {
    120
}

fn all() -> String {
    ALL.to_owned()
}

/// What is wrong with a scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no TOML, or has a field that no scenario has.
    #[error(transparent)]
    Toml(#[from] basic_toml::Error),
    /// Too few or too many.
    #[error("expected 2 to 8 peers, got {got}")]
    Peers {
        /// As many.
        got: u8,
    },
    /// Nobody would begin, or more than there are.
    #[error("expected to begin with 1 to {peers} peers, got {got}")]
    BeginWith {
        /// How many there are.
        peers: u8,
        /// With how many.
        got: u8,
    },
    /// No such host, process or interface.
    #[error("the scenario has no {name:?}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// A share that is none.
    #[error("expected a share from 0 to 1, got {got}")]
    Share {
        /// The number.
        got: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_scenarios_of_the_lab_make_sense() {
        let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = ["scenarios", "soak"].map(|folder| fs::read_dir(lab.join(folder)).unwrap());
        let files: Vec<_> =
            folders.into_iter().flatten().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 20);
        for file in files {
            let read = Scenario::read(&file);
            assert!(read.is_ok(), "{}: {}", file.display(), read.unwrap_err());
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let unknown = |text: &str| match Scenario::parse(&format!("about = ''\n{text}")) {
            Err(ScenarioError::Unknown { name }) => name,
            other => format!("{other:?}"),
        };
        assert_eq!(unknown("[[line]]\nfrom = 'peer2'\nloss = 0.1"), "peer2");
        assert_eq!(unknown("[[at]]\nkill = 'turn'"), "turn");
        assert_eq!(unknown("[[at]]\ndown = 'peer0.net1'"), "peer0.net1");
        assert_eq!(unknown("second_interface = ['server']"), "server");
        let wrong = |text: &str| Scenario::parse(&format!("about = ''\n{text}")).is_err();
        assert!(wrong("[[line]]\nloss = 1.5"));
        assert!(wrong("[[line]]\nlos = 0.5"));
        assert!(wrong("peers = 9"));
        assert_eq!(unknown("[[uplink]]\nhost = 'peer2'\nrate_kbit = 9"), "peer2");
        assert_eq!(unknown("proxied = ['peer2']"), "peer2");
        assert_eq!(unknown("ipv6 = ['peer2']"), "peer2");
        assert_eq!(unknown("turn = 'server'\n[[at]]\nkill = 'turn'"), "turn");
        assert!(!wrong("turn = 'tls'\n[[at]]\nkill = 'turn'"));
        assert_eq!(unknown("[expect]\npath_last = 'relayed'"), "relayed");
    }

    #[test]
    fn events_come_in_the_order_of_time() {
        let text = "about = ''\n[[at]]\nseconds = 3\nkill = 'server'\n[[at]]\nseconds = 1.5\nkill = 'peer0'";
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.at[0].kill.as_deref(), Some("peer0"));
    }
}
