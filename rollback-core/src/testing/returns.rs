//! Peers that come back into their slot: their former life is put aside, and they are given what the others recorded.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::handovers::Handover;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::random::Random;
use super::world::{Broken, World};
use crate::recording::RecordedFrame;
use crate::{Event, Frame, Game, PeerId, PeerSet};

/// What a peer is given of what the others recorded, as by a bulk channel: in order, late, and not all at once.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    /// Which life of its slot it lives.
    pub(super) incarnation: u8,
    latency_micros: u64,
    /// How many frames the longest recording had, and when.
    seen: VecDeque<(TrueTime, usize)>,
    given: usize,
    /// How long it takes to step a frame, where that takes so long that a state is worth having.
    step_micros: u64,
    /// How it comes by a state, where it asks for one.
    pub(super) handover: Option<Handover>,
}

impl<G: Game<Error: Debug>> Node<G> {
    /// Whether it has come back and was not let in.
    pub(crate) fn is_outside(&self) -> bool {
        self.feed.is_some() && !self.events.iter().any(|event| matches!(event, Event::Started))
    }

    /// Whether it takes part, for all that it knows.
    pub(super) fn is_playing(&self) -> bool {
        !self.is_closed() && self.end().is_none() && !self.is_outside()
    }

    /// It steps what was recorded at a multiple of real time, or in none.
    pub(super) fn take_time(&mut self, now: TrueTime) {
        let micros = self.feed.as_ref().map_or(0, |feed| feed.step_micros);
        if micros > 0 && self.is_outside() {
            self.keep_busy(now.plus_micros(micros));
        }
    }

    /// Takes note of the frames that the last call passed over: they follow on those that were stepped.
    pub(super) fn note_passed(&mut self, now: TrueTime) {
        let passed = core::mem::replace(&mut self.passed, self.session.counters().passed);
        let count = u32::try_from(self.passed - passed).unwrap_or(u32::MAX);
        if count > 0 {
            let first = u32::try_from(self.stepped_at.len()).unwrap_or(u32::MAX);
            let first = Frame::new(first);
            self.game.skip(first..first.plus(count));
            self.stepped_at.resize(self.stepped_at.len() + count as usize, now);
        }
    }

    /// What its former life filed from where the new one begins on is in no recording.
    pub(super) fn note_return(&mut self, event: &Event) {
        if let Event::Joined { peer, from, .. } = *event
            && peer == self.peer
        {
            self.given.retain(|(_, frame), _| *frame < from);
        }
    }
}

impl<G: Game<Error: Debug>> World<'_, G> {
    /// Lets a peer that is gone begin a new life, if there is anybody left to come back to.
    pub(super) fn bring_back(&mut self, peer: PeerId) {
        let is_playing = |node: &Node<G>| node.peer != peer && node.is_playing();
        if !self.nodes.iter().any(is_playing) {
            return;
        }
        let former = self.nodes.iter().position(|node| node.peer == peer);
        let is_late = former.is_none() && self.setting.config.late_peers().contains(peer);
        if former.is_none() && !is_late {
            return;
        }
        if let Some(former) = former.and_then(|index| self.nodes.get(index)) {
            // One whose former life went on without those who play now has another past than they.
            let players: PeerSet =
                self.nodes.iter().filter(|n| is_playing(n)).map(|n| n.peer).collect();
            let shared = players.is_subset_of(former.session.view().members);
            if !former.is_closed() || !shared {
                return;
            }
        }
        let former = former.map(|index| self.nodes.swap_remove(index));
        let incarnation = former.as_ref().map_or(0, Node::incarnation) + 1;
        self.network.restore(peer);
        let Some(mut node) = self.node(peer, incarnation) else { return };
        let latency_micros = u64::from(self.random.between(0, FEED_LATENCY_MAX_MS)) * 1000;
        // Drawn apart, so that what a seed meant before this was thought of it means still.
        let seed = self.setting.seed ^ u64::from(incarnation) << 32;
        let mut apart = Random::new(seed, STREAM_STATES + u64::from(peer.slot()));
        let asks = apart.chance(self.setting.faults.states_per_mille);
        let handover = asks.then(|| Handover::new(seed, peer, self.now));
        let period = self.setting.config.frame_duration().as_micros();
        let step_micros = if asks { u64::try_from(period / 4).unwrap_or(0) } else { 0 };
        let seen = VecDeque::new();
        node.feed =
            Some(Feed { incarnation, latency_micros, seen, given: 0, step_micros, handover });
        if let Some(former) = former {
            node.given.clone_from(&former.given);
            self.former.push(former);
        }
        self.left.remove(peer);
        let is_opened = self.setting.seed.is_multiple_of(2);
        let (mut was_closed, mut is_expected) = (false, false);
        for other in self.nodes.iter_mut().filter(|other| !other.is_closed()) {
            other.kicked.remove(peer);
            was_closed |= is_opened && other.session.reserve_slot(peer);
            is_expected |= other.session.readmit(peer, incarnation);
        }
        let counts = &mut self.network.counts;
        counts.reopened += u64::from(was_closed);
        counts.returns += 1;
        counts.late += u64::from(is_late);
        if !is_expected {
            counts.refused += 1;
            self.kicks.refused.push((peer, incarnation));
        }
        self.nodes.push(node);
        self.nodes.sort_by_key(|node| node.peer);
    }

    /// Gives those that come back what was recorded.
    pub(super) fn feed(&mut self) -> Result<(), Broken> {
        for index in 0..self.nodes.len() {
            let is_fed = self.nodes.get(index).is_some_and(|node| {
                let wakes = node.wakes_at().is_some_and(|at| at <= self.now);
                wakes && node.is_outside()
            });
            if !is_fed {
                continue;
            }
            self.hand_over(index)?;
            let Some(source) = self.with_longest_log() else { continue };
            let (longest, is_struck) = (source.log.rows(), source.is_struck);
            let Some(feed) = self.nodes.get(index).and_then(|node| node.feed.as_ref()) else {
                continue;
            };
            let rows: Vec<RecordedFrame> =
                longest.iter().skip(feed.given).take(ROWS_AT_ONCE).cloned().collect();
            let (now, length) = (self.now, longest.len());
            if let Some(node) = self.nodes.get_mut(index) {
                let peer = node.peer;
                // What it records may be agreed on by nobody.
                node.is_struck |= is_struck && !rows.is_empty();
                give(node, now, length, &rows).map_err(|violation| (Some(peer), violation))?;
            }
        }
        Ok(())
    }

    /// Who plays and has recorded most: who has left may have recorded at last what nobody else agreed on, and gives nothing more.
    pub(super) fn with_longest_log(&self) -> Option<&Node<G>> {
        let playing = self.nodes.iter().filter(|node| node.is_playing());
        playing.max_by_key(|node| node.log.rows().len())
    }

    /// The episode is about to end: those that were not let in go.
    pub(super) fn give_up_outside(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.feed.is_some()) {
            match node.is_outside() {
                true => node.crash(),
                false => self.network.counts.let_in += 1,
            }
        }
    }
}

/// Gives a peer the next rows that have come to it by now.
fn give<G: Game<Error: Debug>>(
    node: &mut Node<G>,
    now: TrueTime,
    length: usize,
    rows: &[RecordedFrame],
) -> Result<(), Violation> {
    let Some(feed) = &mut node.feed else { return Ok(()) };
    feed.seen.push_back((now, length));
    let has_come = |at: TrueTime| at.plus_micros(feed.latency_micros) <= now;
    let come = feed.seen.iter().take_while(|(at, _)| has_come(*at)).last().map_or(0, |(_, n)| *n);
    while feed.seen.get(1).is_some_and(|(at, _)| has_come(*at)) {
        feed.seen.pop_front();
    }
    for row in rows.iter().take(come.saturating_sub(feed.given)) {
        match node.session.backfill(&row.as_stable(), true) {
            Ok(true) => feed.given += 1,
            Ok(false) => return Ok(()),
            Err(error) => {
                return Err(Violation::at(Oracle::Errors, row.frame, format!("{error}")));
            }
        }
    }
    Ok(())
}

/// How late what was recorded comes.
const FEED_LATENCY_MAX_MS: u32 = 150;

/// How many rows are given before a call.
const ROWS_AT_ONCE: usize = 8;

const STREAM_STATES: u64 = 400;
