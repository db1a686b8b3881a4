//! Says when the next frame is due, so that all members run at one rate. A controller, not a skip.

use core::time::Duration;

use crate::Timestamp;
use crate::time::micros;

/// Keeps the local frames on time and shifts them by a few percent towards the other members.
#[derive(Clone, Debug)]
pub(crate) struct FramePacer {
    period_micros: u64,
    due: Option<Timestamp>,
    /// How far ahead of the others this peer is, in thousandths of a frame.
    advantage: i64,
}

impl FramePacer {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period_micros: micros(period), due: None, advantage: 0 }
    }

    /// When the next frame is due; at once before the first.
    pub(crate) fn next_frame_at(&self) -> Timestamp {
        self.due.unwrap_or(Timestamp::ZERO)
    }

    /// How far ahead of the others this peer is, in thousandths of a frame.
    pub(crate) fn advantage(&self) -> i64 {
        self.advantage
    }

    /// A frame was advanced at `now`; `advantage` is what the other members' datagrams say, when they say anything.
    pub(crate) fn handle_frame(&mut self, now: Timestamp, advantage: Option<i64>) {
        self.advantage = advantage.unwrap_or(0);
        let due = self.due.unwrap_or(now);
        // Late by a little, the next frame follows sooner; late by much, the past is let go.
        let late = now.micros_since(due) > self.period_micros * CATCH_UP_FRAMES;
        let from = if late { now } else { due };
        self.due =
            Some(Timestamp::from_micros(from.as_micros().saturating_add(self.frame_micros())));
    }

    /// What was waited for has come: the frame is due now.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    fn frame_micros(&self) -> u64 {
        let shift = (self.advantage * GAIN_PERCENT).clamp(-SHIFT_MAX, SHIFT_MAX);
        let micros = self.period_micros.cast_signed();
        (micros + micros * shift / 100_000).max(1).unsigned_abs()
    }
}

/// A frame is made longer by this many percent for each frame of advantage. With both sides of a pair correcting, an
/// offset shrinks by 1/e in about 17 frames, and clocks 1 % apart settle a sixth of a frame apart.
const GAIN_PERCENT: i64 = 3;

/// The most that a frame is made longer or shorter, in thousandths of a percent: 5 % is hard to notice.
const SHIFT_MAX: i64 = 5_000;

/// How many frames late is still caught up with by shorter waits.
const CATCH_UP_FRAMES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    #[test]
    fn frames_are_due_a_period_apart_whenever_they_are_run() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::from_millis(100), None);
        pacer.handle_frame(Timestamp::from_millis(113), None);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_millis(120));
    }

    #[test]
    fn a_peer_that_is_ahead_waits_longer_within_a_limit() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, Some(1_000));
        assert_eq!(pacer.next_frame_at(), Timestamp::from_micros(10_300));
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, Some(-90_000));
        assert_eq!(pacer.next_frame_at(), Timestamp::from_micros(9_500));
    }

    #[test]
    fn a_long_pause_is_not_caught_up_with() {
        let mut pacer = FramePacer::new(PERIOD);
        pacer.handle_frame(Timestamp::ZERO, None);
        pacer.handle_frame(Timestamp::from_millis(500), None);
        assert_eq!(pacer.next_frame_at(), Timestamp::from_millis(510));
    }
}
