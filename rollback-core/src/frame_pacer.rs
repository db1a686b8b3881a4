//! Says when the next frame is due, so that all members run at one rate: a frame comes a little earlier or later, and none is skipped.

use core::time::Duration;

use crate::Timestamp;
use crate::held_rate::{Call, FULL_RATE, HeldRate};
use crate::time::micros;

/// Keeps the local frames on time and shifts them by a few percent towards the other members.
#[derive(Clone, Debug)]
pub(crate) struct FramePacer {
    period_micros: u64,
    /// At which rate frames are due now, in thousandths of the tick rate; and at which the members have come to play.
    pace: u16,
    agreed_pace: u16,
    held: HeldRate,
    due: Option<Timestamp>,
    /// How far ahead of the others this peer is, in thousandths of a frame.
    advantage: i64,
}

impl FramePacer {
    pub(crate) fn new(period: Duration) -> Self {
        let period_micros = micros(period);
        Self {
            period_micros,
            pace: FULL_RATE,
            agreed_pace: FULL_RATE,
            held: HeldRate::new(period_micros),
            due: None,
            advantage: 0,
        }
    }

    /// When the next frame is due; at once before the first.
    pub(crate) fn next_frame_at(&self) -> Timestamp {
        self.due.unwrap_or(Timestamp::ZERO)
    }

    /// How far ahead of the others this peer is, in thousandths of a frame.
    pub(crate) fn advantage(&self) -> i64 {
        self.advantage
    }

    /// The rate that this peer's machine can hold, in thousandths of the tick rate.
    pub(crate) fn held_rate(&self) -> u16 {
        self.held.rate()
    }

    /// At which rate the members play from now on: down at once, since somebody is waited for; up within some seconds.
    pub(crate) fn set_pace(&mut self, pace: u16) {
        self.agreed_pace = pace;
        self.pace = self.pace.min(pace);
    }

    /// How long a frame takes at the rate at which the members play.
    pub(crate) fn paced_micros(&self) -> u64 {
        match self.pace {
            FULL_RATE => self.period_micros,
            pace => self.period_micros * u64::from(FULL_RATE) / u64::from(pace.max(1)),
        }
    }

    /// A frame was advanced at `now`, or it has to wait; `advantage` is what the other members' datagrams say, when they say
    /// anything.
    pub(crate) fn handle_frame(&mut self, now: Timestamp, advantage: Option<i64>, waits: bool) {
        self.advantage = advantage.unwrap_or(0);
        self.pace = self.pace.saturating_add(PACE_STEP).min(self.agreed_pace);
        let due = self.due.unwrap_or(now);
        let paced = self.paced_micros();
        // Late by a little, the next frame follows sooner; late by much, the past is let go.
        let late_micros = now.micros_since(due);
        let is_let_go = late_micros > paced * CATCH_UP_FRAMES;
        let from = if is_let_go { now } else { due };
        let frame_micros = self.frame_micros(paced);
        let hurried_micros = paced.saturating_sub(frame_micros);
        let call = Call { late_micros, is_let_go, hurried_micros, waits, pace: self.pace };
        self.held.note_call(now, call);
        self.due = Some(Timestamp::from_micros(from.as_micros().saturating_add(frame_micros)));
    }

    /// What was waited for has come: the frame is due now.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// A frame was stepped that lies behind the others: the next one is due now, and how late it is says nothing of the machine.
    pub(crate) fn catch_up(&mut self, now: Timestamp) {
        self.due = Some(now);
        self.held.begin_anew();
    }

    /// Breaks the measuring of what this machine can hold: it is never seen to rest.
    #[cfg(feature = "testing")]
    pub(crate) fn forget_rest(&mut self) {
        self.held.fall_behind(self.period_micros / 4);
    }

    fn frame_micros(&self, paced: u64) -> u64 {
        let shift = (self.advantage * GAIN_PERCENT).clamp(-SHIFT_MAX, SHIFT_MAX);
        let micros = paced.cast_signed();
        (micros + micros * shift / 100_000).max(1).unsigned_abs()
    }
}

/// A frame is made longer by this many percent for each frame of advantage. With both sides of a pair correcting, an
/// offset shrinks by 1/e in about 17 frames, and clocks 1 % apart settle a sixth of a frame apart.
const GAIN_PERCENT: i64 = 3;

/// The most that a frame is made longer or shorter, in thousandths of a percent: 5 % is hard to notice.
const SHIFT_MAX: i64 = 5_000;

/// By how much the rate rises in a frame, in thousandths of the tick rate: from half of it to the whole in three seconds at 60 Hz.
const PACE_STEP: u16 = 4;

/// How many frames late is still caught up with by shorter waits.
const CATCH_UP_FRAMES: u64 = 3;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    #[test]
    fn frames_are_due_a_period_apart_whenever_they_are_run() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::from_millis(100), None, false);
        pacer.handle_frame(Timestamp::from_millis(113), None, false);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_millis(120));
    }

    #[test]
    fn a_peer_that_is_ahead_waits_longer_within_a_limit() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, Some(1_000), false);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_micros(10_300));
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, Some(-90_000), false);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_micros(9_500));
    }

    #[test]
    fn a_lower_pace_holds_at_once_and_a_higher_one_within_seconds() {
        let mut pacer = FramePacer::new(PERIOD);
        let mut frame = |pace| {
            let due = pacer.next_frame_at();
            pacer.set_pace(pace);
            pacer.handle_frame(due, None, false);
            pacer.next_frame_at().micros_since(due)
        };
        assert_eq!(frame(1000), 10_000);
        assert_eq!(frame(500), 20_000);
        let higher: Vec<u64> = (0..250).map(|_| frame(1000)).collect();
        assert!(higher.windows(2).all(|pair| pair[0] >= pair[1] && pair[0] - pair[1] < 200));
        assert_eq!(higher.last(), Some(&10_000));
    }

    #[test]
    fn a_long_pause_is_not_caught_up_with() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, None, false);
        pacer.handle_frame(Timestamp::from_millis(500), None, false);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_millis(510));
    }
}
