//! A wire between two computers within one process, for both engines. Its clock is the tick that it is told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// The clock of a wire, in ticks.
#[derive(Clone, Debug, Default)]
pub struct Clock(Rc<Cell<u64>>);

impl Clock {
    /// Moves the clock.
    pub fn set(&self, tick: u64) {
        self.0.set(tick);
    }
}

/// One end of a wire.
#[derive(Clone, Debug)]
pub struct Wire {
    me: usize,
    clock: Clock,
    delay: u64,
    /// What is under way to each end, oldest first, and when it arrives.
    under_way: Rc<[UnderWay; 2]>,
}

#[derive(Debug, Default)]
struct UnderWay(RefCell<VecDeque<(u64, Vec<u8>)>>);

impl Wire {
    /// Both ends of a wire; each end's datagrams are under way for so many ticks.
    #[must_use]
    pub fn pair(clock: &Clock, delays: [u64; 2]) -> [Self; 2] {
        let under_way = Rc::default();
        [0, 1].map(|me| Self {
            me,
            clock: clock.clone(),
            delay: delays[me],
            under_way: Rc::clone(&under_way),
        })
    }

    /// Sends a datagram to the other end.
    pub fn send(&self, datagram: &[u8]) {
        let arrives = self.clock.0.get() + self.delay;
        self.under_way[self.other()].0.borrow_mut().push_back((arrives, datagram.to_vec()));
    }

    /// The next datagram that has arrived.
    #[must_use]
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut under_way = self.under_way[self.me].0.borrow_mut();
        under_way.front().filter(|(arrives, _)| *arrives <= self.clock.0.get())?;
        under_way.pop_front().map(|(_, datagram)| datagram)
    }

    /// Which end the other one is.
    #[must_use]
    pub fn other(&self) -> usize {
        1 - self.me
    }
}
