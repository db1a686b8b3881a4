//! Three players, of whom the third is gone from one moment to the next, its last datagrams having reached only one of
//! the others. Knows the network and what became of the two; not how an engine is driven.

pub(crate) mod on_ggrs;
pub(crate) mod on_rollback;

use std::{
    any::Any,
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use rollback_benches::game::Inputs;

/// The engine of one player's computer.
pub(crate) trait Computer {
    /// Takes what has arrived, gives an input and advances a frame.
    ///
    /// # Errors
    /// When the engine cannot go on, in words.
    fn tick(&mut self, tick: u64) -> Result<(), String>;

    /// What this player's computer takes for the history of the game.
    fn history(&self) -> History;
}

/// The frames of which a computer says that all their inputs are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct History {
    /// The inputs of all players, a row a frame.
    pub rows: Vec<[u8; PLAYERS]>,
    /// The first frame in which the third player's input is not its own any more.
    pub cut: Option<usize>,
}

/// What became of the two that are left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Both played on to the end of the scenario.
    PlayedOn(Vec<History>),
    /// The engine of this player returned an error.
    Refused {
        /// The player.
        player: usize,
        /// What the engine said.
        error: String,
    },
    /// The engine of this player panicked, and the program with it.
    Panicked {
        /// The player.
        player: usize,
        /// What the panic said.
        message: String,
    },
}

impl Outcome {
    /// The frames that both take for history, if they are equal as far as both go and cut at one frame.
    #[must_use]
    pub(crate) fn agreed_frames(&self) -> Option<usize> {
        let Self::PlayedOn(histories) = self else { return None };
        let [one, other] = histories.as_slice() else { return None };
        let frames = one.rows.len().min(other.rows.len());
        let is_equal = one.rows.get(..frames) == other.rows.get(..frames) && one.cut == other.cut;
        is_equal.then_some(frames)
    }
}

/// Plays the scenario with three computers of one engine. The datagrams that the third sends in its last `lost` ticks
/// reach the first and not the second.
pub(crate) fn play(
    lost: u64,
    mut computer: impl FnMut(usize, Wires) -> Box<dyn Computer>,
) -> Outcome {
    let network = Rc::new(RefCell::new(Network::new(lost)));
    let mut computers: Vec<_> =
        (0..PLAYERS).map(|me| computer(me, Wires { network: Rc::clone(&network), me })).collect();
    for tick in 0..TICKS {
        if tick == DIES_AT {
            computers.truncate(THIRD);
        }
        network.borrow_mut().now = tick;
        for (player, computer) in computers.iter_mut().enumerate() {
            match catch_unwind(AssertUnwindSafe(|| computer.tick(tick))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Outcome::Refused { player, error },
                Err(panic) => {
                    return Outcome::Panicked { player, message: message_of(panic.as_ref()) };
                }
            }
        }
    }
    Outcome::PlayedOn(computers.iter().map(|computer| computer.history()).collect())
}

/// What the players do: a byte each that changes in every third frame on average.
#[must_use]
pub(crate) fn inputs() -> Inputs {
    Inputs::new(SEED, 3, u64::MAX)
}

/// One computer's connection to the others.
pub(crate) struct Wires {
    network: Rc<RefCell<Network>>,
    me: usize,
}

impl Wires {
    /// Sends a datagram, which may get lost.
    pub(crate) fn send(&self, to: usize, datagram: Vec<u8>) {
        self.network.borrow_mut().send(self.me, to, datagram);
    }

    /// The next datagram that has arrived, and who sent it.
    #[must_use]
    pub(crate) fn receive(&self) -> Option<(usize, Vec<u8>)> {
        self.network.borrow_mut().receive(self.me)
    }
}

struct Network {
    now: u64,
    lost: u64,
    /// For each receiver, oldest first: when it arrives, who sent it, and what.
    under_way: [VecDeque<(u64, usize, Vec<u8>)>; PLAYERS],
}

impl Network {
    fn new(lost: u64) -> Self {
        Self { now: 0, lost, under_way: Default::default() }
    }

    fn send(&mut self, from: usize, to: usize, datagram: Vec<u8>) {
        let is_last_word = self.now + self.lost >= DIES_AT;
        if from == THIRD && to == SECOND && is_last_word {
            return;
        }
        if let Some(under_way) = self.under_way.get_mut(to) {
            under_way.push_back((self.now + DELAY_TICKS, from, datagram));
        }
    }

    fn receive(&mut self, to: usize) -> Option<(usize, Vec<u8>)> {
        let under_way = self.under_way.get_mut(to)?;
        under_way.front().filter(|(arrives, ..)| *arrives <= self.now)?;
        under_way.pop_front().map(|(_, from, datagram)| (from, datagram))
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// How many play, each on a computer of its own.
pub(crate) const PLAYERS: usize = 3;
const SECOND: usize = 1;
const THIRD: usize = 2;

/// In which tick the third player's computer is gone: long after the handshakes.
pub(crate) const DIES_AT: u64 = 200;

/// How long the others wait for it: the time-out that ggrs starts with.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// Twice as long as it takes to give the third one up, and 60 frames of play.
const TICKS: u64 = DIES_AT + 2 * 120 + 60;

/// How long a datagram is under way: 33 ms.
const DELAY_TICKS: u64 = 2;

const SEED: u64 = 3;
