//! What each fault does to its peer, or to the network, when its time has come.

use core::fmt::Debug;

use super::clock::TrueTime;
use super::faults::{Fault, Planned};
use super::node::Node;
use super::world::World;
use crate::config::REPORTS_PENDING_MAX;
use crate::{Advance, AdvanceError, Event, Frame, Game, PeerId, Stall};

impl<G: Game<Error: Debug>> World<'_, G> {
    /// Lets the faults strike whose time has come.
    pub(super) fn strike(&mut self) {
        while self.schedule.front().is_some_and(|planned| planned.at <= self.now) {
            let Some(planned) = self.schedule.pop_front() else { return };
            let until = planned.at.plus_millis(planned.fault.lasts_ms().into());
            match planned.fault {
                Fault::Partition { side, .. } => self.network.part(side, until),
                Fault::Mute { from, to, .. } => self.network.mute(from, to, until),
                Fault::Return(peer) => self.bring_back(peer),
                Fault::Kick { by, peer } => _ = self.kick(by, peer),
                Fault::Crash(peer)
                | Fault::Leave(peer)
                | Fault::Pause { peer, .. }
                | Fault::AgreedPause { peer, .. }
                | Fault::Resume(peer)
                | Fault::SwapActor(peer)
                | Fault::SetDelay { peer, .. }
                | Fault::Slow { peer, .. }
                | Fault::ProposeDelay { peer, .. }
                | Fault::Ray { peer, .. }
                | Fault::Decide { peer, .. }
                | Fault::ProposeEnd { peer, .. } => self.strike_peer(peer, planned.fault, until),
            }
        }
    }

    /// Lets a fault strike a peer, if it is still there.
    fn strike_peer(&mut self, struck: PeerId, fault: Fault, until: TrueTime) {
        let is_there =
            |node: &&mut Node<G>| node.peer == struck && !node.is_closed() && node.end().is_none();
        let Some(node) = self.nodes.iter_mut().find(is_there) else { return };
        let counts = &mut self.network.counts;
        match fault {
            Fault::Crash(_) => {
                node.crash();
                counts.crashes += 1;
            }
            Fault::Leave(peer) => {
                node.session.leave();
                self.left.insert(peer);
                counts.leaves += 1;
            }
            Fault::Pause { .. } => {
                node.stand_still(until);
                counts.pauses += 1;
            }
            Fault::Slow { step_percent, .. } => {
                node.slow_down(&self.setting.config, step_percent, until);
                counts.slow_machines += 1;
            }
            Fault::AgreedPause { peer, .. } => {
                if node.pause(self.now) {
                    counts.agreed_pauses += 1;
                    let resumed = Planned { at: until, fault: Fault::Resume(peer) };
                    let index = self.schedule.partition_point(|other| other.at <= until);
                    self.schedule.insert(index, resumed);
                }
            }
            Fault::Resume(_) => node.resume(self.now),
            Fault::SwapActor(_) => {
                node.swap_actor();
                counts.actor_swaps += 1;
            }
            Fault::SetDelay { frames, .. } => {
                node.set_input_delay(frames.into());
                counts.delay_changes += 1;
            }
            Fault::ProposeDelay { frames, .. } => {
                node.session.propose_input_delay(frames);
                counts.delay_changes += 1;
            }
            // One that steps what was recorded would see that it cannot play.
            Fault::Ray { .. } if node.is_outside() => {}
            Fault::Ray { peer, bit } => {
                // Each peer has a bit of each byte to itself: two machines with the same damage could not tell.
                let is_flipped = node.game.flip(bit / 8 * 8 + u32::from(peer.slot()) % 8);
                node.is_struck |= is_flipped;
                counts.rays += u64::from(is_flipped);
            }
            Fault::Decide { resyncs: true, .. } => _ = node.session.resync(),
            Fault::Decide { resyncs: false, .. } => _ = node.session.end_disputed(),
            Fault::ProposeEnd { code, .. } => {
                node.session.propose_end(code);
            }
            Fault::Partition { .. }
            | Fault::Mute { .. }
            | Fault::Return(_)
            | Fault::Kick { .. } => {}
        }
    }
}

impl<G: Game<Error: Debug>> Node<G> {
    /// Whether it cannot play on: its game failed, or its state is not the others'.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some() || self.is_misfit
    }

    /// Whether it steps more than a rollback needs: as it searches, and until all agree on what followed, since whoever takes a state
    /// over, or gives the search up, steps again all that follows on an old report.
    pub(super) fn is_searching(&self, advance: &Result<Advance, AdvanceError<G::Error>>) -> bool {
        let reports = u32::try_from(REPORTS_PENDING_MAX).unwrap_or_default() + 1;
        let pending = self.report_interval * reports;
        let agreed = self.session.agreed().end();
        let has_searched = self.searched_at.is_some_and(|frame| agreed < frame.plus(pending));
        has_searched || matches!(advance, Ok(Advance::Stalled(Stall::SearchingDesync)))
    }

    /// Takes note that a state of a later frame was taken over: what a game that had ended too early did not step is skipped.
    pub(super) fn note_taken_over(&mut self, now: TrueTime, frame: Frame) {
        let taken = self.events.iter().rev().find_map(|event| match event {
            Event::Resynced { frame, .. } => Some(*frame),
            _ => None,
        });
        let skipped = taken.unwrap_or_default().min(frame).index() as usize;
        self.stepped_at.resize(self.stepped_at.len().max(skipped), now);
    }
}
