//! What is judged when a simulation is over: logs, states, ends, departures and pace.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use super::clock::TrueTime;
use super::fault_counts::FaultCounts;
use super::gallery::Gallery;
use super::kicks::Kicks;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::reference::Reference;
use super::report::{PeerReport, Report};
use super::world::{Broken, Setting};
use crate::recording::RecordedFrame;
use crate::{
    Actor, DEPTHS, End, EndCause, Event, Frame, Game, InputFlags, Item, PEERS_MAX, PLAYERS_MAX,
    PeerId, PeerSet, PlayerHandle,
};

/// All that was seen.
pub(crate) struct Judgement<'a, G: Game> {
    pub(crate) setting: &'a Setting,
    pub(crate) nodes: &'a [Node<G>],
    /// Former lives of peers that came back.
    pub(crate) former: &'a [Node<G>],
    pub(crate) gallery: &'a Gallery<G>,
    /// Who left in order.
    pub(crate) left: PeerSet,
    pub(crate) kicks: &'a Kicks,
    pub(crate) now: TrueTime,
    /// How often each fault struck.
    pub(crate) counts: FaultCounts,
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Every promise that was broken, each at its first place.
    pub(crate) fn broken(&self, reference: impl FnOnce() -> G) -> Vec<Broken> {
        let mut broken = Vec::new();
        broken.extend(self.check_desyncs().err());
        broken.extend(self.check_failures().err());
        broken.extend(self.check_ends().err());
        broken.extend(self.check_departures().err());
        broken.extend(self.check_kicks().err());
        broken.extend(self.check_pace().err());
        broken.extend(self.check_slowness().err());
        broken.extend(self.check_logs().err());
        broken.extend(self.check_pauses().err());
        let Some(longest) = self.longest() else { return broken };
        broken.extend(self.check_inputs(self.rows(longest)).err().map(|v| (None, v)));
        broken.extend(self.check_watching().err().map(|violation| (None, violation)));
        broken.extend(self.check_reference(self.rows(longest), reference).err());
        broken
    }

    pub(crate) fn report(&self) -> Report {
        let mut faults = self.counts;
        self.gallery.count(&mut faults);
        self.count_slowness(&mut faults);
        let mut rollback_depths = [0; DEPTHS];
        for node in self.nodes {
            let depths = node.session.counters().rollback.depths;
            for (sum, count) in rollback_depths.iter_mut().zip(depths) {
                *sum += count;
            }
        }
        let peer = |node: &Node<G>| PeerReport {
            peer: node.peer,
            end: node.end(),
            is_gone: node.is_crashed() || self.left.contains(node.peer),
            log: node.log.clone(),
            events: node.events.clone(),
            error: node.error.clone(),
            counters: node.session.counters(),
            failed_guesses: node.game.failed_guesses,
            refused: node.refused(),
            stepped_at: node.stepped_at.iter().map(|at| at.elapsed()).collect(),
            stalled_at: node.stalled_at.iter().map(|at| at.elapsed()).collect(),
            stood_at: node.pauses.stood_at().to_vec(),
            dump: node.dump.clone(),
            journal: node.journal.clone(),
        };
        Report {
            seed: self.setting.seed,
            peers: self.nodes.iter().map(peer).collect(),
            faults,
            rollback_depths,
            spread_max: self.spread_max(),
            lasted: self.now.elapsed(),
        }
    }

    /// Whether the peer is there no more, and was not sent away.
    pub(super) fn is_gone(&self, node: &Node<G>) -> bool {
        node.is_crashed() || self.left.contains(node.peer) || node.has_failed()
    }

    /// The rows that belong to the episode: after a desync those before it.
    pub(super) fn rows<'n>(&self, node: &'n Node<G>) -> &'n [RecordedFrame] {
        let rows = node.log.rows();
        let desync = node.end().filter(|end| end.cause == EndCause::Desync);
        let end = desync.map_or(rows.len(), |end| end.frame.index() as usize);
        rows.get(..end).unwrap_or(rows)
    }

    pub(super) fn longest(&self) -> Option<&Node<G>> {
        self.nodes.iter().max_by_key(|node| self.rows(node).len())
    }

    /// Whether the members disagreed on what came of stepping a frame, and took over what one of them had.
    fn is_disputed(&self, frame: Frame) -> bool {
        let mut events = self.nodes.iter().flat_map(|node| &node.events);
        let interval = self.setting.config.report_interval_frames();
        events.any(|event| match event {
            Event::Resynced { frame: taken, .. } => {
                let last = taken.minus(1);
                let agreed = last.minus(last.index() % interval);
                (agreed..*taken).contains(&frame)
            }
            _ => false,
        })
    }

    fn check_desyncs(&self) -> Result<(), Broken> {
        // A game whose memory was hit is not deterministic.
        if self.counts.rays > 0 {
            return Ok(());
        }
        for node in self.nodes {
            let event = node.events.iter().find(|event| matches!(event, Event::Desync(_)));
            if let Some(event) = event {
                return Err((
                    Some(node.peer),
                    Violation::new(Oracle::Desync, format!("{event:?}")),
                ));
            }
        }
        Ok(())
    }

    fn check_failures(&self) -> Result<(), Broken> {
        match self.nodes.iter().find_map(|node| Some((node, node.error.as_ref()?))) {
            None => Ok(()),
            Some((node, error)) => {
                let violation = Violation::new(Oracle::GameFailure, error.clone());
                Err((Some(node.peer), violation))
            }
        }
    }

    /// All that are present at an agreed end report the same, and recorded up to it.
    fn check_ends(&self) -> Result<(), Broken> {
        let mut agreed: Option<(PeerId, End)> = None;
        for node in self.nodes.iter().filter(|node| !node.is_crashed()) {
            let Some(end) = node.end() else {
                let violation = Violation::new(Oracle::Ends, "it never ended".into());
                return Err((Some(node.peer), violation));
            };
            let rows = node.log.rows().len();
            let recorded = end.frame.index() as usize;
            if rows < recorded || rows > recorded && end.cause != EndCause::Desync {
                let detail = format!("{rows} frames recorded, {end:?}");
                return Err((Some(node.peer), Violation::at(Oracle::Ends, end.frame, detail)));
            }
            if !end.cause.is_agreed() || self.left.contains(node.peer) {
                continue;
            }
            match agreed {
                None => agreed = Some((node.peer, end)),
                Some((_, first)) if first == end => {}
                Some((peer, first)) => {
                    let detail = format!("{end:?}, but {first:?} at {peer}");
                    return Err((Some(node.peer), Violation::new(Oracle::Ends, detail)));
                }
            }
        }
        Ok(())
    }

    /// A peer that was there departed only if it, or all who could have heard it, were silent for long.
    fn check_departures(&self) -> Result<(), Broken> {
        let limit = self.setting.config.departure_timeout() * 9 / 10;
        let kicked = self.kicks.peers();
        let others_are_gone = !self.former.is_empty()
            || !kicked.is_empty()
            || self.nodes.iter().any(|node| self.is_gone(node));
        let is_whole =
            |n: &&Node<G>| !self.is_gone(n) && n.feed.is_none() && !kicked.contains(n.peer);
        for node in self.nodes.iter().filter(is_whole) {
            let is_cut_off = node.end().is_some_and(|end| end.cause == EndCause::Partitioned);
            let says_departed = |event: &Event| matches!(event, Event::ViewChanged { departed, .. } if *departed == node.peer);
            let departed = self.nodes.iter().any(|other| other.events.iter().any(says_departed));
            if !departed && (!is_cut_off || others_are_gone) {
                continue;
            }
            // Whoever is cut off heard all, perhaps, and others nothing of each other, so that too few agreed.
            let about = self.nodes.iter().filter(|about| !departed || about.peer == node.peer);
            let silent = about.map(|about| self.silence_of(about)).max().unwrap_or_default();
            if silent < limit {
                let detail = format!("it departed; the longest silence was {silent:?}");
                return Err((Some(node.peer), Violation::new(Oracle::Departures, detail)));
            }
        }
        Ok(())
    }

    /// The longest silence between a peer and another, in either direction.
    fn silence_of(&self, node: &Node<G>) -> Duration {
        let longest = |one: &Node<G>, other: &Node<G>| {
            [(one, other), (other, one)].map(|(hearer, of)| hearer.silence.longest(of.peer))
        };
        let others = self.nodes.iter().filter(|other| other.peer != node.peer);
        // A former life may have been the one that heard nothing.
        let former = self.former.iter().filter(|other| other.peer != node.peer);
        let heard_before = former.flat_map(|other| longest(other, node));
        let heard = others.flat_map(|other| match self.is_gone(other) {
            true => longest(other, node),
            false => [(node, other), (other, node)].map(|(hearer, of)| {
                // One for whom the episode is over goes on sending until the others know it, and may not be heard.
                let over = [hearer.ended_at, of.ended_at].into_iter().flatten().min();
                let sent = hearer.ended_at.unwrap_or(self.now).min(of.silence.sent_at(hearer.peer));
                hearer.silence.longest_until(over.unwrap_or(self.now).max(sent), of.peer)
            }),
        });
        heard.chain(heard_before).max().unwrap_or(Duration::ZERO)
    }

    /// Frames pass no faster than the controller, a fast clock and a short catching-up allow.
    fn check_pace(&self) -> Result<(), Broken> {
        let period = self.setting.config.frame_duration();
        let least = period * (PACE_FRAMES * PACE_PERCENT / 100 - PACE_SLACK_FRAMES);
        // One that comes back steps what the others have behind them as fast as it can.
        for node in self.nodes.iter().filter(|node| node.feed.is_none()) {
            let later = node.stepped_at.iter().skip(PACE_FRAMES as usize);
            for (index, (from, to)) in node.stepped_at.iter().zip(later).enumerate() {
                if to.since(*from) < least {
                    let took = to.since(*from);
                    let detail = format!("{PACE_FRAMES} frames in {took:?}, at least {least:?}");
                    let frame = Frame::new(u32::try_from(index).unwrap_or(u32::MAX));
                    return Err((Some(node.peer), Violation::at(Oracle::Pace, frame, detail)));
                }
            }
        }
        Ok(())
    }

    /// Every input is the one that was given, or idle from a departure on.
    fn check_inputs(&self, rows: &[RecordedFrame]) -> Result<(), Violation> {
        let config = &self.setting.config;
        let mut idle_since: [Option<Frame>; PEERS_MAX] = [None; PEERS_MAX];
        // Before the first input nothing is done; in the gap of a delay that became longer, what was done last.
        let nothing = (config.idle_input().to_vec(), InputFlags::NONE);
        let mut last = alloc::vec![nothing.clone(); config.players()];
        let mut actors = [false; PLAYERS_MAX];
        for row in rows {
            let inputs = row.inputs.chunks_exact(config.input_width());
            for ((player, input), bits) in
                PlayerHandle::all(config.players()).zip(inputs).zip(&row.flags)
            {
                let Some(host) = self.setting.roster.host(player) else { continue };
                let Some(node) = self.nodes.iter().find(|node| node.peer == host) else { continue };
                let Some(idle) = idle_since.get_mut(host.index()) else { continue };
                let is_back =
                    |(by, item): &(PeerId, Item)| *by == host && matches!(item, Item::Join { .. });
                if row.items.iter().any(is_back) {
                    *idle = None;
                }
                let flags = InputFlags::from_bits(*bits);
                if flags.contains(InputFlags::IDLE_FILLED) {
                    idle.get_or_insert(row.frame);
                }
                let Some(given) = last.get_mut(player.index()) else { continue };
                if row.items.iter().any(is_back) {
                    given.clone_from(&nothing);
                }
                if let Some(new) = node.given.get(&(player, row.frame)) {
                    given.clone_from(new);
                }
                let is_right = match idle {
                    Some(_) => input == config.idle_input() && flags == InputFlags::IDLE_FILLED,
                    None => input == given.0 && flags == given.1,
                };
                let Some(by_policy) = actors.get_mut(player.index()) else { continue };
                *by_policy &= !row.items.iter().any(is_back);
                let is_swapped = flags.contains(InputFlags::POLICY) != *by_policy;
                *by_policy ^= is_swapped && idle.is_none();
                let actor = if *by_policy { Actor::Policy } else { Actor::Person };
                let is_said = row.items.contains(&(host, Item::Actor { player, actor }));
                if idle.is_none() && is_swapped != is_said {
                    let detail =
                        format!("{player} is driven by {actor:?}, said in {:?}", row.items);
                    return Err(Violation::at(Oracle::Inputs, row.frame, detail));
                }
                if !is_right {
                    let detail = format!(
                        "{player}: {input:?} {flags:?}, given {given:?}, idle since {idle:?}"
                    );
                    return Err(Violation::at(Oracle::Inputs, row.frame, detail));
                }
            }
        }
        Ok(())
    }

    fn check_reference(
        &self,
        rows: &[RecordedFrame],
        reference: impl FnOnce() -> G,
    ) -> Result<(), Broken> {
        let reference = Reference::run(reference(), &self.setting.config, rows);
        let reference = reference.map_err(|error| {
            (None, Violation::new(Oracle::GameFailure, format!("the reference: {error:?}")))
        })?;
        if let Some(frame) = reference.failed_at {
            let detail = "the reference could not step it".to_string();
            return Err((None, Violation::at(Oracle::GameFailure, frame, detail)));
        }
        for watcher in &self.gallery.watchers {
            let shown = watcher.spectator.current_frame().index() as usize;
            let rows = self.compared_rows(rows, self.compared_by_all());
            let rows = rows.get(..shown).unwrap_or(rows);
            let is_disputed = |frame| self.is_disputed(frame);
            let checked = reference.check(rows, &watcher.game, is_disputed);
            checked.map_err(|violation| (None, violation))?;
        }
        for node in self.nodes {
            let rows = self.compared_rows(self.rows(node), node.compared);
            reference
                .check(rows, &node.game, |frame| self.is_disputed(frame))
                .map_err(|violation| (Some(node.peer), violation))?;
            let finished = node.end().filter(|end| end.cause == EndCause::Finished);
            let finished = finished.filter(|end| self.is_compared(node.compared, end.frame));
            // The state that all took over may be the last one: there is no row for it, so the reference ends by itself.
            let finished = finished.filter(|end| !self.is_disputed(end.frame.minus(1)));
            if let Some(end) = finished.filter(|end| Some(end.frame) != reference.ended_at) {
                let detail = format!("{end:?}, expected {:?}", reference.ended_at);
                return Err((Some(node.peer), Violation::at(Oracle::Ends, end.frame, detail)));
            }
        }
        Ok(())
    }

    /// The longest time between two peers' first step of the same frame, once the clocks have settled.
    fn spread_max(&self) -> Duration {
        let whole = self.nodes.iter().filter(|node| node.feed.is_none());
        let begun = whole.clone().filter_map(|node| node.stepped_at.first()).max();
        let Some(settled) = begun.map(|begun| begun.plus_millis(SETTLED_MS)) else {
            return Duration::ZERO;
        };
        let frames = whole.clone().map(|node| node.stepped_at.len()).min().unwrap_or(0);
        let spread = |frame: usize| {
            let stepped = whole.clone().filter_map(|node| node.stepped_at.get(frame)).copied();
            let first = stepped.clone().min().filter(|first| *first >= settled)?;
            stepped.max().map(|last| last.since(first))
        };
        (0..frames).filter_map(spread).max().unwrap_or(Duration::ZERO)
    }
}

/// Over how many frames the pace is taken.
const PACE_FRAMES: u32 = 120;

/// The controller shortens frames by at most 5 %, and clocks may be 1 % fast.
const PACE_PERCENT: u32 = 93;

/// A frame that was late by up to three is caught up with.
const PACE_SLACK_FRAMES: u32 = 5;

/// After how long the clocks must have settled.
const SETTLED_MS: u64 = 3_000;
