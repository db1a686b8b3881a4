//! Measures which tick rate this machine can hold, from how late its frames come. Knows no other peer.

use crate::Timestamp;

/// A rate in thousandths of the tick rate; 1000 is the tick rate itself.
pub(crate) const FULL_RATE: u16 = 1000;

/// Whether this machine keeps its time, looked at a span at a time.
///
/// What counts is the least delay of a span: who rests in between is on time at some moment, whatever its single frames
/// cost. One whose least delay grows from span to span is too slow by as much. So a single long frame says nothing, nor does a
/// driver that always comes a little late.
#[derive(Clone, Debug)]
pub(crate) struct HeldRate {
    span_micros: u64,
    rate: u16,
    began: Option<Timestamp>,
    /// How much later than now the frames would be if nothing had been let go, nor hurried to come nearer to the others.
    let_go: i64,
    /// The least delay in this span, and in the one before it.
    least: i64,
    least_before: Option<i64>,
    calls: u32,
    waits: u32,
    /// By how much the two spans before this one were too slow, in thousandths of themselves; the last one first.
    slips_before: [Option<i64>; 2],
    /// By how much the rate is raised next.
    step: i64,
}

/// One frame, or one time that it had to be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// How late it was.
    pub(crate) late_micros: u64,
    /// The delay is not made up for.
    pub(crate) is_let_go: bool,
    /// By how much the next one is due sooner, to come nearer to the others.
    pub(crate) hurried_micros: u64,
    /// Others, or the network, were waited for.
    pub(crate) waits: bool,
    /// The rate at which frames are due.
    pub(crate) pace: u16,
}

impl HeldRate {
    pub(crate) fn new(period_micros: u64) -> Self {
        Self {
            span_micros: period_micros.saturating_mul(SPAN_FRAMES),
            rate: FULL_RATE,
            began: None,
            let_go: 0,
            least: i64::MAX,
            least_before: None,
            calls: 0,
            waits: 0,
            slips_before: [None; 2],
            step: STEP_MIN,
        }
    }

    /// The rate that this machine can hold.
    pub(crate) fn rate(&self) -> u16 {
        self.rate
    }

    pub(crate) fn note_call(&mut self, now: Timestamp, call: Call) {
        let began = *self.began.get_or_insert(now);
        let late = signed(call.late_micros);
        self.least = self.least.min(self.let_go.saturating_add(late));
        let let_go = if call.is_let_go { late } else { 0 };
        self.let_go =
            self.let_go.saturating_add(let_go).saturating_sub(signed(call.hurried_micros));
        self.calls += 1;
        self.waits += u32::from(call.waits);
        let passed = now.micros_since(began);
        if passed >= self.span_micros {
            self.end_span(passed, call.pace);
            self.began = Some(now);
        }
    }

    /// Forgets how late it was, but not the rate.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { rate: self.rate, ..Self::new(self.span_micros / SPAN_FRAMES) };
    }

    /// As if it had been late by so much more.
    #[cfg(feature = "testing")]
    pub(crate) fn fall_behind(&mut self, micros: u64) {
        self.let_go = self.let_go.saturating_add(signed(micros));
    }

    fn end_span(&mut self, passed: u64, pace: u16) {
        let least = core::mem::replace(&mut self.least, i64::MAX);
        let has_mostly_waited = self.waits > self.calls / 2;
        (self.calls, self.waits) = (0, 0);
        let Some(before) = self.least_before.replace(least) else { return };
        let slip = least.saturating_sub(before).saturating_mul(1000) / signed(passed).max(1);
        let [last, second_last] = self.slips_before;
        self.slips_before = [Some(slip), last];
        let Some(last) = last else { return };
        // Standing still says nothing until it has happened in three spans on end.
        let less = second_last.map_or(0, |second_last| second_last.min(last).min(slip));
        let more = slip.max(last);
        let pace_now = i64::from(pace);
        let (rate, step) = if less > SLIP_MAX {
            (pace_now * (1000 - less).max(0) / 1000, STEP_MIN)
        } else if more >= SLIP_HELD || has_mostly_waited {
            self.step = STEP_MIN;
            return;
        } else if self.rate > pace || self.rate == FULL_RATE {
            // Another is slower; or there is nothing to raise.
            return;
        } else {
            (pace_now + self.step, (self.step * 2).min(STEP_MAX))
        };
        // What was seen at another rate says nothing of this one.
        self.slips_before = [None; 2];
        self.step = step;
        self.rate = u16::try_from(rate).unwrap_or(FULL_RATE).clamp(1, FULL_RATE);
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// How many frames a span has at the tick rate: a quarter of a second at 60 Hz.
const SPAN_FRAMES: u64 = 16;

/// Who is too slow by more than this in three spans on end is too slow, in thousandths: with less, the others' frames that are
/// made longer are enough, also with eight members.
const SLIP_MAX: i64 = 20;

/// Who is too slow by less than this in two spans on end holds the rate, and tries a higher one.
const SLIP_HELD: i64 = 5;

/// By how much at first. It is what lies between the two, so that what is tried is kept where it is nearly held: the rate does
/// not swing.
const STEP_MIN: i64 = 15;

/// By how much at most, where each higher rate was held at once: half of the tick rate is made up for in six seconds at 60 Hz.
const STEP_MAX: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 10_000;

    /// A machine whose frames take so long, at the pace of its own rate: due a period apart, late by up to three frames.
    struct Machine {
        held: HeldRate,
        now: u64,
        due: u64,
        pace_max: u16,
        waits: bool,
    }

    impl Machine {
        fn new() -> Self {
            Self { held: HeldRate::new(PERIOD), now: 0, due: 0, pace_max: FULL_RATE, waits: false }
        }

        fn run(&mut self, frames: u32, cost: impl Fn(u32) -> u64) -> u16 {
            for frame in 0..frames {
                let pace = self.held.rate().min(self.pace_max);
                let period = PERIOD * 1000 / u64::from(pace);
                self.now = self.now.max(self.due);
                let late_micros = self.now - self.due;
                let is_let_go = late_micros > 3 * period;
                let waits = self.waits;
                let call = Call { late_micros, is_let_go, hurried_micros: 0, waits, pace };
                self.held.note_call(Timestamp::from_micros(self.now), call);
                self.due = if is_let_go { self.now } else { self.due } + period;
                self.now += cost(frame);
            }
            self.held.rate()
        }
    }

    #[test]
    fn a_machine_that_rests_between_frames_holds_the_tick_rate() {
        let mut machine = Machine::new();
        assert_eq!(machine.run(500, |_| 9_900), 1000);
        // Every fifth frame takes four, and is made up for.
        assert_eq!(machine.run(500, |frame| if frame % 5 == 0 { 40_000 } else { 1_000 }), 1000);
        // A driver that always comes late, by less than a frame.
        machine.due -= 9_000;
        assert_eq!(machine.run(500, |_| 10_000), 1000);
    }

    #[test]
    fn what_a_machine_can_hold_is_found_within_a_second_and_kept() {
        for (cost, rate) in [(14_286, 700), (12_000, 833), (50_000, 200), (100_000, 100)] {
            let mut machine = Machine::new();
            let frames = u32::try_from(1_000_000 / cost).unwrap();
            machine.run(frames, |_| cost);
            let found = machine.held.rate();
            assert!(found.abs_diff(rate) <= rate / 20, "{rate}: {found} after a second");
            for _ in 0..50 {
                let found = machine.run(10, |_| cost);
                assert!(found.abs_diff(rate) <= rate / 20 + 15, "{rate}: {found}");
            }
        }
    }

    #[test]
    fn a_single_long_frame_says_nothing() {
        let mut machine = Machine::new();
        machine.run(100, |_| 5_000);
        let mut at_each = (0..200).map(|frame| {
            let cost = if frame == 20 { 10_000_000 } else { 5_000 };
            machine.run(1, |_| cost)
        });
        assert!(at_each.all(|rate| rate == 1000));
    }

    #[test]
    fn two_long_frames_within_a_second_say_nothing_either() {
        for apart in 1..60 {
            let mut machine = Machine::new();
            machine.run(100, |_| 5_000);
            let is_long = |frame| frame == 20 || frame == 20 + apart;
            let mut at_each = (0..200)
                .map(|frame| machine.run(1, |_| if is_long(frame) { 500_000 } else { 5_000 }));
            assert!(at_each.all(|rate| rate == 1000), "{apart} frames apart");
        }
    }

    #[test]
    fn one_that_recovers_is_at_the_tick_rate_again_within_six_seconds() {
        let mut machine = Machine::new();
        machine.run(100, |_| 20_000);
        assert!(machine.held.rate() < 550);
        let began = machine.now;
        while machine.run(1, |_| 5_000) < 1000 {}
        let took = machine.now - began;
        assert!((2_000_000..6_000_000).contains(&took), "{took} µs");
    }

    #[test]
    fn nothing_higher_is_tried_while_another_is_slower_or_all_wait() {
        let mut machine = Machine::new();
        machine.run(100, |_| 14_286);
        let found = machine.held.rate();
        machine.waits = true;
        assert_eq!(machine.run(300, |_| 5_000), found);
        (machine.waits, machine.pace_max) = (false, 500);
        assert_eq!(machine.run(300, |_| 5_000), found);
        machine.pace_max = FULL_RATE;
        assert!(machine.run(300, |_| 5_000) > found);
    }
}
