//! Somebody who watches a match over data channels, and comes in the middle of it.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::faulty_path::FaultyPath;
use common::folder::Folder;
use common::sum::Sum;
use common::{PATIENCE, join_all, link, local, server, wait_until};
use rollback_core::recording::Recording;
use rollback_core::spectate::{SpectatorOptions, Watched};
use rollback_core::{Advance, EndCause, Frame, PlayerHandle, SessionConfig};
use rollback_signaling::ErrorCode;
use rollback_webrtc::{
    EpisodeSetup, GameLoop, JoinError, Transport, TransportConfig, WatchLoop, WatchTransport,
};

/// When the members stop, and how far they are.
#[derive(Default)]
struct Signals {
    is_seen: AtomicBool,
    frame: AtomicU32,
}

fn setup(transport: &Transport, folder: &Path, episode: u32) -> EpisodeSetup {
    let config = SessionConfig::builder().players(2).tick_rate_hz(120).members_min(1).build();
    let room = transport.room();
    let setup = EpisodeSetup::of_room(room, config.unwrap()).unwrap();
    let file = folder.join(format!("{}-{episode}.rbk", room.local.slot()));
    let setup = setup.for_episode(room.seed, episode, None, room.late);
    EpisodeSetup { recording: Some(file), ..setup }
}

/// Plays an episode until whoever watches has seen enough of it.
fn play(transport: Transport, folder: &Path, episode: u32, signals: &Signals) -> Transport {
    let setup = setup(&transport, folder, episode);
    let mut game = Sum::default();
    let mut playing = GameLoop::new(transport, setup, &game).unwrap();
    loop {
        let players: Vec<PlayerHandle> = playing.local_players().collect();
        let frame = playing.session().current_frame();
        for player in players {
            let input = (frame.index() / 5).to_le_bytes()[0] ^ player.slot();
            playing.set_local_input_of(player, &input).unwrap();
        }
        if let Advance::Ended(end) = playing.advance_frame(&mut game).unwrap() {
            assert_eq!(end.cause, EndCause::Named(3));
            break;
        }
        signals.frame.fetch_max(frame.index(), Ordering::Relaxed);
        if signals.is_seen.load(Ordering::Relaxed) {
            playing.propose_end(3);
        }
        playing.sleep_until_next_frame();
    }
    playing.finish(&mut game).unwrap()
}

/// Watches an episode to its end, and records it; `each` is told how many frames were shown.
fn watch(show: &mut WatchLoop, file: &Path, mut each: impl FnMut(&WatchLoop)) -> (Sum, Frame) {
    assert!(show.begin_episode(PATIENCE).is_some(), "no episode to watch");
    show.record(file, 0).unwrap();
    let (mut game, deadline) = (Sum::default(), Instant::now() + PATIENCE);
    loop {
        assert!(Instant::now() < deadline, "no end: {:?}", show.spectator());
        if let Watched::Ended(end) = show.advance(&mut game).unwrap() {
            return (game, end.frame);
        }
        each(show);
        show.sleep_until_next_frame();
    }
}

fn recorded(folder: &Path, slot: u8, episode: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = std::fs::read(folder.join(format!("{slot}-{episode}.rbk"))).unwrap();
    let recording = Recording::decode(&bytes).unwrap();
    let rows = recording.frames().map(|frame| frame.inputs).collect();
    (bytes, rows)
}

#[test]
fn whoever_comes_in_the_middle_of_an_episode_sees_what_is_recorded() {
    let server = server(2);
    see_all(&link(&server, "kitchen"), "watched");
}

#[test]
fn where_nothing_passes_directly_one_watches_through_the_server() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.is_cut.store(true, Ordering::Relaxed);
    see_all(&path.link("kitchen"), "relayed");
}

fn see_all(link: &str, name: &str) {
    let folder = Folder::new(name);
    let transports = join_all(link, vec![local(), local()]);
    let signals = [Signals::default(), Signals::default()];
    std::thread::scope(|scope| {
        for transport in transports {
            let (folder, signals) = (&folder.0, &signals);
            scope.spawn(move || {
                let transport = play(transport, folder, 0, &signals[0]);
                play(transport, folder, 1, &signals[1]).close();
            });
        }
        wait_until("two hundred frames are played", || {
            signals[0].frame.load(Ordering::Relaxed) > 200
        });
        let transport = WatchTransport::join_blocking(link, local()).unwrap();
        assert_eq!(transport.members().len(), 2);
        let mut show = WatchLoop::new(transport, SpectatorOptions::default());
        for (episode, signals) in (0..).zip(&signals) {
            let own = folder.file(&format!("watched-{episode}.rbk"));
            let (game, end) = watch(&mut show, &own, |show| {
                let shown = show.spectator().unwrap().current_frame();
                // Well behind what was played when it came; the second member is connected, too.
                let is_enough = shown > Frame::new(300) && show.transport().hosts() == 2;
                signals.is_seen.fetch_or(is_enough, Ordering::Relaxed);
            });
            assert_eq!(show.episode(), Some(episode));
            assert_eq!(show.spectator().unwrap().contradictions(), []);
            wait_until("both have recorded it", || {
                [0, 1].iter().all(|slot| {
                    let file = folder.file(&format!("{slot}-{episode}.rbk"));
                    let recording = std::fs::read(file).map(|bytes| Recording::decode(&bytes));
                    recording.is_ok_and(|file| file.is_ok_and(|file| file.is_complete()))
                })
            });
            let [first, second] = [0, 1].map(|slot| recorded(&folder.0, slot, episode));
            assert!(first == second, "the members' recordings are equal");
            assert_eq!(first.1.len(), end.index() as usize);
            assert_eq!(game.sums, Sum::after(&first.1).sums);
            assert!(std::fs::read(own).unwrap() == first.0, "the one of who watches, too");
        }
        show.into_transport().close();
    });
}

#[test]
fn when_the_member_that_feeds_is_gone_the_other_does() {
    let (server, folder) = (server(2), Folder::new("watched-on"));
    let link = link(&server, "kitchen");
    let mut transports = join_all(&link, vec![local(), local()]);
    let (signals, gone) = (Signals::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (second, first) = (transports.pop().unwrap(), transports.pop().unwrap());
        let (folder, signals, gone) = (&folder.0, &signals, &gone);
        scope.spawn(move || play(second, folder, 0, signals).close());
        scope.spawn(move || {
            let setup = setup(&first, folder, 0);
            let mut game = Sum::default();
            let mut playing = GameLoop::new(first, setup, &game).unwrap();
            while !gone.load(Ordering::Relaxed) {
                playing.set_local_input(&7).unwrap();
                playing.advance_frame(&mut game).unwrap();
                playing.sleep_until_next_frame();
            }
            // It leaves in order, so that the other goes on.
            playing.finish(&mut game).unwrap().close();
        });
        let transport = WatchTransport::join_blocking(&link, local()).unwrap();
        let mut show = WatchLoop::new(transport, SpectatorOptions::default());
        let own = folder.join("watched.rbk");
        let (game, _) = watch(&mut show, &own, |show| {
            let spectator = show.spectator().unwrap();
            let is_both =
                spectator.current_frame() > Frame::new(60) && show.transport().hosts() == 2;
            gone.fetch_or(is_both, Ordering::Relaxed);
            let is_left = gone.load(Ordering::Relaxed) && show.transport().hosts() == 1;
            signals.is_seen.fetch_or(
                is_left && spectator.fed_by().is_some_and(|host| host.0 == 1),
                Ordering::Relaxed,
            );
        });
        wait_until("it is recorded", || {
            let bytes = std::fs::read(folder.join("1-0.rbk")).unwrap();
            Recording::decode(&bytes).is_ok_and(|file| file.is_complete())
        });
        assert_eq!(game.sums, Sum::after(&recorded(folder, 1, 0).1).sums);
        show.into_transport().close();
    });
}

#[test]
fn where_nobody_plays_one_waits_and_is_told() {
    let server = server(2);
    let config = TransportConfig { connect_timeout: Duration::from_millis(300), ..local() };
    let refused = WatchTransport::join_blocking(&link(&server, "kitchen"), config);
    match refused {
        Err(JoinError::Unreachable { .. }) => {}
        other => panic!("expected that nobody plays, got {other:?}"),
    }
    assert!(ErrorCode::NothingToWatch.is_temporary());
}
