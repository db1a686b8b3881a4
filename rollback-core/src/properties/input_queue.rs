//! The rings of inputs against maps that forget nothing.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::{peer, player};
use crate::input_queue::InputQueue;
use crate::{Frame, InputFlags, InputStatus, Item, RepeatLast, Roster, SessionConfig};

/// Peer 0 hosts players 0 and 1, peer 1 hosts player 2.
const HOSTS: [usize; 3] = [0, 0, 1];
const IDLE: [u8; 2] = [9, 9];
const WINDOW: u32 = 6;

/// What one player gave for one frame, or what was used in its place.
type Cell = ([u8; 2], u8);

/// What happens to a queue.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// A frame of a peer arrives, so many after the first that is lacking.
    Arrive { peer: usize, ahead: u32, cells: [Cell; 2] },
    /// The same, with the word that it is the last.
    Leave { peer: usize, ahead: u32 },
    /// The members agree that a peer's inputs end where they are held up to.
    Depart { peer: usize },
    /// The next frame is stepped.
    Step,
    /// Every frame from the first wrong one on is stepped again.
    Resimulate,
    /// So much of what is confirmed and stepped is needed no more, in percent.
    Forget(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Few values, so that guesses are often right.
    let cell = || ([0..2_u8, 0..2_u8], 0..2_u8);
    let act = prop_oneof![
        12 => (0..2_usize, 0..4_u32, [cell(), cell()])
            .prop_map(|(peer, ahead, cells)| Act::Arrive { peer, ahead, cells }),
        1 => (0..2_usize, 0..4_u32).prop_map(|(peer, ahead)| Act::Leave { peer, ahead }),
        1 => (0..2_usize).prop_map(|peer| Act::Depart { peer }),
        8 => Just(Act::Step),
        4 => Just(Act::Resimulate),
        2 => (0..=100_u32).prop_map(Act::Forget),
    ];
    // Long enough that the rings come round.
    prop::collection::vec(act, 0..400)
}

#[derive(Default)]
struct Model {
    given: BTreeMap<(usize, u32), Cell>,
    /// What each frame was last stepped with.
    used: Vec<[Cell; 3]>,
    closed: [Option<u32>; 2],
    floor: u32,
}

impl Model {
    fn has(&self, peer: usize, frame: u32) -> bool {
        self.given.contains_key(&(peer * 2, frame))
    }

    fn end(&self, peer: usize) -> u32 {
        (0..).find(|frame| !self.has(peer, *frame)).unwrap()
    }

    fn is_closed(&self, peer: usize, frame: u32) -> bool {
        self.closed[peer].is_some_and(|closed| frame >= closed)
    }

    fn confirmed_end(&self) -> u32 {
        let end = |peer| {
            let end = self.end(peer);
            if self.is_closed(peer, end) { u32::MAX } else { end }
        };
        end(0).min(end(1))
    }

    fn accepts(&self, peer: usize, frame: u32, capacity: u32) -> bool {
        frame < self.floor + capacity - 1 && !self.is_closed(peer, frame) && !self.has(peer, frame)
    }

    /// What a player's input is known to be: given, or idle because the peer is gone.
    fn known(&self, slot: usize, frame: u32) -> Option<Cell> {
        match self.is_closed(HOSTS[slot], frame) {
            true => Some((IDLE, InputFlags::IDLE_FILLED.bits())),
            false => self.given.get(&(slot, frame)).copied(),
        }
    }

    /// What is stepped: what is known, or what the player last did.
    fn row(&self, frame: u32) -> [Cell; 3] {
        core::array::from_fn(|slot| {
            let last = (0..frame).rev().find_map(|frame| self.given.get(&(slot, frame)).copied());
            self.known(slot, frame).or(last).unwrap_or((IDLE, 0))
        })
    }

    fn is_wrong(&self, frame: u32) -> bool {
        let used = self.used[frame as usize];
        (0..3).any(|slot| self.known(slot, frame).is_some_and(|known| known != used[slot]))
    }

    fn first_wrong(&self) -> Option<u32> {
        (0..self.stepped()).find(|frame| self.is_wrong(*frame))
    }

    fn stepped(&self) -> u32 {
        u32::try_from(self.used.len()).unwrap()
    }
}

fn queue() -> InputQueue {
    let config = SessionConfig::builder()
        .players(3)
        .input_width(2)
        .idle_input(&IDLE)
        .prediction_window_frames(u8::try_from(WINDOW).unwrap())
        .report_interval_frames(1)
        .build()
        .unwrap();
    let roster = Roster::new(&HOSTS.map(peer)).unwrap();
    InputQueue::new(&config, &roster)
}

/// Has the frame of a peer arrive, when the queue takes it.
fn arrive(
    queue: &mut InputQueue,
    model: &mut Model,
    (of, frame): (usize, u32),
    cells: [Cell; 2],
    items: &[Item],
) {
    let accepts = model.accepts(of, frame, queue.capacity());
    assert_eq!(queue.accepts(peer(of), Frame::new(frame)), accepts);
    if !accepts {
        return;
    }
    for (slot, cell) in (0..3).filter(|slot| HOSTS[*slot] == of).zip(cells) {
        queue.write(player(slot), Frame::new(frame), &cell.0, InputFlags::from_bits(cell.1));
        model.given.insert((slot, frame), cell);
    }
    queue.arrived(peer(of), Frame::new(frame), items);
}

/// Steps a frame and sees that it is given what it should be.
fn step(queue: &mut InputQueue, model: &mut Model, frame: u32) {
    let expected = model.row(frame);
    queue.guess_missing((Frame::new(frame), Frame::new(frame + 1)), &mut RepeatLast);
    let row = queue.row(Frame::new(frame));
    for (slot, (input, flags)) in expected.into_iter().enumerate() {
        assert_eq!(&row.inputs[slot * 2..][..2], input, "player {slot}, frame {frame}");
        assert_eq!(row.flags[slot], flags, "player {slot}, frame {frame}");
        let status = match model.known(slot, frame) {
            Some(_) if model.is_closed(HOSTS[slot], frame) => InputStatus::Idle,
            Some(_) => InputStatus::Given,
            None => InputStatus::Predicted,
        };
        assert_eq!(row.statuses[slot], status, "player {slot}, frame {frame}");
    }
    match model.used.get_mut(frame as usize) {
        Some(used) => *used = expected,
        None => model.used.push(expected),
    }
}

fn act(queue: &mut InputQueue, model: &mut Model, act: Act) {
    match act {
        Act::Arrive { peer: of, ahead, cells } => {
            let frame = model.end(of) + ahead;
            arrive(queue, model, (of, frame), cells, &[]);
        }
        Act::Leave { peer: of, ahead } => {
            let frame = model.end(of) + ahead;
            // Whoever leaves gives nothing later.
            let is_last = !(frame..frame + 8).any(|frame| model.has(of, frame));
            if is_last && model.accepts(of, frame, queue.capacity()) {
                arrive(queue, model, (of, frame), [(IDLE, 0); 2], &[Item::Leave]);
                model.closed[of] = Some(frame);
            }
        }
        Act::Depart { peer: of } => {
            let end = model.end(of);
            let is_whole = !(end..end + 8).any(|frame| model.has(of, frame));
            if is_whole && model.closed[of].is_none() {
                queue.close(peer(of), Frame::new(end));
                model.closed[of] = Some(end);
            }
        }
        Act::Step => {
            let frame = model.stepped();
            let is_due = model.first_wrong().is_none();
            let fits = frame + 1 < model.floor + queue.capacity() - 1;
            if is_due && fits && frame < model.confirmed_end().saturating_add(WINDOW) {
                step(queue, model, frame);
                queue.set_simulated(Frame::new(frame + 1));
            }
        }
        Act::Resimulate => {
            if let Some(first) = model.first_wrong() {
                queue.clear_incorrect();
                (first..model.stepped()).for_each(|frame| step(queue, model, frame));
                queue.set_simulated(Frame::new(model.stepped()));
            }
        }
        Act::Forget(percent) => {
            let first_wrong = model.first_wrong().unwrap_or(u32::MAX);
            let limit = model.confirmed_end().min(model.stepped()).min(first_wrong);
            let floor = model.floor + limit.saturating_sub(model.floor) * percent / 100;
            queue.set_floor(Frame::new(floor));
            model.floor = model.floor.max(floor);
        }
    }
}

fn check(queue: &mut InputQueue, model: &Model) {
    for of in 0..2 {
        let end = model.end(of);
        assert_eq!(queue.end(peer(of)).index(), end);
        assert_eq!(queue.closed(peer(of)).map(Frame::index), model.closed[of]);
        let beyond = (0..32).filter(|bit| model.has(of, end + 1 + bit));
        let beyond = beyond.fold(0_u32, |mask, bit| mask | 1 << bit);
        assert_eq!(queue.held_beyond_gap(peer(of)), beyond);
        for frame in model.floor..end + 6 {
            assert_eq!(queue.has(peer(of), Frame::new(frame)), model.has(of, frame));
        }
    }
    assert_eq!(queue.confirmed_end().index(), model.confirmed_end());
    assert_eq!(queue.first_incorrect().map(Frame::index), model.first_wrong());
    for frame in model.floor..model.confirmed_end().min(model.stepped()) {
        let row = queue.row(Frame::new(frame));
        for slot in 0..3 {
            let known = model.known(slot, frame).unwrap();
            let cell = (&row.inputs[slot * 2..][..2], row.flags[slot]);
            assert_eq!(cell, (&known.0[..], known.1), "player {slot}, frame {frame}");
        }
    }
}

/// Where the frames that were stepped with guesses begin to be what they would be stepped with again.
fn check_unchanged(queue: &mut InputQueue, model: &Model, from: u32) {
    let (first, end) = (from.max(model.floor), model.stepped());
    // Only frames that were stepped with guesses, or arrived since, are asked about.
    let first = first.max(model.confirmed_end().min(end)).max(1);
    if first >= end {
        return;
    }
    let is_same = |frame: &u32| model.row(*frame) == model.used[*frame as usize];
    let expected = (first..end).rev().take_while(is_same).last().unwrap_or(end);
    let found = queue.unchanged_from(Frame::new(first), Frame::new(end), &mut RepeatLast);
    assert_eq!(found.index(), expected);
}

proptest! {
    #[test]
    fn the_rings_say_what_maps_would(acts in acts(), from in 0..64_u32) {
        let (mut queue, mut model) = (queue(), Model::default());
        for next in acts {
            act(&mut queue, &mut model, next);
            check(&mut queue, &model);
        }
        check_unchanged(&mut queue, &model, from);
    }
}
