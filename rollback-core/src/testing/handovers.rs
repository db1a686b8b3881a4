//! States that peers which come back are given: by one that plays, under way for a while, lost or damaged on the way.

use alloc::format;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::random::Random;
use super::world::{Broken, World};
use crate::{AgreedState, Event, Frame, Game, PeerId, StateHash};

/// How a peer comes by a state.
#[derive(Clone, Debug)]
pub(crate) struct Handover {
    random: Random,
    way: Way,
    /// How many were damaged and refused.
    refused: u32,
}

#[derive(Clone, Debug)]
enum Way {
    /// It asks somebody then.
    Waits { until: TrueTime },
    /// It has asked this one.
    Asked { of: PeerId, at: TrueTime },
    /// What it asked for comes then, or its source is lost.
    Coming { of: PeerId, state: AgreedState, until: TrueTime, is_lost: bool },
    /// It has shown its session one, damaged or not, when this many events had happened.
    Offered { state: AgreedState, is_damaged: bool, events: usize },
    /// It needs no more.
    Done,
}

impl Handover {
    pub(super) fn new(seed: u64, peer: PeerId, now: TrueTime) -> Self {
        let mut random = Random::new(seed, STREAM_HANDOVERS + u64::from(peer.slot()));
        let until = now.plus_millis(random.between(0, ASKS_MAX_MS).into());
        Self { random, way: Way::Waits { until }, refused: 0 }
    }

    fn wait(&mut self, now: TrueTime) {
        self.way = match self.refused < REFUSED_MAX {
            true => Way::Waits { until: now.plus_millis(ASKS_AGAIN_MS) },
            false => Way::Done,
        };
    }
}

impl<G: Game<Error: Debug>> World<'_, G> {
    /// Takes one that comes back a step further on its way to a state.
    pub(super) fn hand_over(&mut self, index: usize) -> Result<(), Broken> {
        let node = self.nodes.get_mut(index);
        let Some((peer, mut handover)) =
            node.and_then(|node| Some((node.peer, node.feed.as_mut()?.handover.take()?)))
        else {
            return Ok(());
        };
        let passed = self.go_on_with(&mut handover, index);
        if let Some(feed) = self.nodes.get_mut(index).and_then(|node| node.feed.as_mut()) {
            feed.handover = Some(handover);
        }
        passed.map_err(|violation| (Some(peer), violation))
    }

    fn go_on_with(&mut self, handover: &mut Handover, index: usize) -> Result<(), Violation> {
        let now = self.now;
        match handover.way.clone() {
            Way::Waits { until } if now >= until => match self.ask(handover, index) {
                Some(of) => handover.way = Way::Asked { of, at: now },
                None => handover.wait(now),
            },
            Way::Asked { of, at } => {
                let source = self.nodes.iter_mut().find(|node| node.peer == of);
                let state = source.and_then(|source| source.session.take_requested_state());
                if let Some(state) = state {
                    let millis = handover.random.between(0, UNDER_WAY_MAX_MS).into();
                    let is_lost = handover.random.chance(LOST_PER_MILLE);
                    let until = now.plus_millis(millis);
                    handover.way = Way::Coming { of, state, until, is_lost };
                } else if now.since(at).as_millis() >= ANSWER_MAX_MS {
                    handover.wait(now);
                }
            }
            Way::Coming { of, state, until, is_lost } => {
                let is_gone = !self.nodes.iter().any(|node| node.peer == of && !node.is_closed());
                if is_gone || is_lost && now >= until {
                    self.network.counts.state_sources_lost += 1;
                    handover.wait(now);
                } else if now >= until
                    && let Some(recorded) = self.recorded_hash(state.frame)
                {
                    self.offer(handover, index, state, recorded);
                }
            }
            Way::Offered { state, is_damaged, events } => {
                let Some(node) = self.nodes.get(index) else { return Ok(()) };
                let Some((was_taken, frame)) = answer(node, events) else { return Ok(()) };
                // A game need not read what it writes.
                let is_right = !is_damaged && node.game.reads(&state.bytes);
                if was_taken != is_right {
                    let detail = format!("a state was damaged: {is_damaged}; taken: {was_taken}");
                    return Err(Violation::at(Oracle::Reference, frame, detail));
                }
                self.network.counts.states_taken += u64::from(was_taken);
                match was_taken {
                    true => handover.way = Way::Done,
                    false => {
                        handover.refused += 1;
                        handover.wait(now);
                    }
                }
            }
            Way::Waits { .. } | Way::Done => {}
        }
        Ok(())
    }

    /// Has one that plays write out a state.
    fn ask(&mut self, handover: &mut Handover, index: usize) -> Option<PeerId> {
        let asks = self.nodes.get(index)?.peer;
        let is_playing = |node: &&mut Node<G>| node.peer != asks && node.is_playing();
        let count = self.nodes.iter_mut().filter(is_playing).count();
        let drawn = handover.random.below(u32::try_from(count).unwrap_or_default().max(1));
        let source = self.nodes.iter_mut().filter(is_playing).nth(drawn as usize)?;
        // What another asked for and did not wait for is old.
        source.session.take_requested_state();
        source.session.request_state();
        Some(source.peer)
    }

    fn recorded_hash(&self, frame: Frame) -> Option<StateHash> {
        self.with_longest_log()?.log.rows().get(frame.index() as usize)?.state_hash
    }

    fn offer(
        &mut self,
        handover: &mut Handover,
        index: usize,
        mut state: AgreedState,
        recorded: StateHash,
    ) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let is_damaged = handover.random.chance(DAMAGED_PER_MILLE);
        if is_damaged {
            damage(&mut handover.random, &mut state);
        }
        let events = node.events.len();
        handover.way = match node.session.offer_state(state.clone(), recorded) {
            true => Way::Offered { state, is_damaged, events },
            // It was stepped already, or its peer is about to be let in.
            false => Way::Done,
        };
        let is_looked_at = matches!(handover.way, Way::Offered { .. });
        self.network.counts.states_damaged += u64::from(is_damaged && is_looked_at);
    }
}

/// What became of a state that was offered when this many events had happened.
fn answer<G: Game>(node: &Node<G>, events: usize) -> Option<(bool, Frame)> {
    node.events.iter().skip(events).find_map(|event| match event {
        Event::StateTaken { frame } => Some((true, *frame)),
        Event::StateRefused { frame } => Some((false, *frame)),
        _ => None,
    })
}

/// Cuts a state short or flips a bit of it; not of the frame that the observer wrote behind it.
fn damage(random: &mut Random, state: &mut AgreedState) {
    let length = state.bytes.len().saturating_sub(size_of::<u32>());
    let place = random.below(u32::try_from(length).unwrap_or(u32::MAX).max(1)) as usize;
    match random.chance(300) {
        true => state.bytes.truncate(place),
        false => {
            if let Some(byte) = state.bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// How long one that comes back waits at most before it asks for a state.
const ASKS_MAX_MS: u32 = 300;

/// When another is asked.
const ASKS_AGAIN_MS: u64 = 100;

/// How long one that is asked may take.
const ANSWER_MAX_MS: u128 = 300;

/// How long a state is under way at most.
const UNDER_WAY_MAX_MS: u32 = 300;

/// How many are damaged, of a thousand, and of how many the source is lost.
const DAMAGED_PER_MILLE: u32 = 300;
const LOST_PER_MILLE: u32 = 200;

/// After so many one that comes back asks for no more.
const REFUSED_MAX: u32 = 3;

const STREAM_HANDOVERS: u64 = 300;
