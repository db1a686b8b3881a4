//! Pauses that are agreed: who asked for them when, who stood still where, and whether that is what was promised.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::judgement::Judgement;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::stable_log::StableRow;
use super::world::Broken;
use crate::{Event, Frame, Game, InputFlags, Item, Stall};

/// What one peer had to do with pauses.
#[derive(Clone, Debug, Default)]
pub(crate) struct PauseLog {
    /// Its own pauses in order: when it asked for one, and when it resumed.
    pub(super) own: Vec<(TrueTime, Option<TrueTime>)>,
    stood_at: Vec<Frame>,
}

impl PauseLog {
    pub(crate) fn note_stall(&mut self, stall: Stall, current: Frame) {
        if matches!(stall, Stall::Paused { .. }) && self.stood_at.last() != Some(&current) {
            self.stood_at.push(current);
        }
    }

    /// The frames at which it stood still.
    pub(crate) fn stood_at(&self) -> &[Frame] {
        &self.stood_at
    }
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Whoever stood still did so at a frame that the recorded items make, and nobody went on before the pause was over.
    pub(crate) fn check_pauses(&self) -> Result<(), Broken> {
        let Some(longest) = self.longest() else { return Ok(()) };
        let rows = self.rows(longest);
        let window = self.setting.config.prediction_window_frames();
        let needed = self.needed(rows);
        let pauses: Vec<_> = rows
            .iter()
            .flat_map(|row| row.items.iter().map(|(by, item)| (row.frame, *by, *item)))
            .filter(|(_, _, item)| *item == Item::Pause)
            .map(|(frame, by, _)| (frame.plus(window), by))
            .collect();
        // One that comes back may be given frames beyond a pause before it hears that the pause is over.
        for node in self.nodes.iter().filter(|node| node.feed.is_none()) {
            let is_agreed =
                |at: &Frame| needed.contains(at) || pauses.iter().any(|(stop, _)| stop == at);
            // What a peer that was cut off heard last may not have been recorded by anybody.
            let ended = node.end().is_none_or(|end| end.cause.is_agreed());
            let wrong = node.pauses.stood_at.iter().find(|at| !is_agreed(at)).filter(|_| ended);
            if let Some(at) = wrong.filter(|at| at.index() as usize + 1 < rows.len()) {
                let detail =
                    format!("stood still there; agreed were {pauses:?}, needed {needed:?}");
                return Err((Some(node.peer), Violation::at(Oracle::Pauses, *at, detail)));
            }
        }
        let lasting = self.nodes.iter().filter(|node| !self.is_gone(node) && node.feed.is_none());
        for pauser in lasting {
            let stops = pauses.iter().filter(|(_, by)| *by == pauser.peer).map(|(stop, _)| *stop);
            for (stop, (_, resumed)) in stops.zip(&pauser.pauses.own) {
                let Some(resumed) = resumed.filter(|_| !needed.iter().any(|at| *at > stop)) else {
                    continue;
                };
                let stepped = |node: &&Node<G>| {
                    node.stepped_at.get(stop.index() as usize).is_some_and(|at| *at < resumed)
                };
                if let Some(node) = self.nodes.iter().find(stepped) {
                    let detail = format!("{} resumed only at {:?}", pauser.peer, resumed.elapsed());
                    return Err((Some(node.peer), Violation::at(Oracle::Pauses, stop, detail)));
                }
            }
        }
        Ok(())
    }

    /// Up to where frames are stepped in spite of a pause: where the inputs of a peer end, and the last one.
    fn needed(&self, rows: &[StableRow]) -> Vec<Frame> {
        let is_idle = |bits: &u8| InputFlags::from_bits(*bits).contains(InputFlags::IDLE_FILLED);
        let mut count = 0;
        // One that came back and gave no input before it was gone again has no first idle frame.
        let cut = |event: &Event| match event {
            Event::ViewChanged { cut, .. } => Some(cut.next()),
            _ => None,
        };
        let events = self.nodes.iter().flat_map(|node| &node.events);
        let mut needed: Vec<Frame> = events.filter_map(cut).collect();
        for row in rows {
            let idle = row.flags.iter().filter(|bits| is_idle(bits)).count();
            if idle > count {
                needed.push(row.frame.next());
            }
            count = idle;
        }
        needed
    }
}
