//! The command `rollback-server`: reads the command line and runs the server until it is told to stop.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Parser, value_parser};
use rollback_server::{
    BackgroundServerError, Certificate, GroupSize, IceOptions, Rooms, ServerConfig, run,
};
use rollback_signaling::{MEMBERS_MAX, RoomName, WATCHERS_MAX};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Brings the members of a match together. People join with a link such as
/// ws://127.0.0.1:8080/kitchen.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// The address to listen on; 0.0.0.0:8080 is port 8080 of every one that this computer has.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = parse_address)]
    listen: SocketAddr,

    /// A room; may be given several times. Without it, any room that someone names exists.
    #[arg(long = "room", value_name = "NAME")]
    rooms: Vec<RoomName>,

    /// How many members make a group complete: once for all rooms, or once for each --room in
    /// their order.
    #[arg(long, value_name = "N", default_values_t = [2], value_parser = up_to(1, MEMBERS_MAX))]
    players: Vec<u8>,

    /// How many of them begin without the others, who may come while it is played: once for all rooms, or once for each
    /// --room in their order. Without it all are waited for.
    #[arg(long, value_name = "N", value_parser = up_to(1, MEMBERS_MAX))]
    begin_with: Vec<u8>,

    /// How many seconds the slot of a member that is away is kept for it during a match.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    slot_hold: u64,

    /// How many may watch a group that plays, 0 to 8.
    #[arg(long, value_name = "N", default_value_t = WATCHERS_MAX, value_parser = up_to(0, WATCHERS_MAX))]
    watchers: u8,

    /// Speaks TLS (wss://) with this certificate, followed by those up to an authority; in PEM, as ACME clients write it.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Keeps the groups that play in this file, so that whoever is cut off after a restart of the server can still return.
    /// It holds secrets.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Passes nothing between members: those without a direct or TURN path cannot play.
    #[arg(long)]
    no_relay: bool,

    /// A room in which nobody may watch; may be given several times.
    #[arg(long = "unwatched", value_name = "ROOM")]
    unwatched: Vec<RoomName>,

    #[command(flatten)]
    ice: IceOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rollback-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let rooms = rooms(&arguments.rooms, &arguments.players, &arguments.begin_with)?;
    check_unwatched(&rooms, &arguments.unwatched)?;
    let ice = arguments.ice.offer()?;
    let files = arguments.tls_certificate.as_deref().zip(arguments.tls_key.as_deref());
    let certificate = files.map(|(chain, key)| Certificate::from_files(chain, key)).transpose()?;
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    let address = arguments.listen;
    let listen_error = |error| BackgroundServerError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr()?;
    let told_to_stop = told_to_stop()?;
    match &rooms {
        Rooms::Fixed(rooms) => {
            for (room, size) in rooms {
                tracing::info!("{scheme}://{address}/{room} for {size}");
            }
        }
        Rooms::Any(size) => {
            tracing::info!("{scheme}://{address}/<any room> for {size}");
        }
    }
    let config = ServerConfig {
        playing_slot_hold: Duration::from_secs(arguments.slot_hold),
        watchers_max: arguments.watchers,
        relay: !arguments.no_relay,
        unwatched: arguments.unwatched.into_iter().collect(),
        ice,
        certificate,
        state_file: arguments.state,
        ..ServerConfig::new(rooms)
    };
    Ok(run(listener, config, told_to_stop).await?)
}

/// Ready at Ctrl-C, and at the SIGTERM of a service manager, from the moment that this returns.
#[cfg(unix)]
fn told_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let what = tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!("{what}: tells everyone and stops");
    })
}

/// Ready at Ctrl-C.
#[cfg(not(unix))]
fn told_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // When Ctrl-C cannot be waited for, the server runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        tracing::info!("Ctrl-C: tells everyone and stops");
    })
}

/// What the help ends with.
const AFTER_HELP: &str = "Ctrl-C or SIGTERM stops it: everyone who is connected is told. Matches whose members have a \
    direct or TURN path go on without it. It logs to stderr; RUST_LOG=rollback_server=debug says who comes, goes and is \
    refused. GET /health says how many there are.";

/// What is logged. Of the TURN server nothing: it writes a line for each datagram that it does not like.
const USUAL_FILTER: &str = "info,turn=off";

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

fn up_to(least: u8, most: u8) -> RangedI64ValueParser<u8> {
    value_parser!(u8).range(i64::from(least)..=i64::from(most))
}

/// A name that is misspelt would leave a room open to all who watch.
fn check_unwatched(rooms: &Rooms, unwatched: &[RoomName]) -> Result<(), String> {
    match unwatched.iter().find(|room| rooms.group_size(room).is_none()) {
        Some(room) => Err(format!("--unwatched {room}: there is no --room {room}")),
        None => Ok(()),
    }
}

fn rooms(
    names: &[RoomName],
    players: &[u8],
    begin_with: &[u8],
) -> Result<Rooms, Box<dyn std::error::Error>> {
    let count = names.len().max(1);
    let players = of_each_room("--players", players, count)?;
    let begin_with = match begin_with {
        [] => players.clone(),
        given => of_each_room("--begin-with", given, count)?,
    };
    let size = |(players, begin_with): (u8, u8)| {
        GroupSize::try_from(players).and_then(|size| size.beginning_with(begin_with))
    };
    let sizes: Vec<GroupSize> =
        players.into_iter().zip(begin_with).map(size).collect::<Result<_, _>>()?;
    if let (true, [size]) = (names.is_empty(), sizes.as_slice()) {
        return Ok(Rooms::Any(*size));
    }
    let rooms: BTreeMap<_, _> = names.iter().cloned().zip(sizes).collect();
    if rooms.len() < names.len() {
        return Err("expected each --room once".into());
    }
    Ok(Rooms::Fixed(rooms))
}

/// A number that is given once for all rooms, or once for each.
fn of_each_room(name: &str, given: &[u8], rooms: usize) -> Result<Vec<u8>, String> {
    match given {
        [one] => Ok(vec![*one; rooms]),
        given if given.len() == rooms => Ok(given.to_vec()),
        given => {
            let got = format!("{} for {rooms} rooms", given.len());
            Err(format!("expected {name} once, or once a room; got {got}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Rooms, String> {
        let arguments = [&["rollback-server"], arguments].concat();
        let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let rooms = rooms(&arguments.rooms, &arguments.players, &arguments.begin_with);
        let rooms = rooms.map_err(|error| error.to_string())?;
        check_unwatched(&rooms, &arguments.unwatched)?;
        Ok(rooms)
    }

    fn size(members: u8) -> GroupSize {
        members.try_into().unwrap()
    }

    #[test]
    fn without_a_room_any_room_exists() {
        assert_eq!(parsed(&[]), Ok(Rooms::Any(size(2))));
        assert_eq!(parsed(&["--players", "4"]), Ok(Rooms::Any(size(4))));
    }

    #[test]
    fn players_are_given_once_or_once_for_each_room() {
        let both = |first: u8, second: u8| {
            let named = |name: &str, members| (name.parse().unwrap(), size(members));
            Ok(Rooms::Fixed([named("a", first), named("b", second)].into()))
        };
        let once = parsed(&["--room", "a", "--room", "b", "--players", "3"]);
        assert_eq!(once, both(3, 3));
        let each = parsed(&["--room", "a", "--players", "3", "--room", "b", "--players", "4"]);
        assert_eq!(each, both(3, 4));
    }

    #[test]
    fn a_room_may_begin_with_fewer() {
        let begins = |members, with| size(members).beginning_with(with).unwrap();
        assert_eq!(parsed(&["--players", "3", "--begin-with", "2"]), Ok(Rooms::Any(begins(3, 2))));
        let each = ["--room", "a", "--room", "b", "--players", "3"];
        let named = |name: &str, size| (name.parse().unwrap(), size);
        let once = [named("a", begins(3, 1)), named("b", begins(3, 1))];
        assert_eq!(
            parsed(&[&each[..], &["--begin-with", "1"]].concat()),
            Ok(Rooms::Fixed(once.into()))
        );
        let both = [named("a", begins(3, 1)), named("b", begins(3, 3))];
        let given = ["--begin-with", "1", "--begin-with", "3"];
        assert_eq!(parsed(&[&each[..], &given].concat()), Ok(Rooms::Fixed(both.into())));
        for wrong in ["0", "4"] {
            assert!(parsed(&["--players", "3", "--begin-with", wrong]).is_err());
        }
        assert!(parsed(&["--begin-with", "1", "--begin-with", "2"]).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(parsed(&["--room", "a", "--players", "3", "--players", "4"]).is_err());
        assert!(parsed(&["--room", "a", "--room", "a"]).is_err());
        assert!(parsed(&["--room", "Kitchen"]).is_err());
        assert!(parsed(&["--players", "0"]).is_err());
        assert!(parsed(&["--players", "9"]).is_err());
        assert!(parsed(&["--watchers", "9"]).is_err());
        assert!(parsed(&["--room", "a", "--unwatched", "b"]).is_err());
        assert!(parsed(&["--unwatched", "b"]).is_ok());
    }

    #[test]
    fn an_address_that_is_none_is_answered_with_one() {
        for wrong in ["8080", ":8080", "localhost:8080"] {
            let error = parsed(&["--listen", wrong]).unwrap_err();
            assert!(error.contains("such as 127.0.0.1:8080"), "{error}");
        }
    }
}
