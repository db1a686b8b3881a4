//! Finds out whether one can play over a link with this computer, and what is in the way if one cannot: what
//! `rollback doctor` prints. It joins nothing and takes no slot, and nobody who plays notices.

mod echo;
mod finding;
mod loopback;
mod machine;
mod server;
mod stun;
mod verdict;

use std::sync::Arc;
use std::thread;

use tokio::task::JoinSet;

use self::finding::DIRECT;
pub use self::finding::{Diagnosis, Finding, Outcome, Part, Trip};
use self::loopback::{Attempt, NoLoopback, OPEN_TIMEOUT};
pub use self::verdict::Verdict;
use crate::background_thread::runtime;
use crate::clock::Clock;
use crate::config::TransportConfig;
use crate::error::JoinError;
use crate::ice::{PathPolicy, TurnTrouble};
use crate::ice_servers::{CheckedServer, IceServers};
use crate::ice_url::{IceUrlKind, TurnTransport};
use crate::link::RoomLink;
use crate::own_addresses::OwnAddresses;
use crate::proxy::ProxyChoice;
use crate::tls::Trust;

/// Examines the way to the server of a link and all ways to other members, with the servers, the proxy and the policy of
/// the configuration. Blocks for at most 15 s, and usually for two.
///
/// ```no_run
/// use rollback_webrtc::{TransportConfig, doctor};
/// let diagnosis = doctor::examine("ws://127.0.0.1:8080/kitchen", TransportConfig::default())?;
/// println!("{diagnosis}\n{}", diagnosis.verdict().text);
/// # Ok::<(), rollback_webrtc::JoinError>(())
/// ```
///
/// # Errors
/// [`JoinError`], when the link or the configuration is wrong. Whatever else does not work is in the diagnosis.
pub fn examine(link: &str, config: TransportConfig) -> Result<Diagnosis, JoinError> {
    let link: RoomLink = link.parse()?;
    let trust = Trust::new(config.trusted_certificates)?;
    let trust = Arc::new(trust);
    let accepts_offers = config.use_offered_ice_servers;
    let servers = IceServers::new(&config.ice_servers, accepts_offers, Arc::clone(&trust))?;
    let doctor = Doctor {
        clock: Clock::start(),
        bind: OwnAddresses::new(config.bind, link.is_loopback()),
        link,
        proxy: config.proxy,
        trust,
        servers,
        policy: config.path_policy,
        server_relay: config.server_relay,
    };
    // On a thread of its own, because the caller may be within a runtime already.
    let examining = thread::Builder::new()
        .name("rollback-doctor".to_owned())
        .spawn(move || doctor.examine())
        .map_err(JoinError::Thread)?;
    examining.join().map_err(|_| JoinError::Ended)?
}

struct Doctor {
    clock: Clock,
    link: RoomLink,
    proxy: ProxyChoice,
    trust: Arc<Trust>,
    servers: IceServers,
    policy: PathPolicy,
    bind: OwnAddresses,
    server_relay: bool,
}

impl Doctor {
    fn examine(self) -> Result<Diagnosis, JoinError> {
        // Before anything else runs, since that would be measured, too.
        let machine = machine::machine(self.clock);
        let runtime = runtime().map_err(JoinError::Thread)?;
        let (room_is_local, mut findings) = runtime.block_on(self.network());
        // A name being looked up must not hold up the end.
        runtime.shutdown_background();
        findings.extend(machine);
        Ok(Diagnosis { link: self.link.url().to_owned(), room_is_local, findings })
    }

    /// Whether the server is of this network, and what there is of ways.
    async fn network(&self) -> (bool, Vec<Finding>) {
        let mut findings = Vec::new();
        let server = server::examine(&self.link, (&self.proxy, &self.trust), &mut findings).await;
        if let Some(offered) = &server {
            self.servers.offer(&offered.ice_servers);
        }
        let known = self.servers.now();
        let mut ways = JoinSet::new();
        // The number is the place in the order for people; those who try a way may end in any.
        if self.policy == PathPolicy::All {
            let attempt = self.attempt(&[], PathPolicy::All);
            ways.spawn(async move {
                let tried = attempt.run().await.map_err(|reason| direct_reason(&reason));
                (0, Finding::of_way(DIRECT, tried))
            });
            let (servers, ipv4) = (known.clone(), self.bind.ipv4());
            ways.spawn(async move { (1, stun::address(&servers, ipv4).await) });
            let (servers, ipv6) = (known.clone(), self.bind.ipv6());
            ways.spawn(async move { (2, stun::ipv6(&servers, ipv6).await) });
        }
        let turns = known.iter().filter(|server| server.url.is_turn());
        for (place, server) in (3..).zip(turns) {
            let attempt = self.attempt(std::slice::from_ref(server), PathPolicy::RelayOnly);
            let server = server.clone();
            ways.spawn(async move {
                let tried = attempt.run().await.map_err(|reason| turn_reason(&server, &reason));
                (place, Finding::of_way(server.url.to_string(), tried))
            });
        }
        if self.server_relay
            && let Some(offered) = &server
        {
            let (link, proxy) = (self.link.clone(), self.proxy.clone());
            let (trust, relays) = (Arc::clone(&self.trust), offered.relay);
            ways.spawn(async move {
                let finding = match relays {
                    true => Finding::of_way(THE_SERVER, echo::echo(&link, (&proxy, &trust)).await),
                    false => {
                        let text = "it carries nothing between members (--no-relay)";
                        Finding::new(Part::Way, THE_SERVER, Outcome::Note, text)
                    }
                };
                (usize::MAX, finding)
            });
        }
        let mut found = Vec::new();
        while let Some(joined) = ways.join_next().await {
            // A panic was reported where it happened, and says nothing of the other ways.
            found.extend(joined.ok());
        }
        found.sort_by_key(|(place, _)| *place);
        findings.extend(found.into_iter().map(|(_, finding)| finding));
        (server.is_some_and(|server| server.is_local), findings)
    }

    /// A connection over these servers only.
    fn attempt(&self, servers: &[CheckedServer], policy: PathPolicy) -> Attempt {
        let alone = IceServers::of(servers.to_vec(), Arc::clone(&self.trust));
        Attempt { clock: self.clock, servers: Arc::new(alone), policy, bind: self.bind.clone() }
    }
}

fn direct_reason(reason: &NoLoopback) -> String {
    match reason {
        NoLoopback::NoAddress => "this computer has no address that can be used".to_owned(),
        _ => "WebRTC from this computer to itself does not work: a firewall on it?".to_owned(),
    }
}

fn turn_reason(server: &CheckedServer, reason: &NoLoopback) -> String {
    let seconds = OPEN_TIMEOUT.as_secs();
    let port = server.url.port;
    match reason {
        NoLoopback::Turn(TurnTrouble::Silent) | NoLoopback::NoAddress => {
            let protocol = match server.url.kind {
                IceUrlKind::Turn(TurnTransport::Tcp | TurnTransport::Tls) => "TCP",
                _ => "UDP",
            };
            format!("{protocol} to port {port} is not answered within {seconds} s")
        }
        NoLoopback::Turn(trouble) => trouble.to_string(),
        NoLoopback::NothingComes | NoLoopback::Peers => {
            "the TURN server gives an address, but nothing that is sent there comes".to_owned()
        }
    }
}

/// The name of the way through the server.
const THE_SERVER: &str = "the server";
