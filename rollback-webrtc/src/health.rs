//! What a game loop wants of the ways to the other members before an episode begins: that both directions of each are shown to
//! work, and that none is worse than it may be.

use std::fmt;
use std::time::Duration;

use rollback_core::{PeerId, PeerSet, Timestamp};

use crate::datagram_transport::DatagramTransport;
use crate::telemetry::Proof;

/// How good the ways to all other members must be for an episode to begin. By default they must work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// The longest round trip.
    pub round_trip_max: Duration,
    /// The most datagrams that may be lost of every hundred of late, in either direction.
    pub loss_percent_max: f64,
    /// How long to wait for a way to become so.
    pub patience: Duration,
    /// What to do then.
    pub or_else: OnUnhealthy,
}

/// What to do when a way is worse than it may be for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// Play all the same.
    GoOn,
    /// Do not begin ([`LoopError::Unhealthy`](crate::LoopError::Unhealthy)).
    End,
}

/// What is wrong with the way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unhealthy {
    /// It does not work in both directions.
    NotProved(Proof),
    /// Its round trip is too long.
    RoundTrip(Duration),
    /// Of every hundred datagrams so many are lost, rounded.
    LossPercent(u8),
}

impl Unhealthy {
    /// The reason in one word, for files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotProved(proof) => proof.name(),
            Self::RoundTrip(_) => "round_trip",
            Self::LossPercent(_) => "loss",
        }
    }
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProved(Proof::NotConnected) => write!(formatter, "there is no connection"),
            Self::NotProved(Proof::NothingComes) => write!(formatter, "nothing comes from it"),
            Self::NotProved(Proof::NothingArrives | Proof::Both) => {
                write!(formatter, "it gets nothing of what this computer sends")
            }
            Self::RoundTrip(round_trip) => write!(formatter, "the round trip is {round_trip:?}"),
            Self::LossPercent(percent) => write!(formatter, "{percent} % of datagrams are lost"),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            round_trip_max: Duration::MAX,
            loss_percent_max: 100.0,
            patience: Duration::from_secs(5),
            or_else: OnUnhealthy::GoOn,
        }
    }
}

/// The check before one episode.
#[derive(Debug)]
pub(crate) struct HealthCheck {
    pub(crate) health: Health,
    began: Option<Timestamp>,
    /// When it was asked last.
    asked_at: Option<Timestamp>,
    told: PeerSet,
    is_over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Play may begin.
    Begin,
    /// These are waited for.
    Wait(PeerSet),
    /// It does not begin, after so long.
    End(PeerId, Unhealthy, Duration),
}

impl HealthCheck {
    /// A check; one that comes back into an episode needs none.
    pub(crate) fn new(rejoins: bool) -> Self {
        Self {
            health: Health::default(),
            began: None,
            asked_at: None,
            told: PeerSet::EMPTY,
            is_over: rejoins,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Looks at the ways to these peers, which are ready to play; and says whether nobody else is waited for. `within` is how
    /// long they may take to work at all.
    pub(crate) fn judge<T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        (peers, is_complete): (PeerSet, bool),
        within: Duration,
        transport: &mut T,
    ) -> Verdict {
        let waited = now.since(*self.began.get_or_insert(now));
        let mut waits = PeerSet::EMPTY;
        let mut again = false;
        for peer in peers.iter() {
            let Some(why) = self.fault(peer, transport) else { continue };
            let is_dead = matches!(why, Unhealthy::NotProved(_));
            let patience = if is_dead { within } else { self.health.patience };
            let is_told_at = if is_dead { patience.min(TOLD_AFTER) } else { Duration::ZERO };
            if waited >= is_told_at && !self.told.contains(peer) {
                self.told.insert(peer);
                transport.note_unhealthy(peer, why);
            }
            match waited < patience {
                true => waits.insert(peer),
                false if is_dead || self.health.or_else == OnUnhealthy::End => {
                    return Verdict::End(peer, why, patience);
                }
                false => continue,
            };
            again |= !is_dead;
        }
        if waits.is_empty() {
            self.is_over = is_complete;
            return Verdict::Begin;
        }
        // What was measured is to be measured again.
        if again && self.asked_at.is_none_or(|at| now.since(at) >= AGAIN_EVERY) {
            self.asked_at = Some(now);
            waits.iter().for_each(|peer| transport.begin_check(peer));
        }
        Verdict::Wait(waits)
    }

    fn fault<T: DatagramTransport>(&self, peer: PeerId, transport: &T) -> Option<Unhealthy> {
        match transport.proof(peer) {
            // One that was lost after its hello is lost as in play.
            Proof::Both | Proof::NotConnected => {}
            proof => return Some(Unhealthy::NotProved(proof)),
        }
        let link = transport.link(peer)?;
        if let Some(round_trip) = link.checked_round_trip
            && round_trip > self.health.round_trip_max
        {
            return Some(Unhealthy::RoundTrip(round_trip));
        }
        let losses = [link.recent_loss_out_percent, link.recent_loss_in_percent];
        let loss = losses.into_iter().flatten().fold(0.0, f64::max);
        (loss > self.health.loss_percent_max).then(|| Unhealthy::LossPercent(percent(loss)))
    }
}

/// Rounded to whole numbers up to a hundred.
fn percent(loss: f64) -> u8 {
    (0..=100).find(|percent| f64::from(*percent) + 0.5 > loss).unwrap_or(100)
}

/// When it is told that the way to a peer does not work.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// How often a way that is not good enough is measured again: not before what was measured just now counts as old.
const AGAIN_EVERY: Duration = Duration::from_millis(1100);
