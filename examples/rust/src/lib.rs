//! A small game without a window, over WebRTC: what an application around `rollback-core` and `rollback-webrtc` looks like.
//!
//! [`arena`] is the game and knows of no network. [`play`] is the loop around it, [`verify`] checks what was recorded,
//! and [`command`] reads the command line. `docs/embedding.md` goes through them.

pub mod arena;
pub mod ballast;
pub mod command;
pub mod play;
pub mod summary;
pub mod verify;
pub mod walk;

/// The guide's examples, compiled and run as tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Guide;
