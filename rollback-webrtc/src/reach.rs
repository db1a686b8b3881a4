//! Whether a peer that was reached once can be reached now, and when the application is told that it cannot.

use std::time::Duration;

use rollback_core::Timestamp;

/// What is known of one peer.
#[derive(Debug)]
pub(crate) struct Reach {
    grace: Duration,
    was_reached: bool,
    lost_at: Option<Timestamp>,
    is_told: bool,
}

/// What the application is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReachEvent {
    /// It could not be reached for as long as the grace.
    Lost,
    /// It is reached again after so long.
    Regained(Duration),
}

impl Reach {
    pub(crate) const fn new(grace: Duration) -> Self {
        Self { grace, was_reached: false, lost_at: None, is_told: false }
    }

    /// Takes whether there is a way that works now.
    pub(crate) fn update(&mut self, now: Timestamp, is_reached: bool) -> Option<ReachEvent> {
        if is_reached {
            self.was_reached = true;
            let lost_at = self.lost_at.take()?;
            let was_told = std::mem::take(&mut self.is_told);
            return was_told.then(|| ReachEvent::Regained(now.since(lost_at)));
        }
        if !self.was_reached {
            return None;
        }
        let lost_at = *self.lost_at.get_or_insert(now);
        let is_late = now.since(lost_at) >= self.grace && !self.is_told;
        self.is_told |= is_late;
        is_late.then_some(ReachEvent::Lost)
    }

    /// When [`update`](Self::update) has something to say by itself.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.lost_at.filter(|_| !self.is_told).map(|at| at.plus(self.grace))
    }

    /// Since when it cannot be reached.
    pub(crate) const fn lost_at(&self) -> Option<Timestamp> {
        self.lost_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_loss_is_told_after_the_grace_once_and_its_end_too() {
        let mut reach = Reach::new(Duration::from_millis(1000));
        assert_eq!((reach.update(at(0), false), reach.next_timeout()), (None, None), "no way yet");
        assert_eq!(reach.update(at(100), true), None);
        assert_eq!(reach.update(at(500), false), None);
        assert_eq!(reach.next_timeout(), Some(at(1500)));
        assert_eq!(reach.update(at(1499), false), None);
        assert_eq!(reach.update(at(1500), false), Some(ReachEvent::Lost));
        assert_eq!((reach.update(at(9000), false), reach.next_timeout()), (None, None));
        let regained = ReachEvent::Regained(Duration::from_millis(9500));
        assert_eq!(reach.update(at(10_000), true), Some(regained));
        assert_eq!(reach.update(at(10_001), true), None);
    }

    #[test]
    fn what_is_shorter_than_the_grace_is_not_told() {
        let mut reach = Reach::new(Duration::from_millis(1000));
        for start in [0, 5000] {
            assert_eq!(reach.update(at(start), true), None);
            assert_eq!(reach.update(at(start + 100), false), None);
            assert_eq!(reach.update(at(start + 900), true), None);
        }
        assert_eq!((reach.next_timeout(), reach.lost_at()), (None, None));
    }
}
