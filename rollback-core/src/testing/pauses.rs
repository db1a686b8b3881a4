//! Pauses that are agreed: who asked for them when, who stood still where, and whether that is what was promised.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::judgement::Judgement;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::world::Broken;
use crate::{Event, Frame, Game, Item, PeerId, Stall};

/// What one peer had to do with pauses.
#[derive(Clone, Debug, Default)]
pub(crate) struct PauseLog {
    /// Its own pauses in order: when it asked for one, and when it resumed.
    pub(super) own: Vec<(TrueTime, Option<TrueTime>)>,
    /// The items of its own stream, whether or not anybody heard of them, and when they were filed.
    filed: Vec<(TrueTime, Frame, Item)>,
    /// Up to where its own stream was looked at.
    filed_end: Frame,
    /// Who departed as it agreed, when it did, and the first frame without their inputs.
    cuts: Vec<(TrueTime, PeerId, Frame)>,
    /// Where it came back, once it has.
    began_at: Option<Frame>,
    stood_at: Vec<Frame>,
}

impl PauseLog {
    pub(crate) fn note_stall(&mut self, stall: Stall, current: Frame) {
        if matches!(stall, Stall::Paused { .. }) && self.stood_at.last() != Some(&current) {
            self.stood_at.push(current);
        }
    }

    pub(crate) fn note_event(&mut self, now: TrueTime, local: PeerId, event: &Event) {
        match event {
            Event::ViewChanged { departed, cut, .. } => self.cuts.push((now, *departed, *cut)),
            Event::Joined { peer, from, .. } if *peer == local => self.began_at = Some(*from),
            _ => {}
        }
    }

    /// The frames at which it stood still.
    pub(crate) fn stood_at(&self) -> &[Frame] {
        &self.stood_at
    }

    /// The frames in which its pauses are.
    fn pauses(&self) -> impl Iterator<Item = Frame> + '_ {
        let pauses = self.filed.iter().filter(|(.., item)| *item == Item::Pause);
        pauses.map(|(_, frame, _)| *frame)
    }

    /// When it left, and at which frame it did or had the episode end: up to there is played in spite of a pause.
    fn ends(&self) -> impl Iterator<Item = (TrueTime, Frame)> + '_ {
        let is_end = |item: &Item| matches!(item, Item::Leave | Item::End { .. });
        let ends = self.filed.iter().filter(move |(.., item)| is_end(item));
        ends.map(|(at, frame, _)| (*at, *frame))
    }

    fn left_at(&self) -> Option<TrueTime> {
        self.filed.iter().find(|(.., item)| *item == Item::Leave).map(|(at, ..)| *at)
    }
}

impl<G: Game> Node<G> {
    /// Looks at what was filed here, before anybody can hear of it.
    pub(super) fn note_filed(&mut self, now: TrueTime) {
        let log = &mut self.pauses;
        let items = self.session.own_items(log.filed_end);
        log.filed.extend(items.map(|(frame, item)| (now, frame, item)));
        log.filed_end = self.session.own_end();
    }

    /// Whether it plays the frame, and is not given it as one that comes back.
    fn plays(&self, frame: Frame) -> bool {
        self.feed.is_none() || self.pauses.began_at.is_some_and(|began| frame >= began)
    }
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Whoever stood still did so at a frame that somebody's items make, and nobody went on before the pause was over for
    /// it. That holds for members that are cut off and for what nobody recorded as well; for one that comes back, from
    /// the first frame of its new life on.
    pub(crate) fn check_pauses(&self) -> Result<(), Broken> {
        for node in self.lives() {
            self.check_stands(node).map_err(|violation| (Some(node.peer), violation))?;
            for pauser in self.lives() {
                self.check_patience(node, pauser)
                    .map_err(|violation| (Some(node.peer), violation))?;
            }
        }
        Ok(())
    }

    /// All lives of all peers.
    pub(super) fn lives(&self) -> impl Iterator<Item = &Node<G>> {
        self.nodes.iter().chain(self.former)
    }

    fn check_stands(&self, node: &Node<G>) -> Result<(), Violation> {
        let window = self.setting.config.prediction_window_frames();
        let pauses = self.lives().flat_map(|life| life.pauses.pauses());
        let stops: Vec<_> = pauses.map(|frame| frame.plus(window)).collect();
        let ends = self.lives().flat_map(|life| life.pauses.ends());
        let ends = ends.chain(self.cuts(node).map(|(at, _, cut)| (at, cut)));
        let needed: Vec<_> = ends.map(|(_, frame)| frame.next()).collect();
        let is_agreed = |at: &Frame| stops.contains(at) || needed.contains(at);
        let mut stands = node.pauses.stood_at.iter().filter(|at| node.plays(**at));
        match stands.find(|at| !is_agreed(at)) {
            None => Ok(()),
            Some(at) => {
                let detail = format!("stood still there; agreed were {stops:?}, needed {needed:?}");
                Err(Violation::at(Oracle::Pauses, *at, detail))
            }
        }
    }

    /// `node` steps nothing beyond the agreed frame until `pauser` resumes, leaves, or departs as `node` knows: but up to
    /// where it knows that a stream or the episode ends.
    fn check_patience(&self, node: &Node<G>, pauser: &Node<G>) -> Result<(), Violation> {
        let window = self.setting.config.prediction_window_frames();
        let began = pauser.pauses.began_at.unwrap_or_default();
        let departed =
            self.cuts(node).filter(|(_, peer, cut)| *peer == pauser.peer && *cut >= began);
        let gone = departed.map(|(at, ..)| at).chain(pauser.pauses.left_at()).min();
        for (paused, (_, resumed)) in pauser.pauses.pauses().zip(&pauser.pauses.own) {
            let over = (*resumed).into_iter().chain(gone).min();
            let stop = paused.plus(window);
            let stepped = node.stepped_at.iter().zip(Frame::ZERO.until(Frame::MAX));
            let is_early = |(at, frame): &(&TrueTime, Frame)| {
                let is_held = node.plays(*frame) && over.is_none_or(|over| **at < over);
                is_held && !self.is_needed(node, **at, *frame)
            };
            if let Some((at, frame)) = stepped.skip(stop.index() as usize).find(is_early) {
                let detail = format!(
                    "stepped at {:?} in the pause of {} from {stop} on, which was over at {:?}",
                    at.elapsed(),
                    pauser.peer,
                    over.map(TrueTime::elapsed),
                );
                return Err(Violation::at(Oracle::Pauses, frame, detail));
            }
        }
        Ok(())
    }

    /// Whether `node` may have known by then that a stream or the episode ends at this frame or later.
    fn is_needed(&self, node: &Node<G>, by: TrueTime, frame: Frame) -> bool {
        let ends = self.lives().flat_map(|life| life.pauses.ends());
        let cuts = self.cuts(node).map(|(at, _, cut)| (at, cut));
        ends.chain(cuts).any(|(at, end)| at <= by && end >= frame)
    }

    /// The departures that `node` knows of: those that it agreed on, and as one that came back those before its new life.
    fn cuts<'n>(
        &'n self,
        node: &'n Node<G>,
    ) -> impl Iterator<Item = (TrueTime, PeerId, Frame)> + 'n {
        let came_back = |cut: Frame| node.pauses.began_at.is_some_and(|began| cut < began);
        let recorded = self.lives().flat_map(|life| &life.pauses.cuts);
        let recorded = recorded.filter(move |(.., cut)| came_back(*cut));
        node.pauses.cuts.iter().chain(recorded).copied()
    }
}
