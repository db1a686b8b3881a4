//! What a game loop wants of the ways to the other members before an episode begins: that both directions of each are shown to
//! work, and that none is worse than it may be.

use std::fmt;
use std::time::Duration;

use rollback_core::{PEERS_MAX, PeerId, PeerSet, Timestamp};

use crate::datagram_transport::DatagramTransport;
use crate::telemetry::Proof;

/// How good the ways to all other members must be for an episode to begin. By default they must work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// The longest round trip.
    pub round_trip_max: Duration,
    /// The most datagrams that may be lost of every hundred of late, in either direction.
    pub loss_percent_max: f64,
    /// How long to wait for a way to become so, from when it is first found to be worse.
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
            Self::NotProved(Proof::CertificateRefused) => {
                write!(
                    formatter,
                    "there is no connection: a certificate is not that of its description"
                )
            }
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
    /// Since when the way to each peer is worse than it may be, though it works.
    worse_since: [Option<Timestamp>; PEERS_MAX],
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
            worse_since: [None; PEERS_MAX],
            asked_at: None,
            told: PeerSet::EMPTY,
            is_over: rejoins,
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Looks at the ways to these peers, which are ready to play; and says whether nobody else is waited for. `within` is how
    /// long they may take to work at all, from the first call on.
    pub(crate) fn judge<T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        (peers, is_complete): (PeerSet, bool),
        within: Duration,
        transport: &mut T,
    ) -> Verdict {
        let began = *self.began.get_or_insert(now);
        let mut waits = PeerSet::EMPTY;
        let mut again = false;
        for peer in peers.iter() {
            let fault = self.fault(peer, transport);
            let Some(worse_since) = self.worse_since.get_mut(peer.index()) else { continue };
            let Some(why) = fault else {
                *worse_since = None;
                continue;
            };
            let is_dead = matches!(why, Unhealthy::NotProved(_));
            // A peer may come late: what was measured before is no fault of its until it is here.
            let (since, patience) = match is_dead {
                true => (began, within),
                false => (*worse_since.get_or_insert(now), self.health.patience),
            };
            let waited = now.since(since);
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
            Proof::Both | Proof::NotConnected | Proof::CertificateRefused => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detached::Detached;
    use crate::telemetry::LinkReport;

    /// A way of which this round trip was measured.
    fn measured(millis: u64) -> Detached {
        let checked_round_trip = Some(Duration::from_millis(millis));
        Detached {
            link: LinkReport { checked_round_trip, ..Default::default() },
            ..Default::default()
        }
    }

    const WITHIN: Duration = Duration::from_secs(60);

    fn strict() -> HealthCheck {
        let health = Health {
            round_trip_max: Duration::from_millis(200),
            or_else: OnUnhealthy::End,
            ..Health::default()
        };
        HealthCheck { health, ..HealthCheck::new(false) }
    }

    fn peers(slots: &[u8]) -> PeerSet {
        slots.iter().filter_map(|slot| PeerId::new(*slot)).collect()
    }

    #[test]
    fn patience_counts_from_the_first_fault_of_each_peer() {
        let (mut check, mut ways) = (strict(), measured(300));
        let mut at = |second: u64, slots: &[u8]| {
            let now = Timestamp::from_millis(second * 1000);
            let verdict = check.judge(now, (peers(slots), slots.len() == 2), WITHIN, &mut ways);
            (verdict, ways.checks)
        };
        assert_eq!(at(0, &[]), (Verdict::Begin, 0));
        assert_eq!(at(6, &[1]), (Verdict::Wait(peers(&[1])), 1), "it is measured again");
        assert_eq!(at(9, &[1, 2]), (Verdict::Wait(peers(&[1, 2])), 3));
        let slow = Unhealthy::RoundTrip(Duration::from_millis(300));
        let first = PeerId::new(1).unwrap();
        let patience = Duration::from_secs(5);
        assert_eq!(at(11, &[1, 2]), (Verdict::End(first, slow, patience), 3));
    }

    #[test]
    fn a_way_that_was_good_enough_meanwhile_has_all_patience_again() {
        let (mut check, mut ways) = (strict(), measured(300));
        let mut at = |second: u64, round_trip, is_complete| {
            ways.link = measured(round_trip).link;
            let now = Timestamp::from_millis(second * 1000);
            check.judge(now, (peers(&[1]), is_complete), WITHIN, &mut ways)
        };
        assert_eq!(at(0, 300, false), Verdict::Wait(peers(&[1])));
        assert_eq!(at(2, 100, false), Verdict::Begin, "another peer is waited for");
        assert_eq!(at(20, 300, true), Verdict::Wait(peers(&[1])));
        assert_eq!(at(21, 100, true), Verdict::Begin);
        assert!(check.is_over());
    }
}
