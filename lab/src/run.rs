//! One run of a scenario: makes the hosts, starts the processes, lets the scenario happen, and hands all to the judge.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cable::Cable;
use crate::footprint::{Footprint, Growth, LOOK_EVERY_S, WARM_UP_S};
use crate::hosts::{Hosts, HostsError, Interface, WAN};
use crate::judge::{Judgement, judge};
use crate::processes::Processes;
use crate::programs::{address_of, programs};
use crate::scenario::{Event, Scenario, Uplink};
use crate::switch::{PUBLIC, Switch};

/// Where a run finds what it needs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder with `arena` and `rollback-server`.
    pub binaries: PathBuf,
    /// The folder with the command `rollback` of the wheel.
    pub python: PathBuf,
    /// The folder of `kitchen.py`.
    pub python_example: PathBuf,
    /// A folder of the run's own, in which it leaves recordings and what the processes said.
    pub folder: PathBuf,
    /// From which all chance follows.
    pub seed: u64,
}

/// Runs a scenario once. All that it makes in the system is gone when it returns, however it ends.
///
/// # Errors
/// When it cannot be run here, or is interrupted. What goes wrong in play is in the judgement.
pub fn run(
    scenario: &Scenario,
    place: &Place,
    interrupted: &AtomicBool,
) -> Result<Judgement, RunError> {
    let file = |source| RunError::File { path: place.folder.clone(), source };
    fs::create_dir_all(&place.folder).map_err(file)?;
    let mut hosts = Hosts::new()?;
    build(scenario, &mut hosts)?;
    let (ports, devices) = hosts.take_devices();
    let mut switch = Switch::new(ports, place.seed);
    for rule in &scenario.line {
        switch.apply(&rule.rule());
    }
    for Uplink { host, rate_kbit, queue_ms } in &scenario.uplink {
        switch.limit(host, *rate_kbit, *queue_ms);
    }
    let cable = Cable::connect(switch, devices).map_err(file)?;
    let mut processes = programs(scenario, place, &hosts).map_err(file)?;
    let mut course = Course {
        scenario,
        place,
        hosts: &hosts,
        cable: &cable,
        processes: &mut processes,
        done: BTreeMap::new(),
        growth: BTreeMap::new(),
        trouble: Vec::new(),
    };
    course.go(interrupted)?;
    let Course { done, growth, trouble, .. } = course;
    let outputs = scenario.peer_names().map(|peer| processes.output(&peer, "out")).collect();
    let errors = scenario.peer_names().map(|peer| processes.output(&peer, "err")).collect();
    drop(processes);
    let switch = cable.finish();
    drop(hosts);
    let mut judgement = judge(scenario, place, &done, outputs, trouble);
    judgement.judge_growth(&scenario.expect, growth);
    judgement.errors = errors;
    judgement.switch = switch;
    judgement.judge_packets(&scenario.expect);
    Ok(judgement)
}

impl Place {
    /// The command of the wheel.
    #[must_use]
    pub fn rollback(&self) -> PathBuf {
        self.python.join("rollback")
    }
}

/// What happens while the processes run.
struct Course<'a> {
    scenario: &'a Scenario,
    place: &'a Place,
    hosts: &'a Hosts,
    cable: &'a Cable,
    processes: &'a mut Processes,
    /// The peers that have ended by themselves, and whether well.
    done: BTreeMap<String, bool>,
    /// What those that have not been killed take of the system.
    growth: BTreeMap<String, Growth>,
    trouble: Vec<String>,
}

impl Course<'_> {
    fn go(&mut self, interrupted: &AtomicBool) -> Result<(), RunError> {
        let peers: Vec<String> = self.scenario.peer_names().collect();
        let helpers = self.scenario.helpers().chain(["server"]);
        let first = peers.iter().take(self.scenario.first_peers().into());
        for name in helpers.map(str::to_owned).chain(first.clone().cloned()) {
            self.processes.start(&name).map_err(RunError::Process)?;
        }
        let began = Instant::now();
        let deadline = began + Duration::from_secs(self.scenario.seconds_max);
        let mut playing_since = None;
        let mut events = self.scenario.at.iter().peekable();
        let mut next_look = Duration::from_secs(WARM_UP_S);
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            for peer in &peers {
                if let Some(status) = self.processes.ended(peer).map_err(RunError::Process)? {
                    self.done.insert(peer.clone(), status.success());
                }
            }
            if self.done.len() == peers.len() {
                for event in events {
                    self.trouble.push(format!("all had ended before second {}", event.seconds));
                }
                return Ok(());
            }
            if Instant::now() >= deadline {
                let late: Vec<&str> = peers
                    .iter()
                    .filter(|peer| !self.done.contains_key(*peer))
                    .map(String::as_str)
                    .collect();
                self.trouble.push(format!("not done in time: {}", late.join(", ")));
                return Ok(());
            }
            if playing_since.is_none() && first.clone().all(|peer| self.is_recording(peer)) {
                playing_since = Some(Instant::now());
            }
            if let Some(since) = playing_since {
                let is_due = |event: &&Event| since.elapsed().as_secs_f64() >= event.seconds;
                while let Some(event) = events.next_if(|event| is_due(event)) {
                    self.happen(event)?;
                }
                if since.elapsed() >= next_look {
                    next_look += Duration::from_secs(LOOK_EVERY_S);
                    self.look_at_sizes(&peers);
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn happen(&mut self, event: &Event) -> Result<(), RunError> {
        let Event { seconds: _, line, kill, start, down, up } = event;
        if let Some(rule) = line {
            self.cable.apply(rule.rule());
        }
        if let Some(name) = kill {
            // One that has ended too early is no error of the lab.
            if let Err(error) = self.processes.kill(name) {
                self.trouble.push(error.to_string());
            }
            self.done.remove(name);
            self.growth.remove(name);
        }
        if let Some(name) = start {
            self.processes.start(name).map_err(RunError::Process)?;
        }
        if let Some((host, device)) = down.as_deref().and_then(|name| name.split_once('.')) {
            self.hosts.set_up(host, device, false)?;
        }
        if let Some((host, device)) = up.as_deref().and_then(|name| name.split_once('.')) {
            self.hosts.set_up(host, device, true)?;
            self.hosts.route(host, device, usize::from(device == SECOND))?;
        }
        Ok(())
    }

    fn look_at_sizes(&mut self, peers: &[String]) {
        for peer in peers.iter().filter(|peer| !self.done.contains_key(*peer)) {
            if let Some(now) = self.processes.pid(peer).and_then(Footprint::of) {
                let growth = Growth { first: now, last: now };
                self.growth.entry(peer.clone()).or_insert(growth).last = now;
            }
        }
    }

    /// A recording begins when play does.
    fn is_recording(&self, peer: &str) -> bool {
        fs::read_dir(self.place.folder.join(peer)).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "rbk"))
        })
    }
}

/// Makes all hosts with their interfaces.
fn build(scenario: &Scenario, hosts: &mut Hosts) -> Result<(), HostsError> {
    let public = |name: &str, address, ipv6| Interface {
        name: name.to_owned(),
        address,
        ipv6,
        prefix_len: 16,
        network: PUBLIC,
        is_gateway: false,
    };
    for host in scenario.helpers().chain(["server"]) {
        hosts.add(host)?;
        hosts.add_interface(host, host, &public(FIRST, address_of(host), None))?;
        hosts.route(host, FIRST, 0)?;
    }
    for (number, peer) in (0..scenario.peers).zip(scenario.peer_names()) {
        hosts.add(&peer)?;
        let address = Ipv4Addr::new(10, 77, 1, 10 + number);
        let ipv6 = |last| {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 10 + u16::from(number), 0, 0, 0, last);
            scenario.ipv6.contains(&peer).then_some(address)
        };
        if let Some(home) = scenario.nat.iter().find(|home| home.peer == peer) {
            let router = format!("router{number}");
            hosts.add(&router)?;
            hosts.add_interface(&router, &peer, &public(WAN, address, ipv6(3)))?;
            hosts.route(&router, WAN, 0)?;
            let inside = |name: &str, last, is_gateway| Interface {
                name: name.to_owned(),
                address: Ipv4Addr::new(10, 100 + number, 0, last),
                ipv6: ipv6(last.into()),
                prefix_len: 24,
                network: PUBLIC + 1 + usize::from(number),
                is_gateway,
            };
            let (own, gateway) = (inside(FIRST, 2, false), inside("home", 1, true));
            hosts.add_interface(&router, &peer, &gateway)?;
            hosts.add_interface(&peer, &peer, &own)?;
            hosts.route_through(&peer, gateway.address)?;
            hosts.translate(&router, own.address, home.kind)?;
            continue;
        }
        hosts.add_interface(&peer, &peer, &public(FIRST, address, ipv6(2)))?;
        hosts.route(&peer, FIRST, 0)?;
        hosts.route_by_source(&peer, address, 0)?;
        if scenario.second_interface.contains(&peer) {
            let address = Ipv4Addr::new(10, 78, 1, 10 + number);
            hosts.add_interface(&peer, &peer, &public(SECOND, address, None))?;
            hosts.route_by_source(&peer, address, 1)?;
            hosts.set_up(&peer, SECOND, false)?;
        }
    }
    Ok(())
}

/// The folder of this program, where cargo puts the others, too.
///
/// # Errors
/// When the system does not say.
pub fn own_folder() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

const FIRST: &str = "net0";

const SECOND: &str = "net1";

/// How often it is looked what has happened.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a scenario was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no network.
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// A process cannot be started.
    #[error("a process of the scenario: {0}")]
    Process(#[source] io::Error),
    /// A file cannot be made.
    #[error("{}: {source}", path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}
