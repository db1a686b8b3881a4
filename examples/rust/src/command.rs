//! The command line.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rollback_webrtc::{IceServer, PathPolicy, TransportConfig};

use crate::play::Plan;

/// A small game for two to eight computers, without a window: scripted players run for coins.
#[derive(Debug, Parser)]
#[command(name = "arena", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a room and play; prints a line of JSON at the end.
    Play(Box<PlayArguments>),
    /// Simulate recordings again and say whether they are right.
    Verify {
        /// The recordings.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// How to play.
#[derive(Debug, Args)]
pub struct PlayArguments {
    /// The room, such as ws://127.0.0.1:8080/arena.
    pub link: String,

    /// How many episodes.
    #[arg(long, default_value_t = 1)]
    episodes: u32,

    /// How many frames each.
    #[arg(long, default_value_t = 900)]
    frames: u32,

    /// Frames a second.
    #[arg(long, default_value_t = 60)]
    fps: u16,

    /// How many frames later an input takes effect.
    #[arg(long, value_name = "FRAMES", default_value_t = 2)]
    input_delay: u8,

    /// How many bytes an input takes. One is enough for this game; more show what long inputs do on a bad network.
    #[arg(long, value_name = "N", default_value_t = 1)]
    input_bytes: usize,

    /// How many bytes of no use a state has, which whoever comes back is given: what a large one does on a bad network.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16_000_000))]
    state_bytes: u32,

    /// How long a step takes beside what it does.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    step_ms: u64,

    /// How long the others may take to begin; connecting takes its time where much is lost.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    start_timeout: u64,

    /// How long the others may be silent before the match goes on without them.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    departure_timeout: u64,

    /// With fewer members than this an episode ends.
    #[arg(long, value_name = "N", default_value_t = 1)]
    members_min: usize,

    /// Where recordings go.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,

    /// Where the token is kept, so that the same command comes back after a crash.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// What the player does follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// What the others may call this computer.
    #[arg(long)]
    name: Option<String>,

    /// A STUN or TURN server: its URL, and for TURN ,USER,PASSWORD behind it; may be given several times.
    #[arg(long = "ice-server", value_name = "URL[,USER,PASSWORD]")]
    ice_servers: Vec<Server>,

    /// Send nothing directly, so that nobody learns this computer's address.
    #[arg(long)]
    relay_only: bool,

    /// Send nothing through the server.
    #[arg(long)]
    no_server_relay: bool,

    /// An authority, in DER, whose certificates are believed beside those that the system believes; may be given several
    /// times.
    #[arg(long, value_name = "FILE", value_parser = read_authority)]
    trust: Vec<Authority>,

    /// A local address to use; may be given several times. Without it, all of them.
    #[arg(long, value_name = "ADDRESS")]
    bind: Vec<IpAddr>,

    /// How long to try to reach the server.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    connect_timeout: u64,
}

#[derive(Debug, Clone)]
struct Server(IceServer);

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(',').collect();
        match parts.as_slice() {
            [url] => Ok(Self(IceServer::stun(*url))),
            [url, user, password] => Ok(Self(IceServer::turn(*url, *user, *password))),
            _ => Err("expected stun:HOST:PORT, or turn:HOST:PORT,USER,PASSWORD"),
        }
    }
}

#[derive(Debug, Clone)]
struct Authority(Vec<u8>);

fn read_authority(path: &str) -> io::Result<Authority> {
    fs::read(path).map(Authority)
}

impl From<PlayArguments> for Plan {
    fn from(arguments: PlayArguments) -> Self {
        let policy = if arguments.relay_only { PathPolicy::RelayOnly } else { PathPolicy::All };
        let transport = TransportConfig {
            name: arguments.name,
            ice_servers: arguments.ice_servers.into_iter().map(|server| server.0).collect(),
            path_policy: policy,
            server_relay: !arguments.no_server_relay,
            trusted_certificates: arguments
                .trust
                .into_iter()
                .map(|authority| authority.0)
                .collect(),
            bind: arguments.bind,
            connect_timeout: Duration::from_secs(arguments.connect_timeout),
            ..TransportConfig::default()
        };
        Self {
            link: arguments.link,
            transport,
            episodes: arguments.episodes,
            frames: arguments.frames,
            fps: arguments.fps,
            input_delay: arguments.input_delay,
            input_bytes: arguments.input_bytes,
            state_bytes: usize::try_from(arguments.state_bytes).unwrap_or(usize::MAX),
            step: Duration::from_millis(arguments.step_ms),
            start_timeout: Duration::from_secs(arguments.start_timeout),
            departure_timeout: Duration::from_secs(arguments.departure_timeout),
            members_min: arguments.members_min,
            folder: arguments.folder,
            token_file: arguments.token_file,
            seed: arguments.seed,
        }
    }
}
