//! Runs of inputs on their way from one peer's rings to another's.

use std::vec::Vec;

use proptest::prelude::*;

use super::{peer, player};
use crate::bytes::ByteReader;
use crate::input_queue::InputQueue;
use crate::wire::{self, Base, Inputs, InputsHead, Kind};
use crate::{Actor, Frame, InputFlags, Item, PlayerHandle, Roster, SessionConfig};

/// What the players of peer 1 gave, and what of it the receiver holds already.
#[derive(Clone, Debug)]
struct Stream {
    players: usize,
    width: usize,
    frames: Vec<GivenFrame>,
    /// The receiver holds this many frames, and of those after the next one the ones that are set.
    held: usize,
    ahead: Vec<bool>,
}

#[derive(Clone, Debug)]
struct GivenFrame {
    inputs: Vec<u8>,
    flags: Vec<u8>,
    items: Vec<Item>,
}

fn item() -> impl Strategy<Value = Item> {
    // A peer that leaves gives nothing later, so that is not among them.
    prop_oneof![
        any::<u16>().prop_map(|code| Item::End { code }),
        any::<u8>().prop_map(|incarnation| Item::Join { incarnation }),
        Just(Item::Pause),
        Just(Item::Resume),
        (0..64_u8, any::<bool>()).prop_map(|(slot, is_policy)| Item::Actor {
            player: PlayerHandle::new(slot).unwrap(),
            actor: if is_policy { Actor::Policy } else { Actor::Person },
        }),
    ]
}

fn frame(players: usize, width: usize) -> impl Strategy<Value = GivenFrame> {
    // Mostly the same few values, as in play; now and then anything.
    let byte = || prop_oneof![6 => 0..2_u8, 1 => any::<u8>()];
    let items = prop_oneof![
        9 => Just(Vec::new()),
        1 => prop::collection::vec(item(), 1..=wire::ITEMS_PER_FRAME),
    ];
    let inputs = prop::collection::vec(byte(), players * width);
    (inputs, prop::collection::vec(byte(), players), items)
        .prop_map(|(inputs, flags, items)| GivenFrame { inputs, flags, items })
}

fn stream() -> impl Strategy<Value = Stream> {
    (1..=4_usize, 1..=5_usize).prop_flat_map(|(players, width)| {
        let frames = prop::collection::vec(frame(players, width), 1..30);
        (frames, any::<prop::sample::Index>(), prop::collection::vec(any::<bool>(), 30)).prop_map(
            move |(frames, held, ahead)| {
                let held = held.index(frames.len() + 1);
                Stream { players, width, frames, held, ahead }
            },
        )
    })
}

impl Stream {
    fn queue(&self) -> InputQueue {
        let config = SessionConfig::builder()
            .players(1 + self.players)
            .input_width(self.width)
            .idle_input(&alloc::vec![1; self.width])
            .build()
            .unwrap();
        let mut hosts = alloc::vec![peer(0)];
        hosts.resize(1 + self.players, peer(1));
        InputQueue::new(&config, &Roster::new(&hosts).unwrap())
    }

    fn give(&self, queue: &mut InputQueue, index: usize) {
        let (frame, given) = (frame_at(index), &self.frames[index]);
        for slot in 0..self.players {
            let input = &given.inputs[slot * self.width..][..self.width];
            let flags = InputFlags::from_bits(given.flags[slot]);
            queue.write(player(1 + slot), frame, input, flags);
        }
        queue.arrived(peer(1), frame, &given.items);
    }

    fn sender(&self) -> InputQueue {
        let mut queue = self.queue();
        (0..self.frames.len()).for_each(|index| self.give(&mut queue, index));
        queue.note_changes(peer(1));
        queue
    }

    fn receiver(&self) -> InputQueue {
        let mut queue = self.queue();
        for index in (0..self.frames.len()).filter(|index| self.is_held(*index)) {
            self.give(&mut queue, index);
        }
        queue
    }

    fn is_held(&self, index: usize) -> bool {
        index < self.held || index > self.held && self.ahead[index]
    }

    /// Whether the queue holds the frame, just as it was given.
    fn is_in(&self, queue: &InputQueue, index: usize) -> bool {
        let (frame, given) = (frame_at(index), &self.frames[index]);
        let is_player_in = |slot: usize| {
            queue.given(player(1 + slot), frame) == &given.inputs[slot * self.width..][..self.width]
                && queue.given_flags(player(1 + slot), frame).bits() == given.flags[slot]
        };
        queue.has(peer(1), frame)
            && (0..self.players).all(is_player_in)
            && queue.items_of(peer(1), frame).eq(given.items.iter().copied())
    }
}

fn frame_at(index: usize) -> Frame {
    Frame::new(u32::try_from(index).unwrap())
}

/// A datagram with the frames from `first` on as its main run, or as an extra run that can be read by itself. Answers
/// how many frames went along.
fn datagram(
    sender: &InputQueue,
    (first, end): (Frame, Frame),
    budget: usize,
    base: Base,
) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    wire::start(Kind::Inputs, &mut bytes);
    let main = if base == Base::Previous { first } else { Frame::ZERO };
    InputsHead { first: main, ..InputsHead::default() }.encode(false, &mut bytes);
    let at = match base {
        Base::Previous => None,
        Base::Idle => Some(wire::start_extra_run(&mut bytes, peer(1), (Frame::ZERO, first), None)),
    };
    let before = bytes.len();
    let (count, has_meta) =
        wire::encode_run(sender, peer(1), (first, end), base, budget, &mut bytes);
    // Without a frame there is nothing to see, and so nothing that a budget could be too small for.
    assert!(count == 0 || bytes.len() - before <= budget, "{} of {budget}", bytes.len() - before);
    match at {
        None => wire::finish_main_run(&mut bytes, false, count, has_meta),
        Some(at) => wire::finish_extra_run(&mut bytes, at, count, has_meta),
    }
    (bytes, count.into())
}

/// Has `receiver` take what the datagram holds of peer 1.
fn receive(bytes: &[u8], stream: &Stream, receiver: &mut InputQueue, limit: Frame) {
    let flags = wire::flags(bytes);
    let mut reader = ByteReader::new(&bytes[wire::HEAD_BYTES..]);
    let ends = (Frame::ZERO, receiver.end(peer(1)));
    let head = InputsHead::decode(flags, &mut reader, false, ends).unwrap();
    let players_of = |of| if of == peer(1) { stream.players } else { 1 };
    let inputs =
        Inputs::decode(flags, &mut reader, &head, players_of, (peer(1), stream.width)).unwrap();
    wire::apply_run(receiver, peer(1), &inputs.run, Base::Previous, limit).unwrap();
    for extra in inputs.extra_runs(players_of, stream.width) {
        let run = extra.unwrap().run;
        wire::apply_run(receiver, peer(1), &run, Base::Idle, limit).unwrap();
    }
}

proptest! {
    #[test]
    fn a_run_arrives_as_it_was_given_and_touches_nothing_else(
        stream in stream(),
        (first, end) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        budget in prop_oneof![Just(1_000_usize), 0..200_usize],
        is_extra in any::<bool>(),
        limit in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let frames = stream.frames.len();
        // A main run begins where the receiver holds everything before it; one that is passed on begins anywhere.
        let first = first.index(if is_extra { frames } else { stream.held.min(frames - 1) + 1 });
        let end = first + end.index(frames - first + 1);
        let limit = limit.map_or(frames, |limit| limit.index(frames + 1));
        let base = if is_extra { Base::Idle } else { Base::Previous };
        let (sender, mut receiver) = (stream.sender(), stream.receiver());

        let range = (frame_at(first), frame_at(end));
        let (bytes, count) = datagram(&sender, range, budget, base);
        prop_assert!(count <= end - first);
        prop_assert!(count == end - first || budget < 1_000, "all fits {budget}");
        receive(&bytes, &stream, &mut receiver, frame_at(limit));

        for index in 0..frames {
            // What lies behind the limit is taken by nobody, nor what comes after it in the same run.
            let is_new = (first..first + count).contains(&index) && index < limit;
            if stream.is_held(index) || is_new {
                prop_assert!(stream.is_in(&receiver, index), "frame {index}");
            } else {
                prop_assert!(!receiver.has(peer(1), frame_at(index)), "frame {index}");
            }
        }
    }

    #[test]
    fn what_follows_a_head_is_refused_or_read_and_never_fails(
        body in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..120),
        flags in any::<u8>(),
        count in 0..12_u8,
        (players, width) in (1..=3_usize, 1..=3_usize),
    ) {
        let stream = Stream { players, width, frames: Vec::new(), held: 0, ahead: Vec::new() };
        let mut receiver = stream.queue();
        let head = InputsHead { count, ..InputsHead::default() };
        let players_of = |of| if of == peer(1) { players } else { 1 };
        let mut reader = ByteReader::new(&body);
        let Ok(inputs) = Inputs::decode(flags, &mut reader, &head, players_of, (peer(1), width)) else {
            return Ok(());
        };
        let _ = wire::apply_run(&mut receiver, peer(1), &inputs.run, Base::Previous, Frame::MAX);
        for extra in inputs.extra_runs(players_of, width) {
            let extra = extra.unwrap();
            let _ = wire::apply_run(&mut receiver, extra.owner, &extra.run, Base::Idle, Frame::MAX);
        }
        prop_assert!(inputs.wants().count() <= usize::from(u8::MAX));
        // Whatever was taken came whole: all frames before the end are held.
        let end = receiver.end(peer(1));
        prop_assert!(Frame::ZERO.until(end).all(|frame| receiver.has(peer(1), frame)));
    }
}
