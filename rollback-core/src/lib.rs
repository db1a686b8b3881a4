//! A deterministic peer-to-peer rollback engine.
//!
//! Two or more computers run the same deterministic simulation and exchange only inputs. Each guesses the inputs
//! that have not arrived, and when a guess was wrong, goes back and simulates again. This crate is the engine: it
//! owns no socket, clock or thread, so that a session is a pure function of the calls made to it.
//!
//! A simulation is a [`Game`], what a player does in a frame is its [`Input`], and a [`SyncTest`] says whether it is fit for
//! rollback. A [`SessionConfig`] and a [`Ticket`] make a [`Session`], to which its driver hands datagrams and time; `GameLoop` of
//! `rollback-webrtc` is such a driver. [`recording`] writes what was played, a [`Replay`] verifies it, and [`spectate`] shows
//! it to others.
//!
//! # Features
//!
//! - `std` (default): nothing but the standard library's help with errors. Without it the crate is `no_std` and takes `alloc`,
//!   atomics of 64 bits among them.
//! - `testing`: the simulator of networks, crashes and partitions in `rollback_core::testing`, for the tests of a game.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod bytes;
mod clock_sync;
mod config;
mod desync;
mod dump;
mod finality;
mod frame;
mod frame_pacer;
mod game;
mod hash;
mod held_rate;
mod input;
mod input_queue;
mod item;
pub mod journal;
mod narrowing;
mod paged;
mod pauses;
mod peer;
mod prediction;
#[cfg(test)]
mod properties;
pub mod recording;
mod replay;
mod resync;
mod rollback;
mod roster;
mod search;
mod session;
mod snapshot_ring;
pub mod spectate;
mod sync_test;
#[cfg(feature = "testing")]
pub mod testing;
mod ticket;
mod time;
mod wire;

pub use bytes::EndOfBytes;
pub use config::{
    ConfigDecodeError, ConfigError, DELAY_MAX, OnDesync, REPORT_INTERVAL_MAX, ResyncFrom,
    SessionConfig, SessionConfigBuilder, Silence, WINDOW_MAX,
};
pub use dump::{DesyncDump, DumpDifference, DumpError, DumpedRow, DumpedState};
pub use finality::{Agreed, Confirmed, Stable};
pub use frame::Frame;
pub use game::{Costs, Game, LEAVES_MAX, Leaves, Outcome, Same, Step, StepRow};
pub use hash::{Chain, StateHash, StateHasher};
pub use input::{Actor, INPUT_WIDTH_MAX, Input, InputFlags, InputStatus};
pub use input_queue::{GuessCounters, InputHistory};
pub use item::{Item, ItemAt, ItemError};
pub use narrowing::STATE_BYTES_MAX;
pub use paged::{OutOfBytes, PAGE_BYTES, PagedBytes};
pub use peer::{LinkCounters, Mismatch, Mismatches};
pub use prediction::{
    HINT_FRAMES_MAX, Idle, Markov, PerPlayer, PredictionTrial, Predictor, RepeatLast, TrialResult,
};
pub use replay::{Deviation, Replay, ReplayError, Segment, Verdict, Wrong};
pub use rollback::{DEPTHS, GameError, RUN_AHEAD_MAX, RollbackCounters};
pub use roster::{
    PEERS_MAX, PLAYERS_MAX, PeerId, PeerSet, PlayerHandle, Roster, RosterError, View,
};
pub use search::{Desync, DesyncFinding};
pub use session::{
    Advance, AdvanceError, AgreedState, BackfillError, Branch, BranchError, DepartureCause, End,
    EndCause, Event, InputError, KickError, Output, PEER_INPUT_BYTES_MAX, Session, SessionCounters,
    SessionError, StableFrame, Stall,
};
pub use sync_test::{
    Diverged, Divergence, SYNC_TEST_DEPTH_MAX, SyncReport, SyncTest, SyncTestError,
};
pub use ticket::{Facts, Ticket};
pub use time::Timestamp;
