//! A dispute after a desync, where the episode goes on: all stop, take over one member's state, and play on from it.

use alloc::boxed::Box;

use super::episode::{Episode, Phase};
use super::links::Links;
use super::{Advance, AdvanceError, Event, Session, Stall};
use crate::desync::Report;
use crate::journal::{Entry, Witness};
use crate::resync::{Decision, Keyframe, NUMBERS_APART, Resync, Ruling, Vote};
use crate::wire::Control;
use crate::{Chain, Frame, Game, OnDesync, PeerId, PeerSet, Timestamp};

impl<G: Game> Session<G> {
    /// Says, in a dispute, that all are to take over the majority's state, and play on. It is done when every member has said
    /// so. Answers whether this was still to be said, and the game can write and read its states.
    pub fn resync(&mut self) -> bool {
        self.note(&Entry::Resync);
        self.episode.decide(Decision::Resync)
    }

    /// Ends, in a dispute, the episode for all, where they last agreed. Answers whether this was still to be said.
    pub fn end_disputed(&mut self) -> bool {
        self.note(&Entry::EndDisputed);
        self.episode.decide(Decision::End)
    }
}

impl<G: Game> Episode<G> {
    pub(super) fn decide(&mut self, decision: Decision) -> bool {
        let is_disputed = self.phase == Phase::Disputed;
        let Some(resync) = self.links.resync.as_mut().filter(|_| is_disputed) else { return false };
        let can = decision == Decision::End || resync.offer.is_some();
        let is_open = resync.own.decision == Decision::Open && can;
        if is_open {
            resync.own.decision = decision;
        }
        is_open
    }

    /// The search is over, and all know that all agree up to `agreed`.
    pub(super) fn begin_dispute(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
        agreed: Frame,
    ) {
        self.rollback.agreed(agreed);
        let own = self.own_state(game, agreed);
        let offer = own.as_ref().and_then(|(_, keyframe)| keyframe.as_ref()?.encode());
        let (agreed_number, number) = self.links.reports.numbers_around(agreed);
        let (vote, can) = match own {
            Some((vote, _)) => (Vote { number, ..vote }, offer.is_some()),
            None => (Vote { number, ..Vote::NONE }, false),
        };
        // One that has left meanwhile will say no more.
        let is_leaving = self.links.queue.closed(self.links.local).is_some();
        let decision = match self.links.config.on_desync() {
            OnDesync::Pause if is_leaving => Decision::End,
            OnDesync::Pause => Decision::Open,
            OnDesync::Resync(_) if can => Decision::Resync,
            OnDesync::Resync(_) | OnDesync::End => Decision::End,
        };
        let vote = Vote { decision, ..vote };
        self.links.resync = Some(Box::new(Resync::new(agreed_number, vote, offer, now)));
        self.phase = Phase::Disputed;
    }

    /// The own state in dispute, and all that another needs to take it over.
    fn own_state(
        &mut self,
        game: &mut Witness<'_, G>,
        agreed: Frame,
    ) -> Option<(Vote, Option<Keyframe>)> {
        let frame = self.links.reports.first_after(agreed)?;
        let hash = self.rollback.hash_reported(game, frame)?;
        let outputs = agreed.until(frame).map(|frame| self.rollback.output(frame).to_vec());
        let outputs: alloc::vec::Vec<_> = outputs.collect();
        let has_ended = self.rollback.ended_at() == Some(frame);
        let chain = Chain::default().link(&[has_ended.into()]);
        let chain = outputs.iter().fold(chain, |chain, output| chain.link(output));
        let vote = Vote { state: hash, outputs: chain.to_u64(), ..Vote::NONE };
        let state = self.rollback.export_reported(game, frame);
        let source = self.links.local;
        let keyframe =
            state.map(|state| Keyframe { source, agreed, frame, has_ended, hash, outputs, state });
        Some((vote, keyframe))
    }

    /// One round of a dispute.
    #[inline(never)]
    pub(super) fn dispute(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        self.note_silence(now);
        self.update_members(now);
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        let (others, policy, local) =
            (self.links.others(), self.links.config.on_desync(), self.links.local);
        if let Some(search) = self.links.search.as_ref().filter(|it| it.is_settled_for_one(others))
            && !others.contains(search.disagreement.peer)
        {
            // One of them goes on as it is, and has not voted, so nobody has taken a state over.
            let reported = search.disagreement.frame;
            self.links.resync = None;
            let given_up = self.give_up_search(game, reported);
            return given_up.map_err(|error| self.fail(now, error));
        }
        let voters = self.links.voters();
        let Some(resync) = &mut self.links.resync else { return Ok(self.end_at_agreed(now)) };
        match resync.ruling(local, voters, policy) {
            Ruling::End => Ok(self.end_at_agreed(now)),
            Ruling::Open => Ok(Advance::Stalled(Stall::Disputed(resync.undecided(local, voters)))),
            Ruling::Take(source) => {
                resync.turn_to(source);
                let whole = match source == local {
                    true => resync.offer.as_ref(),
                    false => resync.received.as_ref(),
                };
                match whole.map(|whole| Keyframe::decode(whole)) {
                    Some(Some(keyframe)) => self.take_over(now, game, keyframe),
                    Some(None) => {
                        resync.received = None;
                        Ok(Advance::Stalled(Stall::Resyncing(source)))
                    }
                    None => Ok(Advance::Stalled(Stall::Resyncing(source))),
                }
            }
        }
    }

    fn end_at_agreed(&mut self, now: Timestamp) -> Advance {
        let agreed = self.links.resync.as_ref().and_then(|resync| {
            let report = self.links.reports.numbered(resync.agreed_number)?;
            Some(report.frame)
        });
        self.end_by_desync(now, agreed.unwrap_or(self.ledger.agreed))
    }

    /// Goes back to a state that another simulated, and on from it.
    fn take_over(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
        keyframe: Keyframe,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        let stalled = Ok(Advance::Stalled(Stall::Resyncing(keyframe.source)));
        let Some(resync) = &mut self.links.resync else { return stalled };
        let (agreed_number, number) = (resync.agreed_number, resync.own.number);
        let agreed = self.links.reports.numbered(agreed_number);
        let Some(agreed) = agreed.filter(|report| report.frame == keyframe.agreed) else {
            resync.received = None;
            return stalled;
        };
        // Inputs before it that were lost are on their way.
        if keyframe.frame > self.links.queue.confirmed_end() {
            return stalled;
        }
        let taken = self.rollback.take_over(game, &mut self.links.queue, &keyframe);
        match taken {
            Ok(true) => {}
            Ok(false) => {
                // What all are to have is not to be had here, and asking again would not change it.
                self.begin_failing(now, keyframe.frame);
                return Err(AdvanceError::Unreadable { frame: keyframe.frame });
            }
            Err(error) => return Err(self.fail(now, error)),
        }
        if let Some(received) = resync.received.take() {
            resync.offer = Some(received);
        }
        resync.is_adopted = true;
        self.links.reports.rewind(agreed_number, number + NUMBERS_APART);
        self.ledger.rewind(agreed.frame, agreed.inputs);
        let (source, frame) = (keyframe.source, keyframe.frame);
        let attempts = (number - agreed_number - 1) / NUMBERS_APART + 1;
        let attempts = u8::try_from(attempts).unwrap_or(u8::MAX);
        self.ledger.note_keyframe(keyframe, attempts);
        // It is reported at once: nothing that is stepped on from it may come before.
        self.ledger.note_confirmed(&self.links, frame);
        if let Err(error) = self.report(game, frame) {
            return Err(self.fail(now, error));
        }
        self.links.search = None;
        self.links.resynced = frame.next();
        self.phase = Phase::Playing;
        self.links.events.push(Event::Resynced { peer: source, frame });
        Ok(Advance::Stalled(Stall::Resyncing(source)))
    }

    /// Joins the dispute of which the others' votes tell, where this peer's new life begins after the disputed state: they may have
    /// taken a state over before this one could compare its own. Answers whether there is one.
    pub(super) fn join_dispute(&mut self, now: Timestamp, game: &mut Witness<'_, G>) -> bool {
        let reports = &self.links.reports;
        let disputed = self.links.disputed.and_then(|number| reports.numbered(number));
        let is_before = |report: &Report| self.links.begins_at > Some(report.frame);
        let agreed = disputed.filter(is_before).and_then(|report| reports.before(report.number));
        let Some(agreed) = agreed else { return false };
        self.links.disputed = None;
        self.begin_dispute(now, game, agreed.frame);
        true
    }

    /// Ends a dispute when all agree on a state again and have it. A member whose new life begins after that state need not say so,
    /// but it takes the state from here all the same.
    #[inline]
    pub(super) fn settle_dispute(&mut self) {
        if self.links.resync.is_some() {
            self.settle_open_dispute();
        }
    }

    #[inline(never)]
    fn settle_open_dispute(&mut self) {
        let agreed = self.ledger.agreed;
        let (reports, others) = (&self.links.reports, self.links.others_not_done());
        let is_over = self.links.resync.as_ref().is_some_and(|resync| {
            let before = reports.numbered(resync.agreed_number);
            let is_agreed = before.is_none_or(|before| agreed > before.frame);
            resync.is_adopted && is_agreed && reports.have_adopted(others, resync.own.number)
        });
        if is_over {
            self.links.resync = None;
        }
    }
}

impl Links {
    /// The members whose states are in dispute. One whose new life begins after the disputed state takes over what they choose, however
    /// soon it is let in: who votes must not depend on when a view is heard of.
    fn voters(&self) -> PeerSet {
        let agreed = self.resync.as_ref().and_then(|it| self.reports.numbered(it.agreed_number));
        let disputed = agreed.and_then(|agreed| self.reports.first_after(agreed.frame));
        let disputed = disputed.unwrap_or(Frame::MAX);
        let mut voters = self.reports.tellers(self.others(), disputed);
        // Where all those are gone, it counts what is left.
        if self.begins_at.is_none_or(|from| from <= disputed) || voters.is_empty() {
            voters.insert(self.local);
        }
        voters
    }

    pub(super) fn handle_dispute(&mut self, from: PeerId, message: Control) {
        let Some(resync) = &mut self.resync else {
            if let (Control::Vote(vote), Some(_)) = (message, self.begins_at) {
                self.disputed = Some(vote.number);
            }
            return;
        };
        match message {
            Control::Vote(vote) => resync.handle_vote(from, vote),
            Control::Wanted { number, chunks } => resync.handle_wanted(from, number, &chunks),
            Control::Chunk(chunk) => {
                if let Some(whole) = resync.handle_chunk(from, &chunk) {
                    resync.received = Some(whole);
                }
            }
            _ => {}
        }
    }

    /// What a dispute has to tell the others now.
    #[inline]
    pub(super) fn tell_dispute(&mut self, now: Timestamp, to: PeerSet) {
        if self.resync.is_some() || !self.agreements_owed.is_empty() {
            self.tell_open_dispute(now, to);
        }
    }

    #[inline(never)]
    fn tell_open_dispute(&mut self, now: Timestamp, to: PeerSet) {
        self.tell_agreement();
        let Some(resync) = &mut self.resync else { return };
        for peer in to.iter() {
            self.control.push_back((peer, Control::Vote(resync.own)));
        }
        let chunks = resync.wanted(now);
        if let (false, Some(source)) = (chunks.is_empty(), resync.source) {
            let number = resync.own.number;
            self.control.push_back((source, Control::Wanted { number, chunks }));
        }
        let parts = resync.serve(now).into_iter();
        self.control.extend(parts.map(|(peer, chunk)| (peer, Control::Chunk(chunk))));
    }
}
