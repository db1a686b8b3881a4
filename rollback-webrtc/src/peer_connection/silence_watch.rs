//! Whether anything comes through the channels of an open connection. ICE does not tell: it speaks for the path alone, and the
//! SCTP of `webrtc` 0.21.1 can stand still on a path that is well (its acknowledgements have no limit, and one that is longer
//! than the path takes never arrives again). Pure: it knows no channel and no clock.

use std::time::Duration;

use rollback_core::Timestamp;

/// Watches one open connection.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    /// When the channels opened, or ICE said last that the path works.
    since: Timestamp,
    has_asked: bool,
    /// When it was found to be silent, if it is.
    silent_at: Option<Timestamp>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// Ask for a sign of life through the bulk channel, which repeats what is lost.
    Quiet,
    /// Nothing comes, not even that sign.
    Silent,
    /// Something came again.
    Heard,
}

impl SilenceWatch {
    /// The path works, as far as ICE knows.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { since: now, has_asked: false, silent_at: None }
    }

    /// ICE says that the path works again: the channels get their time to follow.
    pub(super) const fn handle_path(&mut self, now: Timestamp) {
        (self.since, self.has_asked) = (now, false);
    }

    /// Looks at when something came through a channel last.
    pub(super) fn look(&mut self, now: Timestamp, heard_at: Option<Timestamp>) -> Option<Noticed> {
        if let (Some(silent_at), Some(heard_at)) = (self.silent_at, heard_at)
            && heard_at > silent_at
        {
            (self.silent_at, self.has_asked) = (None, false);
            return Some(Noticed::Heard);
        }
        let quiet_for = now.since(heard_at.map_or(self.since, |at| at.max(self.since)));
        if quiet_for < QUIET_AFTER {
            self.has_asked = false;
            None
        } else if !self.has_asked {
            self.has_asked = true;
            Some(Noticed::Quiet)
        } else if quiet_for >= SILENT_AFTER && self.silent_at.is_none() {
            self.silent_at = Some(now);
            Some(Noticed::Silent)
        } else {
            None
        }
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.silent_at.is_some()
    }
}

/// Both send with every frame while they play, so that after this time they do not, or nothing arrives.
const QUIET_AFTER: Duration = Duration::from_millis(500);

/// Time for the question and its answer to be repeated once each, which SCTP does after a second.
const SILENT_AFTER: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Looks every half second from the first time to the last, when something came last at `heard_at`.
    fn look(
        watch: &mut SilenceWatch,
        millis: std::ops::Range<u64>,
        heard_at: Option<u64>,
    ) -> Vec<(u64, Noticed)> {
        let mut noticed = Vec::new();
        for now in millis.step_by(500) {
            noticed.extend(watch.look(at(now), heard_at.map(at)).map(|it| (now, it)));
        }
        noticed
    }

    #[test]
    fn a_connection_that_is_quiet_is_asked_and_is_silent_when_no_answer_comes() {
        let mut watch = SilenceWatch::new(at(1000));
        let noticed = look(&mut watch, 1000..9000, None);
        assert_eq!(noticed, [(1500, Noticed::Quiet), (3500, Noticed::Silent)]);
        assert!(watch.is_silent());
        assert_eq!(look(&mut watch, 9000..9500, Some(8900)), [(9000, Noticed::Heard)]);
        assert!(!watch.is_silent());
        let noticed = look(&mut watch, 9500..14_000, Some(8900));
        assert_eq!(noticed, [(9500, Noticed::Quiet), (11_500, Noticed::Silent)]);
    }

    #[test]
    fn one_that_answers_is_asked_again_and_again_and_never_silent() {
        let mut watch = SilenceWatch::new(at(0));
        for now in (1000..60_000).step_by(1000) {
            assert_eq!(look(&mut watch, now..now + 500, Some(now)), []);
            let asked = look(&mut watch, now + 500..now + 1000, Some(now));
            assert_eq!(asked, [(now + 500, Noticed::Quiet)]);
        }
    }

    #[test]
    fn a_path_that_works_again_does_not_end_the_silence_of_the_channels() {
        let mut watch = SilenceWatch::new(at(0));
        look(&mut watch, 0..4000, None);
        watch.handle_path(at(4000));
        assert!(watch.is_silent(), "nothing came yet");
        assert_eq!(look(&mut watch, 4000..9000, None), [(4500, Noticed::Quiet)]);
        assert_eq!(look(&mut watch, 9000..9500, Some(8900)), [(9000, Noticed::Heard)]);
    }

    #[test]
    fn after_an_outage_of_the_path_the_channels_get_their_time_to_follow() {
        let mut watch = SilenceWatch::new(at(0));
        assert_eq!(look(&mut watch, 500..1000, Some(0)), [(500, Noticed::Quiet)]);
        watch.handle_path(at(2400));
        let noticed = look(&mut watch, 2500..6000, Some(0));
        assert_eq!(noticed, [(3000, Noticed::Quiet), (5000, Noticed::Silent)]);
    }
}
