//! Whether the channels of an open connection show any sign of life: something that came, or that what was sent was
//! acknowledged. ICE does not tell: it speaks for the path alone, and the SCTP of `webrtc` 0.21.1 can stand still on a path
//! that is well (its acknowledgements have no limit, and one that is longer than the path takes never arrives).

use std::time::Duration;

use rollback_core::Timestamp;

use super::Connection;
use crate::pair::ConnectionEvent;

/// Watches one open connection. Pure: it knows no channel and no clock.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    /// When the channels opened, or ICE said last that the path works.
    since: Timestamp,
    /// How long an answer may take.
    patience: Duration,
    /// When a sign of life was asked for, if none came since.
    asked_at: Option<Timestamp>,
    /// When it was found to be silent, if it is.
    silent_at: Option<Timestamp>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// Ask for a sign of life through the bulk channel, which repeats what is lost.
    Quiet,
    /// None comes.
    Silent,
    /// One came again.
    Alive,
}

impl SilenceWatch {
    /// The path works, as far as ICE knows, which says otherwise when it was silent for `interrupted_after`.
    pub(super) fn new(now: Timestamp, interrupted_after: Duration) -> Self {
        let patience = interrupted_after.max(PATIENCE_MIN);
        Self { since: now, patience, asked_at: None, silent_at: None }
    }

    /// ICE says that the path works again: the channels get their time to follow.
    pub(super) const fn handle_path(&mut self, now: Timestamp) {
        (self.since, self.asked_at) = (now, None);
    }

    /// Looks at when the last sign of life came.
    pub(super) fn look(&mut self, now: Timestamp, alive_at: Option<Timestamp>) -> Option<Noticed> {
        if let (Some(silent_at), Some(alive_at)) = (self.silent_at, alive_at)
            && alive_at > silent_at
        {
            (self.silent_at, self.asked_at) = (None, None);
            return Some(Noticed::Alive);
        }
        let alive_at = alive_at.map_or(self.since, |at| at.max(self.since));
        if now.since(alive_at) < QUIET_AFTER {
            self.asked_at = None;
            return None;
        }
        match self.asked_at.filter(|asked_at| *asked_at > alive_at) {
            None => {
                self.asked_at = Some(now);
                Some(Noticed::Quiet)
            }
            // A program that was stopped looks late, and has not heard what came meanwhile.
            Some(asked_at) if now.since(asked_at) >= self.patience && self.silent_at.is_none() => {
                self.silent_at = Some(now);
                Some(Noticed::Silent)
            }
            Some(_) => None,
        }
    }

    /// Whether a sign of life is waited for.
    pub(super) const fn has_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    pub(super) const fn is_silent(&self) -> bool {
        self.silent_at.is_some()
    }
}

impl Connection {
    /// Looks whether the channels show a sign of life while ICE is well. A connection that is silent is left for the relay,
    /// and replaced if it stays so, as one whose path is.
    pub(super) async fn watch_silence(&mut self) {
        if self.path_is_silent {
            return;
        }
        let now = self.setup.clock.now();
        if self.bulk_progresses().await {
            self.bulk_progressed_at = Some(now);
        }
        let mailbox = &self.setup.mailbox;
        let alive_at = mailbox.webrtc_heard_at(self.peer).max(self.bulk_progressed_at);
        match self.silence.as_mut().and_then(|silence| silence.look(now, alive_at)) {
            Some(Noticed::Quiet) => mailbox.ask(self.peer),
            Some(Noticed::Silent) => {
                tracing::info!(peer = ?self.peer, attempt = ?self.attempt, "the channels are silent");
                self.tell(ConnectionEvent::Interrupted).await;
            }
            Some(Noticed::Alive) => self.tell_resumed().await,
            None => {}
        }
    }

    /// Whether the peer's SCTP has acknowledged something of the bulk channel since the last look, or the question that was
    /// asked then. On a slow path a long message takes seconds, and an answer waits behind it.
    async fn bulk_progresses(&mut self) -> bool {
        let Some(bulk) = &self.bulk else { return false };
        let outstanding = bulk.outstanding_bytes().await.unwrap_or(self.bulk_outstanding);
        let before = std::mem::replace(&mut self.bulk_outstanding, outstanding);
        let has_asked = self.silence.as_ref().is_some_and(SilenceWatch::has_asked);
        outstanding < before || (has_asked && outstanding == 0)
    }
}

/// Both send with every frame while they play, so that after this time they do not, or nothing arrives.
const QUIET_AFTER: Duration = Duration::from_millis(500);

/// Time for the question and its answer, of which one may be lost: SCTP repeats it after a second.
const PATIENCE_MIN: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const USUAL: Duration = Duration::from_millis(500);

    /// Looks every half second from the first time to the last, when the last sign of life came at `alive_at`.
    fn look(
        watch: &mut SilenceWatch,
        millis: std::ops::Range<u64>,
        alive_at: Option<u64>,
    ) -> Vec<(u64, Noticed)> {
        let mut noticed = Vec::new();
        for now in millis.step_by(500) {
            noticed.extend(watch.look(at(now), alive_at.map(at)).map(|it| (now, it)));
        }
        noticed
    }

    #[test]
    fn a_connection_that_is_quiet_is_asked_and_is_silent_when_no_answer_comes() {
        let mut watch = SilenceWatch::new(at(1000), USUAL);
        let noticed = look(&mut watch, 1000..9000, None);
        assert_eq!(noticed, [(1500, Noticed::Quiet), (4000, Noticed::Silent)]);
        assert!(watch.is_silent());
        assert_eq!(look(&mut watch, 9000..9500, Some(8900)), [(9000, Noticed::Alive)]);
        assert!(!watch.is_silent());
        let noticed = look(&mut watch, 9500..14_000, Some(8900));
        assert_eq!(noticed, [(9500, Noticed::Quiet), (12_000, Noticed::Silent)]);
    }

    #[test]
    fn one_that_answers_is_asked_again_and_again_and_never_silent() {
        let mut watch = SilenceWatch::new(at(0), USUAL);
        for now in (1000..60_000).step_by(1000) {
            assert_eq!(look(&mut watch, now..now + 500, Some(now)), []);
            let asked = look(&mut watch, now + 500..now + 1000, Some(now));
            assert_eq!(asked, [(now + 500, Noticed::Quiet)]);
        }
        // Every answer comes a second late.
        for now in (61_000..90_000).step_by(1000) {
            assert_eq!(look(&mut watch, now..now + 500, Some(now - 500)), [(now, Noticed::Quiet)]);
            assert_eq!(look(&mut watch, now + 500..now + 1000, Some(now - 500)), []);
        }
    }

    #[test]
    fn one_that_looks_late_asks_before_it_judges() {
        let mut watch = SilenceWatch::new(at(0), USUAL);
        assert_eq!(look(&mut watch, 60_000..62_500, Some(900)), [(60_000, Noticed::Quiet)]);
        assert_eq!(look(&mut watch, 62_500..63_000, Some(62_100)), []);
    }

    #[test]
    fn where_a_path_may_be_silent_for_longer_its_channels_may_be_too() {
        let mut watch = SilenceWatch::new(at(0), Duration::from_secs(10));
        let noticed = look(&mut watch, 500..12_000, None);
        assert_eq!(noticed, [(500, Noticed::Quiet), (10_500, Noticed::Silent)]);
    }

    #[test]
    fn a_path_that_works_again_does_not_end_the_silence_of_the_channels() {
        let mut watch = SilenceWatch::new(at(0), USUAL);
        look(&mut watch, 0..4000, None);
        watch.handle_path(at(4000));
        assert!(watch.is_silent(), "nothing came yet");
        assert_eq!(look(&mut watch, 4000..9000, None), [(4500, Noticed::Quiet)]);
        assert_eq!(look(&mut watch, 9000..9500, Some(8900)), [(9000, Noticed::Alive)]);
    }

    #[test]
    fn after_an_outage_of_the_path_the_channels_get_their_time_to_follow() {
        let mut watch = SilenceWatch::new(at(0), USUAL);
        assert_eq!(look(&mut watch, 500..1000, Some(0)), [(500, Noticed::Quiet)]);
        watch.handle_path(at(2400));
        let noticed = look(&mut watch, 2500..6000, Some(0));
        assert_eq!(noticed, [(3000, Noticed::Quiet), (5500, Noticed::Silent)]);
    }
}
