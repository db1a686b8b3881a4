//! What a game loop does about peers that are not honest: those that send what is not of the session are shut out, and those
//! that are shut out are sent away by the agreement that there is for whoever is lost.

use std::time::Duration;

use rollback_core::{Game, KickError, PEERS_MAX, PeerId, Session, SessionConfig, Timestamp};
use rollback_signaling::RelayAllowance;

use crate::datagram_transport::DatagramTransport;

/// What is known of each peer.
#[derive(Debug)]
pub(crate) struct Conduct {
    peers: [Known; PEERS_MAX],
}

#[derive(Debug, Clone)]
struct Known {
    /// What was refused of it so far.
    refused: u64,
    allowance: RelayAllowance,
    /// Whether the session knows that it is shut out.
    is_sent_away: bool,
}

impl Conduct {
    pub(crate) fn new(now: Timestamp, config: &SessionConfig) -> Self {
        let per_second = u32::from(config.tick_rate_hz()).saturating_mul(FORGED_RATES);
        let allowance = RelayAllowance::new(time(now), per_second.max(FORGED_MIN), u32::MAX);
        let known = Known { refused: 0, allowance, is_sent_away: false };
        Self { peers: std::array::from_fn(|_| known.clone()) }
    }

    /// Looks at what the session has refused since the last time.
    pub(crate) fn judge<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        session: &mut Session<G>,
        transport: &mut T,
    ) {
        for (peer, known) in PeerId::all(PEERS_MAX).zip(&mut self.peers) {
            let Some(counters) = session.link_counters(peer) else { continue };
            let refused = counters.refused();
            let mut newly = known.refused..refused;
            known.refused = refused;
            if !newly.all(|_| known.allowance.spend(time(now), 0)) {
                transport.shut_out(peer);
            }
            if !transport.is_shut_out(peer) {
                known.is_sent_away = false;
            } else if !known.is_sent_away {
                // Where too few would be left it is lost as any other that is silent.
                known.is_sent_away = session.kick(peer) != Err(KickError::NotPlaying);
            }
        }
    }
}

fn time(now: Timestamp) -> Duration {
    Duration::from_micros(now.as_micros())
}

/// So many datagrams for each frame may be refused. Of an honest peer that is one at most: one that does not know yet that it
/// is no member, or that an episode is over, sends on in vain.
const FORGED_RATES: u32 = 4;

/// But at least so many in a second, for all that waited for the game at once, twice.
const FORGED_MIN: u32 = 512;
