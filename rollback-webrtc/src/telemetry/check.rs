//! Whether the way to a peer works in both directions, and how well: shown by a few probes that are answered at once, before each
//! episode.

use std::time::Duration;

use rollback_core::Timestamp;

/// What is shown of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// There is no connection.
    NotConnected,
    /// There is no connection, since a certificate is not that of its description.
    CertificateRefused,
    /// Nothing comes from the peer.
    NothingComes,
    /// Something comes, but nothing shows that the peer gets what is sent to it.
    NothingArrives,
    /// A probe came back: both directions work.
    Both,
}

impl Proof {
    /// The result in a word or two, for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::CertificateRefused => "certificate_refused",
            Self::NothingComes => "nothing_comes",
            Self::NothingArrives => "nothing_arrives",
            Self::Both => "both",
        }
    }
}

/// One check.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Check {
    /// `None` when there was none.
    began: Option<Timestamp>,
    echoes: u32,
    is_heard: bool,
    /// The least of its round trips.
    round_trip: Option<Duration>,
    proved_at: Option<Timestamp>,
}

impl Check {
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { began: Some(now), ..Self::default() }
    }

    /// Whether more probes are to be answered at once.
    pub(super) const fn is_open(&self) -> bool {
        self.began.is_some() && self.echoes < ECHOES
    }

    /// Whether it was shown just now.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.proved_at.is_some_and(|at| now.since(at) < FRESH)
    }

    pub(super) const fn hear(&mut self) {
        self.is_heard = true;
    }

    /// A probe came back. Answers whether that is the first one.
    pub(super) fn handle_echo(&mut self, now: Timestamp, round_trip: Duration) -> bool {
        // What was sent before this check began says nothing.
        if self.began.is_none_or(|began| now.since(began) < round_trip) {
            return false;
        }
        self.echoes += 1;
        self.round_trip = Some(self.round_trip.map_or(round_trip, |least| least.min(round_trip)));
        let is_first = self.proved_at.is_none();
        self.proved_at.get_or_insert(now);
        is_first
    }

    pub(super) const fn proof(&self) -> Proof {
        match (self.proved_at, self.is_heard) {
            (Some(_), _) => Proof::Both,
            (None, true) => Proof::NothingArrives,
            (None, false) => Proof::NothingComes,
        }
    }

    pub(super) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

/// Round trips of one check; the first shows both directions, the others measure.
const ECHOES: u32 = 8;

/// What was shown so long ago needs no other check.
const FRESH: Duration = Duration::from_secs(1);
