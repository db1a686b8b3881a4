//! WebRTC data channels as the transport of a rollback session.
//!
//! [`Transport`] joins a room at a `rollback-server`, connects to every other member directly,
//! through TURN or through the server, keeps connecting for as long as both are there, and carries small unreliable
//! datagrams and bounded reliable bulk messages. It runs on a background thread, which up to eight
//! transports of a process share; the caller needs no async runtime. [`AsyncTransport`] is the same for async programs, and [`LoopbackTransport`] is a
//! network within one process. A [`GameLoop`] takes any [`DatagramTransport`], and waits without
//! blocking on any [`AsyncDatagramTransport`].
//!
//! ```no_run
//! use std::time::Duration;
//! use rollback_webrtc::{DATAGRAM_BYTES_MAX, Transport, TransportConfig};
//!
//! let transport =
//!     Transport::join_blocking("ws://127.0.0.1:8080/kitchen", TransportConfig::default())?;
//! let mut buffer = [0; DATAGRAM_BYTES_MAX];
//! for member in &transport.room().members {
//!     if member.peer != transport.room().local {
//!         transport.try_send(member.peer, b"hello")?;
//!     }
//! }
//! while transport.wait(Duration::from_secs(1)) {
//!     while let Some(received) = transport.try_receive(&mut buffer) {
//!         println!("{:?} sent {:?}", received.peer, &buffer[..received.len]);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod async_transport;
mod background;
mod background_thread;
mod backoff;
mod bulk;
mod clock;
mod conduct;
mod config;
mod datagram_transport;
#[cfg(test)]
mod detached;
pub mod doctor;
mod episode_setup;
mod error;
mod game_loop;
mod health;
mod ice;
mod ice_servers;
mod ice_url;
mod link;
mod link_conditions;
mod lobby;
mod loopback;
mod mailbox;
mod mesh;
mod neighbours;
mod own_addresses;
mod pair;
mod path;
mod peer_connection;
mod proxy;
mod random;
mod reach;
mod recording_file;
mod relay;
mod returning;
mod route;
mod signaling_client;
mod stats;
mod stun;
mod tcp;
mod telemetry;
mod tls;
mod transport;
mod turn_stream;
mod watching;
mod websocket;

pub use async_transport::AsyncTransport;
pub use bulk::{BULK_MESSAGE_BYTES_MAX, BULK_WINDOW};
pub use config::{DATAGRAMS_PER_SECOND, DATAGRAMS_PER_SECOND_MIN, TransportConfig};
pub use datagram_transport::{
    AsyncDatagramTransport, DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendOutcome,
};
pub use episode_setup::{EpisodeSetup, Hosts, START_TIMEOUT, SetupError};
pub use error::{JoinError, LinkError, SendError};
pub use game_loop::{GameLoop, LoopError};
pub use health::{Health, OnUnhealthy, Unhealthy};
pub use ice::{IceServer, PathPolicy, TurnTrouble};
pub use ice_servers::IceServerError;
pub use ice_url::{IceUrlError, TurnTransport};
pub use link_conditions::LinkConditions;
pub use lobby::{JoinProgress, Room, RoomMember};
pub use loopback::LoopbackTransport;
pub use path::{CandidateKind, Network, Path, PathEnd};
pub use proxy::{ProxyChoice, ProxyUrl, ProxyUrlError};
pub use recording_file::RecordError;
pub use relay::RelayTrouble;
pub use returning::{Inquiry, ReturnError, Standing};
pub use rollback_signaling::{ErrorCode, NameError, TextError, TokenError};
pub use stats::{
    CertificateOwner, InputsPassed, Loss, PeerStats, ShutOut, TransportEvent, WayCounters,
};
pub use telemetry::{LinkReport, Outage, Proof};
pub use transport::{Joining, Transport};
pub use watching::{JoiningWatch, WatchError, WatchLoop, WatchTransport};

/// The README's example in Rust, compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
