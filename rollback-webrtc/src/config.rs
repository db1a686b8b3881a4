//! What a transport is told at its start.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::ice::{IcePolicy, IceServer};
use crate::link_conditions::LinkConditions;

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
    /// STUN and TURN servers. Without any, members connect over addresses that reach each other
    /// directly, as in one network.
    pub ice_servers: Vec<IceServer>,
    /// Which ways to take.
    pub ice_policy: IcePolicy,
    /// Local addresses to use for WebRTC. Empty means all IPv4 addresses of this computer, and
    /// with a link to this computer itself also 127.0.0.1, so that it works offline.
    pub bind: Vec<IpAddr>,
    /// A bad network on top of the real one.
    pub link_conditions: LinkConditions,
    /// How long to try to reach the server for the first time.
    pub connect_timeout: Duration,
}

impl fmt::Debug for TransportConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, settings, token, ice_policy, bind, link_conditions, .. } = self;
        let mut config = formatter.debug_struct("TransportConfig");
        config.field("name", name).field("settings", settings);
        config.field("comes_back", &token.is_some()).field("ice_policy", ice_policy);
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
            ice_policy: IcePolicy::All,
            bind: Vec::new(),
            link_conditions: LinkConditions::default(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}
