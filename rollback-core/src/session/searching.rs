//! Searches for the first frame at which the members' states differ: steps it again, and tells the others what it finds.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::episode::{Episode, Phase};
use super::links::Links;
use super::{Advance, EndCause, Event, Session, Stall};
use crate::desync::Disagreement;
use crate::journal::Witness;
use crate::narrowing::Pages;
use crate::search::{Desync, Findings, Search};
use crate::wire::Control;
use crate::{
    DesyncDump, DumpedRow, DumpedState, Frame, Game, GameError, OnDesync, PeerId, STATE_BYTES_MAX,
    StateHash, Timestamp,
};

impl<G: Game> Episode<G> {
    #[inline(never)]
    pub(super) fn start_search(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
        disagreement: Disagreement,
    ) -> Result<(), GameError<G::Error>> {
        let agreed = self.links.reports.agreed_frame(self.links.others());
        self.rollback.agreed(agreed);
        let mut hashes = Vec::new();
        let queue = &mut self.links.queue;
        self.rollback.replay(game, queue, disagreement.frame, |hash, output| {
            hashes.push(short_hash(hash) ^ output.short());
        })?;
        let reports = self.links.reports.between(agreed, disagreement.frame);
        let search = Search::new(disagreement, (agreed, hashes), reports);
        self.links.search = Some(Box::new(search));
        self.phase = Phase::Searching { since: now };
        Ok(())
    }

    /// One round of the search for the first frame at which the states part.
    #[inline(never)]
    pub(super) fn search(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, GameError<G::Error>> {
        let ends = self.links.config.on_desync() == OnDesync::End;
        if !ends {
            self.note_silence(now);
            self.update_members(now);
            if let Some(end) = self.end() {
                return Ok(Advance::Ended(end));
            }
        }
        if self.join_dispute(now, game) {
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        }
        let is_late = now.since(since) >= self.links.config.departure_timeout();
        if self.gives_more_inputs() && !is_late {
            return self.hold_ended(game);
        }
        let Some(search) = &mut self.links.search else {
            return Ok(Advance::Stalled(Stall::Closing));
        };
        if let (Some(Some(frame)), None) = (search.first_bad(), &search.leaves) {
            let queue = &mut self.links.queue;
            // A game that cannot be replayed a second time still has its frame named.
            let replayed = self.rollback.replay(game, queue, frame, |_, _| {}).ok();
            let leaves = replayed.as_ref().map(|replayed| replayed.leaves(game));
            search.leaves = Some((frame, leaves.unwrap_or_default()));
            search.pages = Some(Pages::new(replayed.and_then(|replayed| replayed.export(game))));
        }
        let others = self.links.membership.view().members.without(self.links.local);
        let Disagreement { peer, frame, .. } = search.disagreement;
        if !ends && !others.contains(peer) {
            // Who goes on as it is has not voted, so nobody can have taken a state over.
            let others_agree = search.others_agree(others);
            if others_agree == Some(true) || search.is_settled_for_one(others) {
                return self.give_up_search(game, frame);
            }
            if others_agree.is_none() && !is_late {
                return Ok(Advance::Stalled(Stall::SearchingDesync));
            }
        }
        // Before its new life this peer has no say: where the others agree without it, theirs is the state that counts.
        let is_going = self.links.membership.frozen_members().contains(peer);
        let is_settled = search.is_settled_without(others) && !is_going;
        if !ends && is_settled && self.links.begins_at.is_some_and(|from| frame < from) {
            self.differs_at = Some(frame);
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        }
        let has_heard_all = search.has_heard_all(others);
        let finding = search.finding().filter(|_| has_heard_all);
        // Where all play on, all must know from where.
        let is_late = is_late && (ends || has_heard_all);
        let finding = finding.or(is_late.then(|| search.late_finding()));
        let Some(finding) = finding else {
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        };
        let agreed = search.agreed(others);
        let inputs_are_equal = search.inputs_are_equal();
        let desync = Desync { peer, agreed, reported: frame, inputs_are_equal, finding };
        self.dump = Some(Box::new(self.dump_of(game, &desync)));
        self.links.events.push(Event::Desync(desync));
        if !ends {
            self.begin_dispute(now, game, agreed);
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        }
        if let Some(search) = &mut self.links.search {
            search.raise_agreed(agreed);
        }
        Ok(self.end_by_desync(now, agreed))
    }

    /// Ends the episode where all last agreed.
    pub(super) fn end_by_desync(&mut self, now: Timestamp, agreed: Frame) -> Advance {
        self.ledger.agreed = agreed;
        // Whoever agrees with a state has confirmed all frames before it.
        self.ledger.stable = self.ledger.stable.max(agreed);
        self.finish(now, agreed, EndCause::Desync, None)
    }

    /// Lets a frame pass that is only held.
    fn hold_ended(&mut self, game: &mut Witness<'_, G>) -> Result<Advance, GameError<G::Error>> {
        let (frame, queue) = (self.rollback.current(), &mut self.links.queue);
        let room = queue
            .last_room()
            .min(queue.confirmed_end().plus(self.links.config.prediction_window_frames()));
        if self.local_inputs.missing(frame).is_some() || frame >= room {
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        }
        self.rollback.step(game, queue, self.predictor.as_mut())?;
        self.frames += 1;
        Ok(Advance::Held { frame, rolled_back: 0 })
    }

    /// Plays on, since the member whose state differed is gone and all others agree.
    pub(super) fn give_up_search(
        &mut self,
        game: &mut Witness<'_, G>,
        reported: Frame,
    ) -> Result<Advance, GameError<G::Error>> {
        self.rollback.resume_from(game, &mut self.links.queue, reported)?;
        self.links.search = None;
        self.links.reports.look_again();
        self.phase = Phase::Playing;
        Ok(Advance::Stalled(Stall::SearchingDesync))
    }

    /// This side of a desync: the states at hand, and all rows that are kept.
    fn dump_of(&mut self, game: &mut Witness<'_, G>, desync: &Desync) -> DesyncDump {
        let mut states = Vec::new();
        let replayed = self.links.search.as_deref().and_then(Search::replayed);
        states.extend(replayed.map(|(frame, bytes)| DumpedState {
            frame,
            is_replayed: true,
            bytes: bytes.to_vec(),
        }));
        let frame = desync.reported;
        let reported = self.rollback.export_reported(game, frame);
        let reported = reported.filter(|bytes| bytes.len() <= STATE_BYTES_MAX);
        states.extend(reported.map(|bytes| DumpedState { frame, is_replayed: false, bytes }));
        let queue = &mut self.links.queue;
        let frames = queue.floor().until(frame.min(queue.confirmed_end()));
        let row = |frame| {
            let row = queue.row(frame);
            DumpedRow { frame, inputs: row.inputs.to_vec(), flags: row.flags.to_vec() }
        };
        let rows = frames.map(row).collect();
        DesyncDump {
            session: self.links.ticket.session,
            episode: self.links.ticket.episode,
            peer: self.links.local,
            agreed: desync.agreed,
            states,
            players: u8::try_from(self.links.config.players()).unwrap_or(u8::MAX),
            rows,
        }
    }
}

impl Links {
    /// Takes what a member says while the first bad frame is searched for.
    pub(super) fn handle_search(&mut self, from: PeerId, message: Control) {
        let Some(search) = &mut self.search else {
            if let Control::DesyncFindings(findings) = message {
                self.note_search_of(from, &findings);
            }
            return;
        };
        let is_other = search.disagreement.peer == from;
        match message {
            Control::DesyncFindings(findings) => search.handle_findings(from, findings),
            Control::DesyncLeaves(leaves) if is_other => search.handle_leaves(&leaves),
            Control::DesyncPages(pages) if is_other => search.handle_pages(&pages),
            _ => {}
        }
    }

    /// A member searches for a difference in a state on which all agree here: the member that differed has gone before it was heard
    /// here. Where all may play on after a desync, the searching one is told so.
    fn note_search_of(&mut self, from: PeerId, findings: &Findings) {
        let others = self.others();
        // One that has no hashes does not search: this is its answer, which has come late.
        let is_searching = !findings.hashes.is_empty();
        if self.config.on_desync() == OnDesync::End
            || self.resync.is_some()
            || !others.contains(from)
            || !is_searching
        {
            return;
        }
        let is_agreed = self.reports.agreed_frame(others).next() >= findings.end();
        match is_agreed {
            true => _ = self.agreements_owed.insert(from),
            false => self.agreements_owed.remove(from),
        }
    }

    /// Tells those that search for what differs in states on which all agree here.
    pub(super) fn tell_agreement(&mut self) {
        let others = self.others();
        for peer in core::mem::take(&mut self.agreements_owed).iter() {
            let agreed = self.reports.agreed_frame(others);
            let answer = Findings { agreed, ..Findings::default() };
            self.control.push_back((peer, Control::DesyncFindings(answer)));
        }
    }
}

impl<G: Game> Session<G> {
    /// This side of the desync that was told last, once: to be written beside the recording and looked at later.
    pub fn take_desync_dump(&mut self) -> Option<DesyncDump> {
        self.episode.dump.take().map(|dump| *dump)
    }
}

/// The part of a hash that the search compares.
fn short_hash(hash: StateHash) -> u32 {
    let [a, b, c, d, ..] = hash.to_bytes();
    u32::from_le_bytes([a, b, c, d])
}
