//! The server that brings the members of a match together: rooms, signaling, health.
//!
//! `coordinator` holds all decisions and no I/O; `app` is the one task that owns it; `relay` passes on
//! what members cannot send each other in another way; `http` speaks with the world. [`run`] is the whole server for async callers and [`BackgroundServer`] for all
//! others.

mod app;
mod background;
mod clock;
mod command;
mod config;
mod coordinator;
mod group;
mod http;
mod ice;
mod ice_options;
mod offers;
mod rate_limit;
mod relay;
mod run;
mod saved;
mod state_file;
mod tls;
#[cfg(feature = "turn")]
mod turn_door;
#[cfg(feature = "turn")]
mod turn_members;
#[cfg(feature = "turn")]
mod turn_server;

pub use background::{BackgroundServer, BackgroundServerError};
pub use command::{ClientId, Command, Effect, Entropy};
pub use config::{GroupSize, GroupSizeError, Rooms, ServerConfig};
pub use coordinator::{Coordinator, Counters, Status};
pub use ice::{EmbeddedTurn, IceOffer, IceOfferError, TurnAccess};
pub use ice_options::{IceOptions, IceOptionsError, parse_ports};
pub use relay::RelayStatus;
pub use rollback_signaling::{NameError, RoomName, WATCHERS_MAX};
pub use run::run;
pub use saved::{RestoreError, SavedGroups};
pub use tls::{Certificate, CertificateError};
