//! An in-memory network with a delay counted in frames and seeded loss. Its clock is the tick it is told.

use std::{cell::RefCell, rc::Rc};

use crate::game::Random;

/// The longest datagram that any engine here may send, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1200;

/// How the network behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// A datagram sent in tick t can be received from tick t + this on.
    pub delay_ticks: u64,
    /// How many of 1,000 datagrams get lost.
    pub loss_per_mille: u16,
}

/// What was sent since the start, lost datagrams included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent.
    pub packets: u64,
    /// Their contents, without any header of a lower layer.
    pub payload_bytes: u64,
    /// Datagrams dropped because too many were on their way: must stay 0.
    pub overflows: u64,
}

/// The network of one mesh.
#[derive(Clone, Debug)]
pub struct Network(Rc<RefCell<Wires>>);

impl Network {
    /// A network of `peers` computers, everyone connected to everyone.
    #[must_use]
    pub fn new(peers: usize, settings: LinkSettings, seed: u64) -> Self {
        let slots = ((settings.delay_ticks as usize + 2) * BURST).next_power_of_two();
        let wires = (0..peers * peers).map(|_| Wire::new(slots)).collect();
        Self(Rc::new(RefCell::new(Wires {
            wires,
            peers,
            settings,
            now: 0,
            random: Random::new(seed),
            traffic: Traffic::default(),
        })))
    }

    /// The connection of one computer to this network.
    #[must_use]
    pub fn endpoint(&self, me: usize) -> Endpoint {
        Endpoint { network: self.clone(), me }
    }

    /// Moves the clock of the network.
    pub fn set_now(&self, tick: u64) {
        self.0.borrow_mut().now = tick;
    }

    /// What was sent since the start.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.borrow().traffic
    }
}

/// The connection of one computer to the network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    network: Network,
    me: usize,
}

impl Endpoint {
    /// The tick of the network's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.network.0.borrow().now
    }

    /// Sends one datagram.
    pub fn send(&self, to: usize, datagram: &[u8]) {
        self.network.0.borrow_mut().send(self.me, to, datagram);
    }

    /// Copies the next datagram that `from` sent and that has arrived into `buffer`; gives its length.
    #[must_use]
    pub fn receive(&self, from: usize, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<usize> {
        self.network.0.borrow_mut().receive(from, self.me, buffer)
    }
}

#[derive(Debug)]
struct Wires {
    /// From a to b at index a * peers + b.
    wires: Vec<Wire>,
    peers: usize,
    settings: LinkSettings,
    now: u64,
    random: Random,
    traffic: Traffic,
}

impl Wires {
    fn send(&mut self, from: usize, to: usize, datagram: &[u8]) {
        self.traffic.packets += 1;
        self.traffic.payload_bytes += datagram.len() as u64;
        let loss = u64::from(self.settings.loss_per_mille);
        if loss > 0 && self.random.next() % 1000 < loss {
            return;
        }
        let wire = &mut self.wires[from * self.peers + to];
        if !wire.push(self.now + self.settings.delay_ticks, datagram) {
            self.traffic.overflows += 1;
        }
    }

    fn receive(
        &mut self,
        from: usize,
        to: usize,
        buffer: &mut [u8; DATAGRAM_BYTES_MAX],
    ) -> Option<usize> {
        self.wires[from * self.peers + to].pop(self.now, buffer)
    }
}

/// A ring of datagrams on their way, oldest first.
#[derive(Debug)]
struct Wire {
    slots: Box<[Slot]>,
    head: usize,
    tail: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    due: u64,
    len: usize,
    bytes: [u8; DATAGRAM_BYTES_MAX],
}

impl Wire {
    fn new(slots: usize) -> Self {
        let empty = Slot { due: 0, len: 0, bytes: [0; DATAGRAM_BYTES_MAX] };
        Self { slots: vec![empty; slots].into(), head: 0, tail: 0 }
    }

    fn push(&mut self, due: u64, datagram: &[u8]) -> bool {
        let mask = self.slots.len() - 1;
        if self.tail - self.head > mask || datagram.len() > DATAGRAM_BYTES_MAX {
            return false;
        }
        let slot = &mut self.slots[self.tail & mask];
        slot.due = due;
        slot.len = datagram.len();
        slot.bytes[..datagram.len()].copy_from_slice(datagram);
        self.tail += 1;
        true
    }

    fn pop(&mut self, now: u64, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let slot = &self.slots[self.head & mask];
        if self.head == self.tail || slot.due > now {
            return None;
        }
        buffer[..slot.len].copy_from_slice(&slot.bytes[..slot.len]);
        self.head += 1;
        Some(slot.len)
    }
}

/// The peers send two or three datagrams per tick to a remote, more while they shake hands.
const BURST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn two(delay_ticks: u64, loss_per_mille: u16) -> (Network, Endpoint, Endpoint) {
        let network = Network::new(2, LinkSettings { delay_ticks, loss_per_mille }, 1);
        let (a, b) = (network.endpoint(0), network.endpoint(1));
        (network, a, b)
    }

    #[test]
    fn a_datagram_arrives_after_the_delay_and_once() {
        let (network, a, b) = two(3, 0);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        a.send(1, b"hello");
        network.set_now(2);
        assert_eq!(b.receive(0, &mut buffer), None);
        network.set_now(3);
        assert_eq!(b.receive(0, &mut buffer), Some(5));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(b.receive(0, &mut buffer), None);
        assert_eq!(network.traffic(), Traffic { packets: 1, payload_bytes: 5, overflows: 0 });
    }

    #[test]
    fn the_loss_is_the_loss_asked_for() {
        let (network, a, b) = two(0, 200);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let mut arrived = 0;
        for tick in 0..10_000 {
            network.set_now(tick);
            a.send(1, &[0]);
            arrived += u32::from(b.receive(0, &mut buffer).is_some());
        }
        assert!((7_850..8_150).contains(&arrived), "{arrived} of 10,000 arrived");
    }

    #[test]
    fn more_than_a_wire_holds_is_counted_and_dropped() {
        let (network, a, _) = two(0, 0);
        for _ in 0..17 {
            a.send(1, &[0]);
        }
        assert_eq!(network.traffic().overflows, 1);
    }
}
