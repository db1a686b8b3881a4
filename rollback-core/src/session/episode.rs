//! One call to advance, in each phase of an episode: shake hands, play, compare states, agree on the end. Decodes no datagram.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::handover::Handover;
use super::ledger::Ledger;
use super::links::{DIGEST_REPEATS, Links};
use super::local_inputs::LocalInputs;
use super::membership::Verdict;
use super::{Advance, AdvanceError, End, EndCause, Event, Stall};
use crate::journal::Witness;
use crate::rollback::{Resimulated, Rollback};
use crate::{
    DesyncDump, Facts, Frame, Game, GameError, Input, PeerId, PeerSet, Predictor, RepeatLast,
    SessionConfig, StateHash, Ticket, Timestamp,
};

/// The game's place in time, the other peers, and the books, put together.
pub(super) struct Episode<G: Game> {
    pub(super) rollback: Rollback<G>,
    pub(super) links: Links,
    pub(super) local_inputs: LocalInputs,
    pub(super) ledger: Ledger,
    pub(super) predictor: Box<dyn Predictor + Send>,
    pub(super) frames: u64,
    pub(super) phase: Phase,
    /// What was recorded of states that this peer steps again, as it catches up.
    pub(super) recorded: VecDeque<(Frame, StateHash)>,
    /// A state that it stepped to was another one.
    pub(super) differs_at: Option<Frame>,
    /// States that are written out for others, or taken from them, once there are any.
    pub(super) handover: Option<Box<Handover<G::Snapshot>>>,
    /// This side of a desync, until it is asked for.
    pub(super) dump: Option<Box<DesyncDump>>,
}

/// Where an episode stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Handshaking,
    /// This peer was given up and is to be let in again: it steps what was recorded.
    CatchingUp,
    Playing,
    /// The states of two members differ; the search began at this moment.
    Searching {
        since: Timestamp,
    },
    /// The states differ, and all stand still until they have one again.
    Disputed,
    /// The simulation failed here; the others are told.
    Failing {
        since: Timestamp,
    },
    /// The end is known; the others may need to hear of it.
    Over {
        end: End,
        since: Timestamp,
    },
}

impl<G: Game> Episode<G> {
    /// The episode before its first frame; `rollback` has its first state, whose hash is `start`.
    pub(super) fn new(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        (rollback, start): (Rollback<G>, StateHash),
        now: Timestamp,
    ) -> Self {
        let mut links = Links::new(config, ticket, (facts, start), now);
        links.queue.set_equivalence(G::Input::equivalent);
        let local_players = links.queue.players_of(ticket.local);
        Self {
            local_inputs: LocalInputs::new(config, ticket.local, local_players),
            ledger: Ledger::new(config.members_min(), start),
            predictor: Box::new(RepeatLast),
            phase: Phase::Handshaking,
            recorded: VecDeque::new(),
            differs_at: None,
            handover: None,
            dump: None,
            frames: 0,
            rollback,
            links,
        }
    }

    /// Steps one frame or says what is waited for, as the phase has it.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        let advance = match self.rollback.come_back(game) {
            Ok(()) => self.advance_in_phase(now, game),
            Err(error) => Err(self.fail(now, error)),
        };
        self.ledger.rows_end = self.row_limit();
        self.write_requested(game);
        advance
    }

    fn advance_in_phase(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        match self.phase {
            Phase::Handshaking => self.shake_hands(now),
            Phase::CatchingUp => self.catch_up(now, game),
            Phase::Playing => self.play(now, game),
            Phase::Searching { since } => {
                let advance = self.search(now, since, game).map_err(|error| self.fail(now, error));
                match self.differs_at {
                    Some(frame) => {
                        self.begin_failing(now, frame);
                        Err(AdvanceError::OtherState { frame })
                    }
                    None => advance,
                }
            }
            Phase::Disputed => self.dispute(now, game),
            Phase::Failing { since } => Ok(self.fail_on(now, since)),
            Phase::Over { end, .. } => {
                // Others may still have to agree on a departure; one that was cut off has no say in it any more.
                if end.cause.is_agreed() {
                    self.links.commit_departure();
                }
                Ok(Advance::Ended(end))
            }
        }
    }

    pub(super) fn window(&self) -> u32 {
        self.links.config.prediction_window_frames()
    }

    #[inline(never)]
    fn shake_hands(&mut self, now: Timestamp) -> Result<Advance, AdvanceError<G::Error>> {
        if let Some(misfit) = self.misfit(now) {
            return Err(misfit);
        }
        // Members that have begun may have lost one that others still wait for.
        self.update_members(now);
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        let unheard = self.links.links.iter().filter(|link| link.handshake.remote.is_none());
        let unheard: PeerSet = unheard.map(|link| link.peer).collect();
        let missing = unheard.and(self.links.membership.view().members);
        if missing.is_empty() {
            self.begin_play(now);
        }
        Ok(Advance::Stalled(Stall::Handshaking(missing)))
    }

    pub(super) fn begin_play(&mut self, now: Timestamp) {
        self.phase = Phase::Playing;
        self.links.has_started = true;
        // Silence counts from here: before, a peer may have waited for others.
        for link in &mut self.links.links {
            link.handle_heard(now);
            link.handshake.forget_hello();
        }
        self.links.events.push(Event::Started);
    }

    /// Ends the episode when a member that has said hello cannot play together with this one.
    pub(super) fn misfit(&mut self, now: Timestamp) -> Option<AdvanceError<G::Error>> {
        let ours = self.links.hello();
        let (peer, mismatches) = self.links.links.iter().find_map(|link| {
            Some((link.peer, link.handshake.misfit(&ours, &self.links.config)?))
        })?;
        self.finish(now, Frame::ZERO, EndCause::Incompatible, Some(peer));
        Some(AdvanceError::Incompatible { peer, mismatches })
    }

    fn play(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        let current = self.rollback.current();
        if let Some(player) = self.local_inputs.missing(current) {
            return Err(AdvanceError::MissingInput { player });
        }
        self.note_silence(now);
        if self.links.is_letting_in() {
            if self.end_frame().is_none() {
                self.links.let_in(now);
            }
            self.links.give_up_late(now);
        }
        self.update_members(now);
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        self.leave_when_it_may();
        let advance = self.step_or_stall(now, game).map_err(|error| self.fail(now, error))?;
        if self.phase == Phase::Playing {
            let (queue, predictor) = (&mut self.links.queue, self.predictor.as_mut());
            let shown = self.rollback.run_ahead(game, queue, predictor);
            shown.map_err(|error| self.fail(now, error))?;
        }
        Ok(advance)
    }

    /// The game failed here with nothing to excuse it: the others are told.
    #[inline(never)]
    pub(super) fn fail(
        &mut self,
        now: Timestamp,
        error: GameError<G::Error>,
    ) -> AdvanceError<G::Error> {
        self.begin_failing(now, error.frame());
        AdvanceError::Game(error)
    }

    /// This peer cannot go on from a frame: the others are told.
    pub(super) fn begin_failing(&mut self, now: Timestamp, frame: Frame) {
        self.links.fail(frame);
        self.phase = Phase::Failing { since: now };
    }

    pub(super) fn step_or_stall(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, GameError<G::Error>> {
        let (queue, predictor) = (&mut self.links.queue, self.predictor.as_mut());
        let report = self.links.reports.next_frame();
        let resimulated = self.rollback.resimulate(game, queue, predictor, report)?;
        self.settle(now, game)?;
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        if matches!(self.phase, Phase::Searching { .. }) {
            // Others may not have heard yet what it is that differs.
            self.links.is_waiting = true;
            return Ok(Advance::Stalled(Stall::SearchingDesync));
        }
        let rolled_back = match resimulated {
            Resimulated::Done { depth } => depth,
            Resimulated::Interrupted { left } => {
                return Ok(Advance::Stalled(Stall::Resimulating { left }));
            }
        };
        let stall = self.stall();
        self.links.is_waiting = stall.is_some();
        if let Some(stall) = stall {
            if matches!(stall, Stall::Paused { .. }) {
                self.local_inputs.file_waiting_items(&mut self.links.queue);
            }
            return Ok(Advance::Stalled(stall));
        }
        let frame = self.rollback.current();
        let (queue, predictor) = (&mut self.links.queue, self.predictor.as_mut());
        self.rollback.step(game, queue, predictor)?;
        self.frames += 1;
        self.adjust_input_delay();
        Ok(match self.rollback.ended_at() {
            Some(end) if end <= frame => Advance::Held { frame, rolled_back },
            _ => Advance::Stepped { frame, rolled_back },
        })
    }

    /// Why the current frame cannot be stepped yet.
    fn stall(&mut self) -> Option<Stall> {
        let (current, queue) = (self.rollback.current(), &self.links.queue);
        if let Some(end) = self.links.caught_up_to {
            return (current >= end).then_some(Stall::CatchingUp);
        }
        let confirmed = queue.confirmed_end();
        let end = self.end_frame().filter(|end| end.frame <= current.min(confirmed));
        if end.is_some() && !self.gives_more_inputs() {
            return Some(Stall::Closing);
        }
        // The next frame would need an input that is promised not to be filed before a return is agreed.
        if current >= queue.limit() {
            return Some(Stall::Admitting(self.links.membership.added()));
        }
        let pauses = queue.pauses();
        if pauses.stops_at(self.window()).is_some_and(|end| end <= current) {
            return Some(Stall::Paused { by: pauses.by() });
        }
        if current >= confirmed.plus(self.window()) {
            return Some(Stall::WaitingForInput(self.links.missing_at(confirmed)));
        }
        // The ring takes no frame beyond its history, and a report that nobody agrees with keeps its snapshot.
        let history = current >= queue.last_room();
        if history && queue.floor() < self.ledger.agreed {
            return Some(Stall::WaitingForDriver);
        }
        let report = self.links.reports.next_frame();
        if history || current > report.plus(self.window()) {
            return Some(Stall::WaitingForAck(self.links.slowest()));
        }
        None
    }

    /// Takes in what silence, claims and goodbyes mean for who is a member, and moves the stable frame.
    #[inline]
    pub(super) fn update_members(&mut self, now: Timestamp) {
        match self.links.has_news_of_members() {
            true => self.change_members(now),
            false => self.ledger.stable = self.links.stable_end(),
        }
    }

    #[inline(never)]
    fn change_members(&mut self, now: Timestamp) {
        if let Some((departed, cut)) = self.links.commit_departure() {
            let members = self.links.membership.view().members.len();
            self.ledger.note_departure(members, departed, cut);
        }
        self.links.retire_leavers();
        self.ledger.stable = self.links.stable_end();
        let cause = match self.links.take_verdict() {
            Some(Verdict::NoQuorum | Verdict::Evicted) => EndCause::Partitioned,
            Some(Verdict::Kicked) => EndCause::Kicked,
            Some(Verdict::Unchanged | Verdict::Proposed(_)) | None => return,
        };
        self.finish(now, self.row_limit(), cause, None);
    }

    /// Moves the frontiers: hashes what is final, compares reports, and sees whether the episode is over.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<(), GameError<G::Error>> {
        let simulated = self.rollback.simulated_end(&self.links.queue);
        self.ledger.note_confirmed(&self.links, simulated);
        self.report_finals(game, simulated)?;
        self.make_room_for_reports();
        let Some(disagreement) = self.links.reports.compare(self.links.others()) else {
            let agreed = self.links.reports.agreed_frame(self.links.others_not_done());
            self.rollback.agreed(agreed);
            // All may have reported a frame while a proposed departure holds back what is stable.
            self.ledger.agreed = agreed.min(self.ledger.stable);
            self.settle_dispute();
            if self.links.disputed.is_some() && self.join_dispute(now, game) {
                return Ok(());
            }
            self.close(now, game)?;
            self.raise_floor();
            return Ok(());
        };
        self.start_search(now, game, disagreement)
    }

    /// Hashes the states of the frames that are reported, once they are final.
    fn report_finals(
        &mut self,
        game: &mut Witness<'_, G>,
        simulated: Frame,
    ) -> Result<(), GameError<G::Error>> {
        let known = simulated.min(self.links.queue.confirmed_end());
        if self.links.reports.next_frame() > known {
            return Ok(());
        }
        let end = self.end_frame();
        loop {
            let frame = self.links.reports.next_frame();
            let is_final = frame <= known;
            let is_stepped =
                frame < self.rollback.current() || self.rollback.ended_at() == Some(frame);
            let is_in_episode = end.is_none_or(|end| frame <= end.frame);
            if !is_final || !is_stepped || !is_in_episode || !self.rollback.has_room_for_report() {
                return Ok(());
            }
            if !self.report(game, frame)? {
                return Ok(());
            }
        }
    }

    /// Hashes and reports the state of a frame. Answers whether it was saved.
    #[inline(never)]
    pub(super) fn report(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
    ) -> Result<bool, GameError<G::Error>> {
        if self.ledger.noted < frame {
            return Ok(false);
        }
        let Some(hash) = self.rollback.hash_final(game, frame)? else { return Ok(false) };
        self.note_report(frame, hash);
        Ok(true)
    }

    /// Reports the hash of the state of a frame, and what the steps to it gave.
    pub(super) fn note_report(&mut self, frame: Frame, hash: StateHash) {
        let inputs = self.ledger.chain_up_to(&mut self.links.queue, frame);
        let mut outputs = self.rollback.chain_of_outputs(self.links.reports.last().frame, frame);
        if let Some((source, attempts)) = self.ledger.taken_over_at(frame) {
            outputs = outputs.link(&[source.slot(), attempts]);
            self.links.reports.skip_attempts(attempts);
        }
        self.links.reports.push(frame, (hash, outputs), inputs);
        self.ledger.note_hash(frame, hash);
        self.compare_recorded(frame, hash);
        for link in &mut self.links.links {
            link.digests_due = DIGEST_REPEATS;
        }
    }

    /// Ends the episode when all its frames are stable and their states agreed.
    #[inline]
    fn close(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<(), GameError<G::Error>> {
        match self.end_frame().filter(|end| self.ledger.stable >= end.frame) {
            Some(end) => self.close_at(now, game, end),
            None => Ok(()),
        }
    }

    #[inline(never)]
    fn close_at(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
        end: End,
    ) -> Result<(), GameError<G::Error>> {
        if self.rollback.simulated_end(&self.links.queue) < end.frame {
            return Ok(());
        }
        // The regular reports before the end come first: members count reports, and rows wait for them.
        if self.links.reports.next_frame() < end.frame {
            return Ok(());
        }
        if self.ledger.leaves_alone {
            // One that has not come as far may still need this one's claim.
            if !self.links.are_in_view() || self.links.membership.is_proposing() {
                return Ok(());
            }
            self.links.leave(end.frame);
            self.finish(now, end.frame, end.cause, end.by);
            return Ok(());
        }
        if self.links.reports.last().frame < end.frame && self.rollback.has_room_for_report() {
            self.rollback.settle_at(game, &mut self.links.queue, end.frame)?;
            self.report(game, end.frame)?;
        }
        let others = self.links.awaited_at_end();
        self.ledger.agreed = self.links.reports.agreed_frame(others);
        if self.ledger.agreed == end.frame {
            self.finish(now, end.frame, end.cause, end.by);
        }
        Ok(())
    }

    /// The episode is over; what is left is to answer the others.
    pub(super) fn finish(
        &mut self,
        now: Timestamp,
        frame: Frame,
        cause: EndCause,
        by: Option<PeerId>,
    ) -> Advance {
        let end = End { frame, cause, by };
        self.links.end_agreed = cause.is_agreed() && !self.ledger.leaves_alone;
        self.phase = Phase::Over { end, since: now };
        Advance::Ended(end)
    }

    /// What is kept: everything from the last agreed report, and every row that was not handed out.
    fn raise_floor(&mut self) {
        let floor = self.ledger.agreed.min(self.ledger.next_row);
        let floor = self.links.floor_for(floor);
        self.links.queue.set_floor(floor);
    }

    /// The simulation has failed here: what is stable is still handed out while the others are told.
    #[inline(never)]
    fn fail_on(&mut self, now: Timestamp, since: Timestamp) -> Advance {
        self.ledger.stable = self.links.stable_end();
        let heard = self.links.links.iter().all(|link| link.heard_goodbye);
        if heard || now.since(since) >= self.links.config.linger() {
            let by = Some(self.links.local);
            return self.finish(now, self.row_limit(), EndCause::GameFailed, by);
        }
        Advance::Stalled(Stall::Closing)
    }
}
