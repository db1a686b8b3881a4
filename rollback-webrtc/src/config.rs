//! What a transport is told at its start.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::ice::{IceServer, PathPolicy};
use crate::link_conditions::LinkConditions;
use crate::proxy::ProxyChoice;

/// How to join a room and connect to its members. The default contacts nothing but the server of the
/// link and the members of the room.
#[derive(Clone, PartialEq)]
pub struct TransportConfig {
    /// What other members may call this one; 1 to 64 bytes.
    pub name: Option<String>,
    /// A digest, at most 256 bytes, of whatever all members must have in common. The server refuses
    /// a member whose digest is not that of the members waiting.
    pub settings: String,
    /// The token of an earlier [`Room`](crate::Room), to return to the same slot.
    pub token: Option<String>,
    /// STUN and TURN servers, at most 16. Without any, and without those of the server, members connect over
    /// addresses that reach each other directly, as in one network.
    pub ice_servers: Vec<IceServer>,
    /// Whether to use the STUN and TURN servers that the server of the link offers, too.
    pub use_offered_ice_servers: bool,
    /// Certificates of authorities, in DER, to trust besides those of the system: for `wss:` links, and for TURN
    /// servers over TLS.
    pub trusted_certificates: Vec<Vec<u8>>,
    /// Which ways to take.
    pub path_policy: PathPolicy,
    /// Whether datagrams and bulk messages may go through the server when there is no better way, and
    /// while one is being looked for. Both ends must allow it.
    pub server_relay: bool,
    /// How long nothing may come over a WebRTC connection until it counts as interrupted and another
    /// way is taken; 0.2 to 10 s, 0.8 s by default.
    pub interrupted_after: Duration,
    /// For how long a member must not be reached over any way until the application
    /// [is told](crate::TransportEvent::PeerReconnecting); 1 s by default. Connecting anew begins at once all the same.
    pub told_after: Duration,
    /// Which HTTP proxy to take to the server.
    pub proxy: ProxyChoice,
    /// Local addresses to use for WebRTC. Empty means all IPv4 addresses of this computer, the IPv6 one from which it would
    /// reach the Internet, and with a link to this computer itself also 127.0.0.1, so that it works offline.
    pub bind: Vec<IpAddr>,
    /// How many datagrams a second a peer may send at most, a second's worth at once; [`DATAGRAMS_PER_SECOND`] by default.
    /// One that sends more, or more than half as many of the longest ones, is [shut out](crate::TransportEvent::PeerShutOut).
    /// Probes and their answers count too: eight a second, and some forty more in the second of a check. Fewer than
    /// [`DATAGRAMS_PER_SECOND_MIN`] count as that; a game of more than 60 frames a second needs at least four times its frames.
    pub datagrams_per_second: u32,
    /// A bad network on top of the real one.
    pub link_conditions: LinkConditions,
    /// How long to try to reach the server for the first time.
    pub connect_timeout: Duration,
}

impl fmt::Debug for TransportConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, settings, token, path_policy, bind, link_conditions, .. } = self;
        let mut config = formatter.debug_struct("TransportConfig");
        config.field("name", name).field("settings", settings);
        config.field("comes_back", &token.is_some()).field("path_policy", path_policy);
        config.field("server_relay", &self.server_relay).field("proxy", &self.proxy);
        config.field("bind", bind).field("link_conditions", link_conditions).finish_non_exhaustive()
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            name: None,
            settings: String::new(),
            token: None,
            ice_servers: Vec::new(),
            use_offered_ice_servers: true,
            trusted_certificates: Vec::new(),
            path_policy: PathPolicy::All,
            server_relay: true,
            interrupted_after: Duration::from_millis(800),
            told_after: Duration::from_secs(1),
            proxy: ProxyChoice::Environment,
            bind: Vec::new(),
            datagrams_per_second: DATAGRAMS_PER_SECOND,
            link_conditions: LinkConditions::default(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// How many datagrams a second a peer may send, unless the configuration says otherwise. A session sends each member one in a
/// frame, which is 60 a second in most games and 1,000 at most. This is eight times the most, and 133 times what is usual.
pub const DATAGRAMS_PER_SECOND: u32 = 8 * 1000;

/// The fewest that a configuration may allow: four times what an honest peer sends at 60 frames a second.
pub const DATAGRAMS_PER_SECOND_MIN: u32 = 4 * 60;
