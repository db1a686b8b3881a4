//! What the queue promises, one case each.

use alloc::vec::Vec;

use super::*;
use crate::RepeatLast;

fn queue() -> InputQueue {
    let config = SessionConfig::builder().build().unwrap();
    InputQueue::new(&config, &Roster::one_player_each(2).unwrap())
}

fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

fn give(queue: &mut InputQueue, slot: u8, frame: u32, input: u8) {
    let frame = Frame::new(frame);
    assert!(queue.accepts(peer(slot), frame));
    queue.write(PlayerHandle::new(slot).unwrap(), frame, &[input], InputFlags::NONE);
    queue.arrived(peer(slot), frame, &[]);
}

fn step(queue: &mut InputQueue, frame: u32) -> Vec<u8> {
    let frame = Frame::new(frame);
    queue.guess_missing((frame, frame.next()), &mut RepeatLast);
    let row = queue.row(frame).inputs.to_vec();
    queue.set_simulated(frame.next());
    row
}

#[test]
fn frames_out_of_order_are_taken_and_confirmed_when_the_gap_closes() {
    let mut queue = queue();
    for frame in 0..4 {
        give(&mut queue, 0, frame, 0);
    }
    give(&mut queue, 1, 2, 9);
    give(&mut queue, 1, 3, 9);
    assert_eq!(queue.confirmed_end(), Frame::ZERO);
    assert_eq!(queue.held_beyond_gap(peer(1)), 0b110);
    give(&mut queue, 1, 0, 9);
    give(&mut queue, 1, 1, 9);
    assert_eq!(queue.confirmed_end(), Frame::new(4));
    assert!(!queue.accepts(peer(1), Frame::new(2)));
}

#[test]
fn a_late_input_that_matches_its_guess_is_not_incorrect() {
    let mut queue = queue();
    give(&mut queue, 0, 0, 1);
    give(&mut queue, 1, 0, 5);
    assert_eq!(step(&mut queue, 0), [1, 5]);
    give(&mut queue, 0, 1, 2);
    assert_eq!(step(&mut queue, 1), [2, 5]);
    give(&mut queue, 1, 1, 5);
    assert_eq!(queue.first_incorrect(), None);
}

#[test]
fn the_earliest_wrong_guess_is_remembered() {
    let mut queue = queue();
    for frame in 0..3 {
        give(&mut queue, 0, frame, 1);
        step(&mut queue, frame);
    }
    give(&mut queue, 1, 2, 7);
    give(&mut queue, 1, 0, 0);
    assert_eq!(queue.first_incorrect(), Some(Frame::new(2)));
    give(&mut queue, 1, 1, 3);
    assert_eq!(queue.first_incorrect(), Some(Frame::new(1)));
}

#[test]
fn a_closed_stream_is_filled_with_idle_and_confirmed() {
    let mut queue = queue();
    for frame in 0..3 {
        give(&mut queue, 0, frame, 1);
    }
    give(&mut queue, 1, 0, 4);
    for frame in 0..3 {
        step(&mut queue, frame);
    }
    queue.close(peer(1), Frame::new(1));
    assert_eq!(queue.first_incorrect(), Some(Frame::new(1)));
    assert_eq!(queue.confirmed_end(), Frame::new(3));
    let row = queue.row(Frame::new(1));
    assert_eq!((row.inputs, row.flags), ([1, 0].as_slice(), [0, 2].as_slice()));
    assert!(!queue.accepts(peer(1), Frame::new(1)));
}

#[test]
fn closing_a_closed_stream_again_makes_no_frame_incorrect() {
    let mut queue = queue();
    queue.close(peer(1), Frame::ZERO);
    for frame in 0..40 {
        give(&mut queue, 0, frame, 1);
        step(&mut queue, frame);
    }
    queue.close(peer(1), Frame::new(1));
    assert_eq!(queue.first_incorrect(), None);
    assert_eq!(queue.closed(peer(1)), Some(Frame::ZERO));
}

#[test]
fn the_ring_takes_no_frame_that_would_overwrite_one_in_use() {
    let mut queue = queue();
    let capacity = queue.capacity();
    assert!(queue.accepts(peer(1), Frame::new(capacity - 2)));
    assert!(!queue.accepts(peer(1), Frame::new(capacity - 1)));
    queue.set_floor(Frame::new(1));
    assert!(queue.accepts(peer(1), Frame::new(capacity - 1)));
}

#[test]
fn the_least_delay_of_a_peer_follows_what_its_host_says() {
    let config = SessionConfig::builder().players(3).build().unwrap();
    let hosts = [peer(0), peer(0), peer(1)];
    let mut queue = InputQueue::new(&config, &Roster::new(&hosts).unwrap());
    let delay = |player, frames| Item::Delay { player: PlayerHandle::new(player).unwrap(), frames };
    let mut say = |by, frame, item| {
        queue.arrived(peer(by), Frame::new(frame), &[item]);
        [0, 1].map(|slot| queue.input_delay_of(peer(slot)))
    };
    let usual = config.input_delay_frames(PlayerHandle::new(0).unwrap());
    assert_eq!(say(0, 0, delay(0, 9)), [usual, usual]);
    assert_eq!(say(0, 1, delay(1, 7)), [7, usual]);
    assert_eq!(say(1, 0, delay(1, 5)), [7, usual], "another's player");
    assert_eq!(say(0, 2, delay(0, 6)), [6, usual]);
}
