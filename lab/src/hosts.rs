//! Hosts: network namespaces with devices in them, made and removed with iproute2 and nftables. Only here is anything done to the
//! system, and all of it goes when [`Hosts`] does.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::scenario::Nat;
use crate::switch::Port;

/// The hosts of one run.
pub struct Hosts {
    prefix: String,
    names: Vec<String>,
    ports: Vec<Port>,
    devices: Vec<SyncDevice>,
}

/// A device to make.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name in its host.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, of which 64 bits name the network.
    pub ipv6: Option<Ipv6Addr>,
    /// How many bits of the other name the network.
    pub prefix_len: u8,
    /// Which network of the switch it is in.
    pub network: usize,
    /// Whether it is the way out of that network.
    pub is_gateway: bool,
}

impl Hosts {
    /// Looks whether hosts can be made here.
    ///
    /// # Errors
    /// What is missing, in words for people.
    pub fn check() -> Result<(), HostsError> {
        if !rustix::process::geteuid().is_root() {
            return Err(HostsError::NotRoot);
        }
        if !Path::new(TUN).exists() {
            return Err(HostsError::NoTun);
        }
        let mut probe = Self::new()?;
        probe.add("probe")?;
        let address = Ipv4Addr::new(10, 77, 0, 1);
        let name = "net0".to_owned();
        let probed =
            Interface { name, address, ipv6: None, prefix_len: 16, network: 0, is_gateway: false };
        probe.add_interface("probe", "probe", &probed)
    }

    /// No hosts yet. Removes what runs that were killed have left behind.
    ///
    /// # Errors
    /// When iproute2 does not work here.
    pub fn new() -> Result<Self, HostsError> {
        remove_left_behind()?;
        // Each run has names of its own: what could not be removed at once does not stop the next one.
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{run}-", std::process::id());
        Ok(Self { prefix, names: Vec::new(), ports: Vec::new(), devices: Vec::new() })
    }

    /// Makes a host.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn add(&mut self, host: &str) -> Result<(), HostsError> {
        let namespace = self.namespace(host);
        ip(&["netns", "add", &namespace])?;
        self.names.push(host.to_owned());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])
    }

    /// Makes a device in a host, which is up from then on. Rules know its packets as those of `known_as`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn add_interface(
        &mut self,
        host: &str,
        known_as: &str,
        interface: &Interface,
    ) -> Result<(), HostsError> {
        let namespace = self.namespace(host);
        let Interface { name, address, ipv6, prefix_len, network, is_gateway } = interface;
        self.devices.push(open_device(&namespace, name)?);
        let (host, ipv6, is_gateway) = (known_as.to_owned(), *ipv6, *is_gateway);
        let (network, address) = (*network, *address);
        self.ports.push(Port { host, network, address, ipv6, is_gateway });
        ip(&["-n", &namespace, "addr", "add", &format!("{address}/{prefix_len}"), "dev", name])?;
        if let Some(ipv6) = ipv6 {
            // A router has the same network on both sides, and sends into it by its route to the home.
            let length = if name == WAN { 128 } else { 64 };
            let address = format!("{ipv6}/{length}");
            ip(&["-n", &namespace, "addr", "add", &address, "dev", name, "nodad"])?;
        }
        ip(&["-n", &namespace, "link", "set", name, "up"])?;
        match ipv6.filter(|_| !is_gateway) {
            Some(_) => ip(&["-n", &namespace, "-6", "route", "replace", "default", "dev", name]),
            None => Ok(()),
        }
    }

    /// Lets packets out of a device to everywhere, and answers to its address back through it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn route(&self, host: &str, name: &str, number: usize) -> Result<(), HostsError> {
        let namespace = self.namespace(host);
        let (metric, table) = ((100 + number).to_string(), (101 + number).to_string());
        ip(&["-n", &namespace, "route", "replace", "default", "dev", name, "metric", &metric])?;
        ip(&["-n", &namespace, "route", "replace", "default", "dev", name, "table", &table])
    }

    /// Makes packets from an address leave through their own device.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn route_by_source(
        &self,
        host: &str,
        address: Ipv4Addr,
        number: usize,
    ) -> Result<(), HostsError> {
        let table = (101 + number).to_string();
        let from = address.to_string();
        ip(&["-n", &self.namespace(host), "rule", "add", "from", &from, "lookup", &table])
    }

    /// Takes a device down, or up again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_up(&self, host: &str, name: &str, is_up: bool) -> Result<(), HostsError> {
        let state = if is_up { "up" } else { "down" };
        ip(&["-n", &self.namespace(host), "link", "set", name, state])
    }

    /// Sends all packets of a host out through a gateway.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn route_through(&self, host: &str, gateway: Ipv4Addr) -> Result<(), HostsError> {
        let gateway = gateway.to_string();
        ip(&["-n", &self.namespace(host), "route", "add", "default", "via", &gateway])
    }

    /// Makes a router of a host: what leaves it through [`WAN`] bears its own address. By IPv6 it bears that of those behind it, to
    /// whom only answers get in, as with the routers of homes (RFC 6092).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn translate(&self, host: &str, inside: Ipv4Addr, nat: Nat) -> Result<(), HostsError> {
        // A symmetric NAT takes another port for each remote end. A full cone keeps the port and lets everybody in.
        let (ports, back) = match nat {
            Nat::Symmetric => ("random,fully-random", String::new()),
            Nat::FullCone => {
                let rule = format!("iifname {WAN} meta l4proto udp dnat to {inside}");
                ("", format!("chain in {{\n type nat hook prerouting priority -100\n {rule}\n }}"))
            }
        };
        let rules = format!(
            "table ip lab {{\n {back}\n chain out {{\n type nat hook postrouting priority 100\n \
             oifname {WAN} masquerade {ports}\n }}\n }}\n\
             table ip6 lab {{\n chain through {{\n type filter hook forward priority 0\n \
             iifname {WAN} ct state established,related accept\n iifname {WAN} drop\n }}\n }}"
        );
        let namespace = self.namespace(host);
        let settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
        in_namespace(&namespace, &[["sysctl", "-qw"], settings].concat())?;
        in_namespace(&namespace, &["nft", &rules])
    }

    /// What the system calls a host.
    #[must_use]
    pub fn namespace(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    /// The ports and their devices, for the cable.
    pub fn take_devices(&mut self) -> (Vec<Port>, Vec<SyncDevice>) {
        (std::mem::take(&mut self.ports), std::mem::take(&mut self.devices))
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, names, ports, devices: _ } = self;
        let mut hosts = f.debug_struct("Hosts");
        hosts.field("prefix", prefix).field("names", names).field("ports", ports);
        hosts.finish_non_exhaustive()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &self.names {
            // There is nobody to tell, and the next run tries again.
            let _ = remove(&self.namespace(host));
        }
    }
}

/// A device in a namespace, made by a thread that goes there: what it opens stays there.
fn open_device(namespace: &str, name: &str) -> Result<SyncDevice, HostsError> {
    let path = format!("{NAMESPACES}/{namespace}");
    let name = name.to_owned();
    let open = move || -> io::Result<SyncDevice> {
        let namespace = File::open(path)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        DeviceBuilder::new().name(name).build_sync()
    };
    let opened = std::thread::spawn(open).join();
    opened
        .unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
        .map_err(HostsError::Device)
}

/// Ends what still runs in a namespace, takes its devices away, and with them the threads that read them. Whatever fails on the
/// way, the name is gone afterwards.
fn remove(namespace: &str) -> Result<(), HostsError> {
    let pids = output(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let list = ["-n", namespace, "-o", "link", "show", "type", "tun"];
    let links = output(Command::new("ip").args(list)).unwrap_or_default();
    for name in links.lines().filter_map(|line| line.split(": ").nth(1)) {
        let _ = ip(&["-n", namespace, "link", "del", name]);
    }
    ip(&["netns", "del", namespace])
}

/// Removes the namespaces of laboratories whose process is gone.
fn remove_left_behind() -> Result<(), HostsError> {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&name)?;
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), HostsError> {
    output(Command::new("ip").args(arguments)).map(drop)
}

fn in_namespace(namespace: &str, command: &[&str]) -> Result<(), HostsError> {
    output(Command::new("ip").args(["netns", "exec", namespace]).args(command)).map(drop)
}

fn output(command: &mut Command) -> Result<String, HostsError> {
    let line = format!("{command:?}").replace('"', "");
    let done = command.output();
    let done = done.map_err(|source| HostsError::Start { command: line.clone(), source })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(HostsError::Refused { command: line, said });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The device of a router that leads out of a home.
pub const WAN: &str = "wan";

/// How many runs this process has made hosts for.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Namespaces of the lab begin with it, and go on with the number of the process that made them.
const PREFIX: &str = "rblab";

const NAMESPACES: &str = "/run/netns";

const TUN: &str = "/dev/net/tun";

/// Why there is no lab here.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// It takes root.
    #[error("the lab makes network namespaces and TUN devices, for which it has to be root")]
    NotRoot,
    /// It takes TUN.
    #[error("the lab needs TUN devices, and this system has no {TUN}")]
    NoTun,
    /// The device cannot be made.
    #[error("cannot make a TUN device: {0}")]
    Device(#[source] io::Error),
    /// A command is missing.
    #[error("cannot start `{command}`: {source} (`make system` installs what the lab needs)")]
    Start {
        /// The command.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// A command failed.
    #[error("`{command}`: {said}")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
}
