//! Carries packets between ports: finds out where each goes, and lets the line between the two hosts decide when it arrives.
//! Time is an argument; knows no device.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::line::{Change, Counters, Line};
use crate::packet::Header;

/// A place where packets come in and go out.
#[derive(Clone, Debug)]
pub struct Port {
    /// The host it belongs to, by the name that rules have for it: a router stands for the peer behind it.
    pub host: String,
    /// The network that it is in; packets never leave their network but through a host that is in two.
    pub network: usize,
    /// Its address there.
    pub address: Ipv4Addr,
    /// Its IPv6 address there, if it has one. What goes to others with the same first 64 bits comes here, too.
    pub ipv6: Option<Ipv6Addr>,
    /// Whether packets to addresses that nobody has in this network go here.
    pub is_gateway: bool,
}

/// Which lines a change is about.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The sender: a host, or [`ALL`], or [`PEERS`].
    pub from: String,
    /// The receiver, likewise.
    pub to: String,
    /// Whether the other direction is meant, too.
    pub both_ways: bool,
    /// What changes.
    pub change: Change,
}

/// The switch with all packets that are under way.
#[derive(Debug)]
pub struct Switch {
    ports: Vec<Port>,
    /// By the hosts' names, sender first. In the public network only: what is within a home has no line.
    lines: BTreeMap<(String, String), Line>,
    /// By the host: what all goes through that it sends, before its lines.
    uplinks: BTreeMap<String, Line>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    next_number: u64,
    unroutable: u64,
}

/// Ordered by its arrival; at the same time, first come, first served.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct UnderWay {
    arrives_at: Duration,
    number: u64,
    port: usize,
    packet: Vec<u8>,
}

impl Switch {
    /// A switch of these ports with perfect lines. All chance follows from the seed.
    #[must_use]
    pub fn new(ports: Vec<Port>, seed: u64) -> Self {
        let mut hosts: Vec<&str> = ports
            .iter()
            .filter(|port| port.network == PUBLIC)
            .map(|port| port.host.as_str())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        let mut lines = BTreeMap::new();
        for from in &hosts {
            for to in hosts.iter().filter(|to| *to != from) {
                let number = lines.len() as u64 + 1;
                let seed = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                lines.insert(((*from).to_owned(), (*to).to_owned()), Line::new(seed));
            }
        }
        let (uplinks, under_way) = (BTreeMap::new(), BinaryHeap::new());
        Self { ports, lines, uplinks, under_way, next_number: 0, unroutable: 0 }
    }

    /// Changes lines. Packets that are under way already are not touched. Answers how many lines it was.
    pub fn apply(&mut self, rule: &Rule) -> usize {
        let mut changed = 0;
        for ((from, to), line) in &mut self.lines {
            let is_meant = rule.is_about(from, to) || rule.both_ways && rule.is_about(to, from);
            if is_meant {
                line.apply(&rule.change);
                changed += 1;
            }
        }
        changed
    }

    /// From now on a host, or each that is meant, sends no more than so many thousand bits a second to all together.
    pub fn limit(&mut self, host: &str, rate_kbit: u64, queue_ms: Option<f64>) {
        let change = Change { rate_kbit: Some(rate_kbit), queue_ms, ..Change::default() };
        for (from, _) in self.lines.keys().filter(|(from, _)| matches(host, from)) {
            let uplink = self.uplinks.entry(from.clone()).or_insert_with(|| Line::new(0));
            uplink.apply(&change);
        }
    }

    /// Takes a packet that came in at a port.
    pub fn accept(&mut self, now: Duration, port: usize, packet: Vec<u8>) {
        let Some((from, header)) = self.ports.get(port).zip(Header::read(&packet)) else { return };
        let Some(to) = self.route(from.network, header.to) else {
            self.unroutable += 1;
            return;
        };
        let uplink = self.uplinks.get_mut(&from.host).filter(|_| from.network == PUBLIC);
        let leaves_at = match uplink {
            Some(uplink) => uplink.send(now, packet.len(), header.is_udp)[0],
            None => Some(now),
        };
        let Some(leaves_at) = leaves_at else { return };
        let ends = self.ports.get(to).map(|to| (from.host.clone(), to.host.clone()));
        let line =
            ends.filter(|_| from.network == PUBLIC).and_then(|ends| self.lines.get_mut(&ends));
        let arrivals = match line {
            Some(line) => line.send(leaves_at, packet.len(), header.is_udp),
            None => [Some(leaves_at), None],
        };
        for arrives_at in arrivals.into_iter().flatten() {
            let number = self.next_number;
            self.next_number += 1;
            let packet = packet.clone();
            self.under_way.push(Reverse(UnderWay { arrives_at, number, port: to, packet }));
        }
    }

    /// The next packet that has arrived, and where it goes out.
    pub fn take_due(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(UnderWay { port, packet, .. }) = self.under_way.pop()?;
        Some((port, packet))
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(next)| next.arrives_at)
    }

    /// What became of the packets on each line, by its two hosts.
    pub fn counters(&self) -> impl Iterator<Item = (&(String, String), Counters)> {
        self.lines.iter().map(|(ends, line)| (ends, line.counters()))
    }

    /// How many packets found no room on their host's way out; no line has counted them.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.uplinks.values().map(|uplink| uplink.counters().overflowed).sum()
    }

    /// Packets to nobody.
    #[must_use]
    pub const fn unroutable(&self) -> u64 {
        self.unroutable
    }

    fn route(&self, network: usize, to: IpAddr) -> Option<usize> {
        let find = |is_it: &dyn Fn(&Port) -> bool| {
            self.ports.iter().position(|port| port.network == network && is_it(port))
        };
        find(&|port| port.is_at(to))
            .or_else(|| find(&|port| port.is_of_network(to)))
            .or_else(|| find(&|port| port.is_gateway))
    }
}

impl Port {
    fn is_at(&self, to: IpAddr) -> bool {
        match to {
            IpAddr::V4(to) => self.address == to,
            IpAddr::V6(to) => self.ipv6 == Some(to),
        }
    }

    fn is_of_network(&self, to: IpAddr) -> bool {
        let network = |address: Ipv6Addr| u128::from(address) >> 64;
        matches!((to, self.ipv6), (IpAddr::V6(to), Some(own)) if network(to) == network(own))
    }
}

impl Rule {
    fn is_about(&self, from: &str, to: &str) -> bool {
        matches(&self.from, from) && matches(&self.to, to)
    }
}

fn matches(selector: &str, host: &str) -> bool {
    selector == ALL || selector == host || selector == PEERS && host.starts_with(PEER)
}

/// The network that all are in, be it through a router.
pub const PUBLIC: usize = 0;

/// Every host.
pub const ALL: &str = "*";

/// Every host that plays.
pub const PEERS: &str = "peers";

/// What the names of hosts that play begin with.
pub const PEER: &str = "peer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::{ipv6_packet, packet};

    const MS: Duration = Duration::from_millis(1);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, last)
    }

    fn port(host: &str, last: u8) -> Port {
        let (host, address) = (host.to_owned(), address(last));
        Port { host, network: PUBLIC, address, ipv6: None, is_gateway: false }
    }

    fn switch() -> Switch {
        Switch::new(vec![port("server", 1), port("peer0", 2), port("peer1", 3)], 5)
    }

    fn rule(from: &str, to: &str, both_ways: bool, change: Change) -> Rule {
        Rule { from: from.to_owned(), to: to.to_owned(), both_ways, change }
    }

    fn from_to(from: u8, to: u8, tag: u8) -> Vec<u8> {
        let mut packet = packet(address(from), address(to), true, 100);
        packet[99] = tag;
        packet
    }

    fn all_due(switch: &mut Switch, now: Duration) -> Vec<(usize, u8)> {
        std::iter::from_fn(|| switch.take_due(now))
            .map(|(port, packet)| (port, packet[99]))
            .collect()
    }

    #[test]
    fn packets_go_where_they_are_addressed_to_in_their_order() {
        let mut switch = switch();
        switch.accept(MS, 1, from_to(2, 3, 1));
        switch.accept(MS, 1, from_to(2, 1, 2));
        switch.accept(MS, 1, from_to(2, 3, 3));
        switch.accept(MS, 1, from_to(2, 9, 4));
        switch.accept(MS, 1, vec![0x50; 40]);
        assert_eq!(all_due(&mut switch, MS), [(2, 1), (0, 2), (2, 3)]);
        assert_eq!(switch.unroutable(), 1);
    }

    #[test]
    fn a_delay_in_one_direction_leaves_the_other_alone() {
        let mut switch = switch();
        let change = Change { delay_ms: Some(200.0), ..Change::default() };
        assert_eq!(switch.apply(&rule("peer0", "*", false, change)), 2);
        switch.accept(MS, 1, from_to(2, 3, 1));
        switch.accept(MS, 2, from_to(3, 2, 2));
        assert_eq!(all_due(&mut switch, 200 * MS), [(1, 2)]);
        assert_eq!(switch.next_due(), Some(201 * MS));
        assert_eq!(all_due(&mut switch, 201 * MS), [(2, 1)]);
    }

    #[test]
    fn what_a_host_sends_to_all_goes_through_its_way_out_in_turn() {
        let mut switch = switch();
        let change = Change { delay_ms: Some(40.0), ..Change::default() };
        switch.apply(&rule("*", "*", false, change));
        // 100 bytes are 10 ms.
        switch.limit("peer0", 80, Some(15.0));
        switch.accept(Duration::ZERO, 1, from_to(2, 3, 1));
        switch.accept(Duration::ZERO, 1, from_to(2, 1, 2));
        switch.accept(Duration::ZERO, 1, from_to(2, 3, 3));
        switch.accept(Duration::ZERO, 2, from_to(3, 2, 4));
        assert_eq!(all_due(&mut switch, 40 * MS), [(1, 4)]);
        assert_eq!(all_due(&mut switch, 50 * MS), [(2, 1)]);
        assert_eq!(all_due(&mut switch, 60 * MS), [(0, 2)]);
        assert_eq!((switch.next_due(), switch.overflowed()), (None, 1));
    }

    #[test]
    fn a_cut_between_peers_leaves_the_server_and_ends_again() {
        let mut switch = switch();
        let cut = |cut| Change { cut: Some(cut), ..Change::default() };
        assert_eq!(switch.apply(&rule("peers", "peers", false, cut(true))), 2);
        switch.accept(MS, 1, from_to(2, 3, 1));
        switch.accept(MS, 2, from_to(3, 2, 2));
        switch.accept(MS, 2, from_to(3, 1, 3));
        assert_eq!(all_due(&mut switch, MS), [(0, 3)]);
        assert_eq!(switch.apply(&rule("peer0", "peer1", true, cut(false))), 2);
        switch.accept(MS, 2, from_to(3, 2, 4));
        assert_eq!(all_due(&mut switch, MS), [(1, 4)]);
    }

    #[test]
    fn what_was_sent_before_a_change_arrives_as_it_was_to() {
        let mut switch = switch();
        let change = Change { delay_ms: Some(100.0), ..Change::default() };
        switch.apply(&rule("*", "*", false, change));
        switch.accept(MS, 1, from_to(2, 3, 1));
        let change = Change { delay_ms: Some(10.0), ..Change::default() };
        switch.apply(&rule("*", "*", false, change));
        switch.accept(MS, 1, from_to(2, 3, 2));
        assert_eq!(all_due(&mut switch, 50 * MS), [(2, 2)]);
        assert_eq!(all_due(&mut switch, 101 * MS), [(2, 1)]);
    }

    #[test]
    fn packets_leave_a_home_through_its_gateway_and_bear_no_line_there() {
        let inside = Ipv4Addr::new(10, 100, 0, 2);
        let gateway = Ipv4Addr::new(10, 100, 0, 1);
        let home = |host: &str, address, is_gateway| Port {
            host: host.to_owned(),
            network: 1,
            address,
            ipv6: None,
            is_gateway,
        };
        let ports = vec![
            port("peer0", 2),
            home("peer0", gateway, true),
            home("peer0", inside, false),
            port("peer1", 3),
        ];
        let mut switch = Switch::new(ports, 1);
        let change = Change { delay_ms: Some(100.0), ..Change::default() };
        switch.apply(&rule("*", "*", false, change));
        switch.accept(MS, 2, packet(inside, address(3), true, 100));
        assert_eq!(switch.take_due(MS).map(|(port, _)| port), Some(1));
        // The router sends it on with an address of its own.
        switch.accept(MS, 0, packet(address(2), address(3), true, 100));
        assert_eq!(switch.take_due(100 * MS), None);
        assert_eq!(switch.take_due(101 * MS).map(|(port, _)| port), Some(3));
        // Nobody gets into a home from outside by its address there.
        switch.accept(MS, 3, packet(address(3), inside, true, 100));
        assert_eq!((switch.take_due(MS), switch.unroutable()), (None, 1));
    }

    #[test]
    fn packets_of_ipv6_come_to_a_home_by_the_network_that_they_are_for() {
        let ipv6 = |text: &str| -> Ipv6Addr { text.parse().unwrap() };
        let (router, gateway, inside) = ("2001:db8:0:1::ff", "2001:db8:0:1::1", "2001:db8:0:1::2");
        let (inside, other) = (ipv6(inside), ipv6("2001:db8:0:2::2"));
        let with = |port: Port, ipv6| Port { ipv6: Some(ipv6), ..port };
        let at_home = |last, is_gateway| Port { network: 1, is_gateway, ..port("peer0", last) };
        let ports = vec![
            with(port("peer0", 2), ipv6(router)),
            with(at_home(4, true), ipv6(gateway)),
            with(at_home(5, false), inside),
            with(port("peer1", 3), other),
            port("server", 1),
        ];
        let mut switch = Switch::new(ports, 1);
        let mut goes = |port, from, to| {
            switch.accept(MS, port, ipv6_packet(from, to));
            switch.take_due(MS).map(|(port, _)| port)
        };
        assert_eq!((goes(2, inside, other), goes(0, inside, other)), (Some(1), Some(3)));
        assert_eq!((goes(3, other, inside), goes(1, other, inside)), (Some(0), Some(2)));
        assert_eq!(goes(3, other, ipv6("2001:db8:0:3::1")), None);
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let play = |seed| {
            let mut switch = Switch::new(vec![port("peer0", 2), port("peer1", 3)], seed);
            let change = Change { loss: Some(0.2), ..Change::default() };
            switch.apply(&rule("*", "*", false, change));
            for tag in 0..200 {
                switch.accept(MS, 0, from_to(2, 3, tag));
                switch.accept(MS, 1, from_to(3, 2, tag));
            }
            all_due(&mut switch, MS)
        };
        assert_eq!(play(1), play(1));
        assert_ne!(play(1), play(2));
        let lost = |port| {
            let arrived: Vec<u8> =
                play(1).into_iter().filter(|(to, _)| *to == port).map(|(_, tag)| tag).collect();
            (0..200).filter(|tag| !arrived.contains(tag)).collect::<Vec<u8>>()
        };
        assert_ne!(lost(0), lost(1), "each direction has chances of its own");
    }
}
