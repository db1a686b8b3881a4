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
    /// The longest content.
    pub largest_bytes: u64,
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
        // Nobody sends to itself.
        let slots_of = |wire| if wire % (peers + 1) == 0 { 0 } else { slots };
        let wires = (0..peers * peers).map(|wire| Wire::new(slots_of(wire))).collect();
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

    /// What was sent since the start, or since it was forgotten.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.borrow().traffic
    }

    /// Begins to count the traffic anew.
    pub fn forget_traffic(&self) {
        self.0.borrow_mut().traffic = Traffic::default();
    }

    /// The memory that the datagrams on their way take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let wires = self.0.borrow();
        let of_wire =
            |wire: &Wire| wire.bytes.len() + size_of_val(&*wire.slots) + size_of::<Wire>();
        wires.wires.iter().map(of_wire).sum()
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
        self.traffic.largest_bytes = self.traffic.largest_bytes.max(datagram.len() as u64);
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

/// A ring of datagrams on their way, oldest first, and one of their bytes, in which none is cut in two.
#[derive(Debug)]
struct Wire {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    /// The oldest datagram on its way, counted from the start.
    head: usize,
    /// The next datagram to be sent, counted from the start.
    tail: usize,
    /// Where the next datagram's bytes go, counted from the start.
    end: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    due: u64,
    start: usize,
    len: usize,
}

impl Wire {
    fn new(slots: usize) -> Self {
        let bytes = if slots == 0 { 0 } else { (slots * SLOT_BYTES).max(WIRE_BYTES_MIN) };
        Self {
            slots: vec![Slot::default(); slots].into(),
            bytes: vec![0; bytes].into(),
            head: 0,
            tail: 0,
            end: 0,
        }
    }

    fn push(&mut self, due: u64, datagram: &[u8]) -> bool {
        let (size, len) = (self.bytes.len(), datagram.len());
        let mut start = self.end;
        if self.offset(start) + len > size {
            start += size - self.offset(start);
        }
        let oldest = if self.head == self.tail { start } else { self.slot(self.head).start };
        if self.tail - self.head == self.slots.len() || start + len > oldest + size {
            return false;
        }
        let offset = self.offset(start);
        self.bytes[offset..][..len].copy_from_slice(datagram);
        let slots = self.slots.len();
        self.slots[self.tail & (slots - 1)] = Slot { due, start, len };
        self.tail += 1;
        self.end = start + len;
        true
    }

    fn pop(&mut self, now: u64, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<usize> {
        if self.head == self.tail {
            return None;
        }
        let Slot { due, start, len } = *self.slot(self.head);
        if due > now {
            return None;
        }
        buffer[..len].copy_from_slice(&self.bytes[self.offset(start)..][..len]);
        self.head += 1;
        Some(len)
    }

    // Both rings have a length that is a power of two.

    fn offset(&self, position: usize) -> usize {
        position & (self.bytes.len() - 1)
    }

    fn slot(&self, index: usize) -> &Slot {
        &self.slots[index & (self.slots.len() - 1)]
    }
}

/// The peers send two or three datagrams per tick to a remote, more while they shake hands.
const BURST: usize = 6;
/// More than any engine's datagrams take on average; few, so that thousands of networks do not fill the caches.
const SLOT_BYTES: usize = 64;
/// Enough for the longest datagram.
const WIRE_BYTES_MIN: usize = 2048;

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
        assert_eq!(
            network.traffic(),
            Traffic { packets: 1, payload_bytes: 5, largest_bytes: 5, overflows: 0 }
        );
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
    fn datagrams_of_all_lengths_arrive_whole_and_in_order() {
        let (network, a, b) = two(1, 0);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let datagram = |number: usize| vec![number as u8; number * 37 % 300];
        for number in 0..2_000 {
            network.set_now(number as u64);
            if number > 0 {
                let len = b.receive(0, &mut buffer).unwrap();
                assert_eq!(buffer[..len], datagram(number - 1), "datagram {number}");
            }
            a.send(1, &datagram(number));
        }
        assert_eq!(network.traffic().overflows, 0);
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
