//! The door for a peer that comes back into its slot. It steps what was recorded until the members let it in.

use alloc::vec::Vec;

use thiserror::Error;

use super::episode::{Episode, Phase};
use super::membership::Membership;
use super::{Advance, AdvanceError, EndCause, Session, SessionError, StableFrame, Stall};
use crate::journal::{Entry, Witness};
use crate::resync::Keyframe;
use crate::{Facts, Frame, Game, Item, PeerId, SessionConfig, StateHash, Ticket, Timestamp};

impl<G: Game> Session<G> {
    /// A session for a peer that was given up, or has left, and wants its slot again, in a new life: the ticket's
    /// `incarnation` is a later one than that of its last. The slot is known by that number, from wherever it comes.
    ///
    /// Hand it what was recorded so far with [`backfill`](Self::backfill) and drive it as any session; it steps these frames as
    /// fast as it is called, hands them out as stable, and is let in by the members who expect it, with
    /// [`readmit`](Self::readmit). Its inputs count from the frame that [`Event::Joined`](crate::Event::Joined) says.
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub fn rejoin(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        game: &G,
        now: Timestamp,
    ) -> Result<Self, SessionError<G::Error>> {
        let mut session = Self::new(config, ticket, facts, game, now)?;
        session.begin_rejoining();
        Ok(session)
    }

    /// The same with a [`journal`](crate::journal), as [`with_journal`](Self::with_journal) keeps one. What was recorded is written
    /// down as it is given, so such a journal is longer by the recording so far.
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub fn rejoin_with_journal(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        game: &G,
        now: Timestamp,
    ) -> Result<Self, SessionError<G::Error>> {
        let mut session = Self::with_journal(config, ticket, facts, game, now)?;
        session.begin_rejoining();
        Ok(session)
    }

    /// Makes a session that has done nothing yet one of a peer that comes back.
    pub(crate) fn begin_rejoining(&mut self) {
        if self.episode.phase != Phase::Handshaking {
            return;
        }
        self.note(&Entry::Rejoin);
        let episode = &mut self.episode;
        episode.phase = Phase::CatchingUp;
        episode.local_inputs.wait();
        episode.ledger.recorded_up_to = Frame::MAX;
        let (local, incarnation) = (episode.links.local, episode.links.ticket.incarnation);
        episode.links.membership = Membership::joining(local, incarnation);
        episode.links.caught_up_to = Some(Frame::ZERO);
    }

    /// Takes the next frame that a member handed out as stable, and whether its output is there: where that was left out, the
    /// output of its step here is recorded, for this frame and all after it. Answers whether there was room; else it is to be
    /// given again after the next call to advance. A frame that is known already is left aside, as are all once this peer is
    /// let in.
    ///
    /// # Errors
    /// When a frame is left out, or has not the shape of this match, or lacks its output while frames are passed over; the
    /// session is then as before.
    pub fn backfill(
        &mut self,
        row: &StableFrame<'_>,
        has_output: bool,
    ) -> Result<bool, BackfillError> {
        if let Some(journal) = &mut self.journal {
            let StableFrame { frame, inputs, flags, output, state_hash, keyframe, .. } = *row;
            journal.note(&Entry::Backfill {
                has_output,
                frame,
                inputs,
                flags,
                items: row.items.to_vec(),
                output,
                state_hash,
                keyframe,
            });
        }
        self.episode.backfill(row, has_output)
    }

    /// Expects `peer` back in its slot in this life, as the application knows it by whatever names people: every member must
    /// be told so. Until then, or unless this is said, a peer that is gone stays so, and its players idle. A peer that is a
    /// member still is given up first. Answers whether the life is a later one than all before.
    ///
    /// Its former life must have ended with this peer as a member: one that had gone on without this peer, as its side of a
    /// broken network may, has recorded another course of the episode, and its new life is told so by the first state that
    /// differs.
    pub fn readmit(&mut self, peer: PeerId, incarnation: u8) -> bool {
        self.note(&Entry::Readmit { peer, incarnation });
        self.episode.links.readmit(peer, incarnation)
    }
}

impl<G: Game> Episode<G> {
    fn backfill(&mut self, row: &StableFrame<'_>, has_output: bool) -> Result<bool, BackfillError> {
        let Some(end) = self.links.caught_up_to else { return Ok(true) };
        let (players, width) = (self.links.config.players(), self.links.config.input_width());
        if row.frame > end {
            return Err(BackfillError::Gap { expected: end, got: row.frame });
        }
        if row.frame < end {
            return Ok(true);
        }
        if row.flags.len() != players || row.inputs.len() != players * width {
            let (expected, got) = (players * width, row.inputs.len());
            return Err(BackfillError::Shape { frame: row.frame, expected, got });
        }
        let is_first_without = !has_output && self.rollback.recorded_up_to() == row.frame;
        if self.links.is_passing && is_first_without {
            return Err(BackfillError::NoOutput { frame: row.frame });
        }
        let keyframe = self.recorded_keyframe(row)?;
        // One such state waits at a time: it may be large.
        let is_waiting = keyframe.is_some() && self.ledger.keyframe_from(Frame::ZERO).is_some();
        if is_waiting || !self.links.queue.take_row(row) {
            return Ok(false);
        }
        if has_output {
            self.rollback.take_recorded_output(row.frame, row.output);
        }
        if let Some((keyframe, attempts)) = keyframe {
            self.ledger.note_keyframe(keyframe, attempts);
        }
        for (peer, item) in row.items {
            if matches!(item, Item::Leave) {
                self.links.left_in_rows.insert(*peer);
            } else if matches!(item, Item::Join { .. }) {
                self.links.left_in_rows.remove(*peer);
            }
        }
        self.recorded.extend(row.state_hash.map(|hash| (row.frame, hash)));
        self.links.caught_up_to = Some(end.next());
        Ok(true)
    }

    /// The state that all took over before a frame, and after how many attempts.
    fn recorded_keyframe(
        &self,
        row: &StableFrame<'_>,
    ) -> Result<Option<(Keyframe, u8)>, BackfillError> {
        let (Some(state), frame) = (row.keyframe, row.frame) else { return Ok(None) };
        let resync = row.items.iter().find_map(|(source, item)| match item {
            Item::Resync { attempts } => Some((*source, *attempts)),
            _ => None,
        });
        let interval = self.links.config.report_interval_frames();
        let is_report = frame > Frame::ZERO && frame.is_multiple_of(interval);
        let said = resync.zip(row.state_hash).filter(|_| is_report);
        let Some(((source, attempts), hash)) = said else {
            return Err(BackfillError::Keyframe { frame });
        };
        let (agreed, has_ended, outputs) = (frame.minus(interval), false, Vec::new());
        let state = state.to_vec();
        let keyframe = Keyframe { source, agreed, frame, has_ended, hash, outputs, state };
        Ok(Some((keyframe, attempts)))
    }

    /// Steps what was recorded, until the members have let this peer in.
    #[inline(never)]
    pub(super) fn catch_up(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<Advance, AdvanceError<G::Error>> {
        if let Some(misfit) = self.misfit(now) {
            return Err(misfit);
        }
        let given = self.links.caught_up_to.unwrap_or_default();
        self.update_members(now);
        if let Some(end) = self.end() {
            return Ok(Advance::Ended(end));
        }
        if let Some(from) = self.links.begins_at {
            self.ledger.recorded_up_to = given;
            self.links.reports.take_recorded(given);
            let incarnation = self.links.ticket.incarnation;
            self.local_inputs.begin_at(&self.links.queue, from, incarnation);
            if self.local_inputs.wants_to_leave() {
                self.local_inputs.leave(&mut self.links.queue);
            }
            self.begin_play(now);
            // The next call has an input for each player, which was refused so far.
            return Ok(Advance::Stalled(Stall::CatchingUp));
        }
        if self.local_inputs.wants_to_leave() && !self.is_expected(now) {
            let by = Some(self.links.local);
            self.ledger.leaves_alone = true;
            self.links.membership.handle_left(self.links.local, self.links.queue.ends());
            return Ok(self.finish(now, self.row_limit(), EndCause::Left, by));
        }
        self.pass_over(now, game)?;
        let advance = self.step_or_stall(now, game).map_err(|error| self.fail(now, error));
        if let Some(frame) = self.differs_at {
            self.finish(now, frame, EndCause::Incompatible, None);
            return Err(AdvanceError::OtherState { frame });
        }
        advance
    }

    /// Whether this peer has claimed to be let in, so that others may count on it, and somebody can still be heard.
    fn is_expected(&self, now: Timestamp) -> bool {
        self.links.membership.is_proposing() && self.links.is_anybody_heard(now)
    }

    /// Compares the state of a frame with what was recorded of it.
    pub(super) fn compare_recorded(&mut self, frame: Frame, hash: StateHash) {
        while let Some((at, recorded)) =
            self.recorded.front().copied().filter(|(at, _)| *at <= frame)
        {
            self.recorded.pop_front();
            if at == frame && recorded != hash {
                self.differs_at.get_or_insert(frame);
            }
        }
    }

    /// Whether this peer's last report is of a frame before its new life. On such frames the others agree without it; its next report
    /// covers them all.
    pub(super) fn is_catching_up(&self) -> bool {
        self.links.begins_at.is_some_and(|from| self.links.reports.last().frame < from)
    }

    /// While this peer catches up it may have more reports to compare than it can keep. The oldest is taken for agreed then: the
    /// others have agreed on it without this peer.
    pub(super) fn make_room_for_reports(&mut self) {
        if self.is_catching_up()
            && !self.rollback.has_room_for_report()
            && let Some(frame) = self.links.reports.left_behind()
        {
            self.links.reports.take_recorded(frame.next());
        }
    }

    /// Whether frames are to be stepped that the others have behind them.
    pub(super) fn is_behind(&self) -> bool {
        let current = self.rollback.current();
        match (self.links.caught_up_to, self.links.begins_at) {
            (Some(end), _) => current < end,
            (None, Some(from)) => current < from.min(self.links.queue.confirmed_end()),
            (None, None) => false,
        }
    }
}

/// Why a recorded frame is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum BackfillError {
    /// A frame was left out.
    #[error("expected frame {expected}, got frame {got}")]
    Gap {
        /// The next frame.
        expected: Frame,
        /// The frame given.
        got: Frame,
    },
    /// It has a state that all took over, and not its hash, or not who had it; or it is none that is reported.
    #[error(
        "frame {frame} has a state that all took over, and does not say whose it is or its hash"
    )]
    Keyframe {
        /// The frame.
        frame: Frame,
    },
    /// It has no output, and is not stepped, since a state of a later frame was taken.
    #[error("frame {frame} is not stepped, and its output was left out")]
    NoOutput {
        /// The frame.
        frame: Frame,
    },
    /// It is of another match.
    #[error(
        "frame {frame} has {got} bytes of inputs, expected {expected}, or another number of flags"
    )]
    Shape {
        /// The frame.
        frame: Frame,
        /// How many bytes of inputs a frame has.
        expected: usize,
        /// How many it had.
        got: usize,
    },
}
