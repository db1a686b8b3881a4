//! Episodes played by game loops: over a network within this process, and over data channels.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

#[path = "../common/mod.rs"]
mod common;
mod health;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::folder::Folder;
use common::sum::Sum;
use common::{PATIENCE, link, local, peer, server};
use rollback_core::recording::Recording;
use rollback_core::{
    Advance, AdvanceError, EndCause, Facts, Frame, PeerId, PeerSet, PlayerHandle, Roster,
    SessionConfig, Ticket, Timestamp,
};
use rollback_webrtc::{
    AsyncDatagramTransport, AsyncTransport, DATAGRAM_BYTES_MAX, DatagramTransport, EpisodeSetup,
    GameLoop, Hosts, InputsPassed, LinkConditions, LoopError, LoopbackTransport, Received,
    START_TIMEOUT, SendError, SendOutcome,
};

/// An episode of players who are hosted by these peers, at 200 frames a second.
fn setup(hosts: &[u8], local: PeerId) -> EpisodeSetup {
    let hosts: Vec<PeerId> = hosts.iter().map(|slot| peer(*slot)).collect();
    let roster = Roster::new(&hosts).unwrap();
    let config = SessionConfig::builder()
        .players(hosts.len())
        .tick_rate_hz(200)
        .linger(Duration::from_millis(200))
        .build()
        .unwrap();
    EpisodeSetup {
        config,
        participants: vec![String::new(); roster.peer_count()],
        ticket: Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 },
        facts: Facts::default(),
        recording: None,
        late: PeerSet::EMPTY,
        completed_episodes: 0,
        start_timeout: START_TIMEOUT,
        rejoins: false,
    }
}

/// Where a member records.
fn file(folder: &Folder, local: PeerId) -> PathBuf {
    folder.file(&format!("{}.rbk", local.slot()))
}

/// What a player does in a frame.
fn input(player: PlayerHandle, frame: Frame) -> u8 {
    (frame.index() / 7).to_le_bytes()[0] ^ player.slot()
}

fn give_inputs<T: DatagramTransport>(episode: &mut GameLoop<Sum, T>) {
    let frame = episode.session().current_frame();
    let players: Vec<PlayerHandle> = episode.local_players().collect();
    for player in players {
        episode.set_local_input_of(player, &input(player, frame)).unwrap();
    }
}

/// Plays to the end.
fn play<T: DatagramTransport>(mut episode: GameLoop<Sum, T>, game: &mut Sum) {
    loop {
        give_inputs(&mut episode);
        if let Advance::Ended(end) = episode.advance_frame(game).unwrap() {
            assert_eq!(end.cause, EndCause::Finished);
            break;
        }
        episode.sleep_until_next_frame();
    }
    episode.finish(game).unwrap();
}

fn network(peers: u8) -> Vec<LoopbackTransport> {
    LoopbackTransport::network(peers, &LinkConditions { delay_ms: 5, ..Default::default() })
}

/// Advances until the start is given up, and says for which peers.
fn until_given_up(episode: &mut GameLoop<Sum, LoopbackTransport>, game: &mut Sum) -> PeerSet {
    loop {
        give_inputs(episode);
        match episode.advance_frame(game) {
            Ok(Advance::Stalled(_)) => episode.sleep_until_next_frame(),
            Err(LoopError::NotStarted { peers, within }) => {
                assert_eq!(within, Duration::from_secs(1));
                return peers;
            }
            other => panic!("expected to wait in vain, got {other:?}"),
        }
    }
}

#[test]
fn members_that_do_not_begin_in_time_are_named_and_waited_for_no_longer() {
    let mut ends = network(4);
    let (_silent, _too) = (ends.pop(), ends.pop());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for end in ends {
            scope.spawn(move || {
                let setup = EpisodeSetup {
                    start_timeout: Duration::from_secs(1),
                    ..setup(&[0, 1, 2, 3], end.local())
                };
                let mut game = Sum::default();
                let mut episode = GameLoop::new(end, setup, &game).unwrap();
                let missing = until_given_up(&mut episode, &mut game);
                assert_eq!(missing, [peer(2), peer(3)].into_iter().collect());
                let error = episode.advance_frame(&mut game).unwrap_err();
                assert_eq!(error.to_string(), "peer 2, peer 3 did not begin within 1s");
                episode.finish(&mut game).unwrap();
            });
        }
    });
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < PATIENCE);
}

#[test]
fn whoever_goes_before_the_start_waits_no_longer_than_after_an_end() {
    let end = network(2).swap_remove(0);
    let mut game = Sum::default();
    let episode = GameLoop::new(end, setup(&[0, 1], peer(0)), &game).unwrap();
    let began = Instant::now();
    episode.finish(&mut game).unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < START_TIMEOUT / 2, "{took:?}");
}

#[test]
fn the_time_to_begin_does_not_count_once_all_have_begun() {
    std::thread::scope(|scope| {
        for end in network(2) {
            scope.spawn(move || {
                let mut game = Sum::of(400);
                let setup = setup(&[0, 1], end.local());
                let mut episode = GameLoop::new(end, setup, &game).unwrap();
                // Play takes two seconds.
                episode.set_start_timeout(Duration::from_millis(1500));
                play(episode, &mut game);
            });
        }
    });
}

#[test]
fn a_member_plays_all_players_that_it_hosts() {
    let folder = Folder::new("hosts");
    std::thread::scope(|scope| {
        for end in network(2) {
            let recording = Some(file(&folder, end.local()));
            scope.spawn(move || {
                let mut game = Sum::of(70);
                let setup = EpisodeSetup { recording, ..setup(&[0, 1, 0, 0], end.local()) };
                play(GameLoop::new(end, setup, &game).unwrap(), &mut game);
            });
        }
    });
    let files = [peer(0), peer(1)].map(|local| std::fs::read(file(&folder, local)).unwrap());
    assert_eq!(files.first(), files.last());
    let recording = Recording::decode(files.first().unwrap()).unwrap();
    assert_eq!(recording.frame_count(), Frame::new(70));
    for row in recording.frames() {
        let expected: Vec<u8> =
            PlayerHandle::all(4).map(|player| input(player, row.frame)).collect();
        assert_eq!(row.inputs, expected, "frame {}", row.frame);
    }
}

#[test]
fn a_player_of_several_that_was_given_no_input_is_named() {
    let mut game = Sum::default();
    let end = network(1).swap_remove(0);
    let mut episode = GameLoop::new(end, setup(&[0, 0], peer(0)), &game).unwrap();
    // The first call shakes hands with nobody.
    episode.advance_frame(&mut game).unwrap();
    episode.set_local_input(&1).unwrap();
    let error = episode.advance_frame(&mut game).unwrap_err();
    let second = PlayerHandle::new(1).unwrap();
    assert!(
        matches!(error, LoopError::Advance(AdvanceError::MissingInput { player }) if player == second),
        "{error}"
    );
    assert!(episode.set_local_input_of(PlayerHandle::new(2).unwrap(), &1).is_err());
}

#[test]
fn what_was_agreed_is_in_the_file_at_once_up_to_the_last_whole_block() {
    let folder = Folder::new("crash");
    let files = [peer(0), peer(1)].map(|local| file(&folder, local));
    let on_disk = |path: &PathBuf| match std::fs::read(path) {
        Ok(bytes) => Recording::decode(&bytes).unwrap().frame_count().index(),
        Err(_) => 0,
    };
    let mut games = [Sum::default(), Sum::default()];
    let mut episodes: Vec<_> = network(2)
        .into_iter()
        .zip(&games)
        .map(|(end, game)| {
            let recording = files.get(end.local().index()).cloned();
            let setup = EpisodeSetup { recording, ..setup(&[0, 1], end.local()) };
            GameLoop::new(end, setup, game).unwrap()
        })
        .collect();
    while on_disk(&files[0]) < 180 {
        for ((episode, game), file) in episodes.iter_mut().zip(&mut games).zip(&files) {
            give_inputs(episode);
            episode.advance_frame(game).unwrap();
            let agreed = episode.session().agreed().end().index();
            assert_eq!(on_disk(file), agreed / 60 * 60, "agreed up to {agreed}");
        }
        episodes.iter_mut().for_each(GameLoop::sleep_until_next_frame);
    }
    // One process is killed: it writes nothing more, and what it wrote is what the other has.
    drop(episodes);
    let [one, other] = files.map(|path| std::fs::read(path).unwrap());
    let recording = Recording::decode(&one).unwrap();
    assert_eq!((recording.end(), recording.dropped_bytes()), (None, 0));
    assert!(one.starts_with(&other) || other.starts_with(&one));
}

/// The network within this process, for tokio's tasks: they look again every millisecond.
struct Polled(LoopbackTransport);

impl DatagramTransport for Polled {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        self.0.try_send(to, datagram)
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.0.try_receive(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.0.wait(timeout)
    }
}

impl AsyncDatagramTransport for Polled {
    async fn wait_async(&mut self, timeout: Duration) -> bool {
        tokio::time::sleep(timeout.min(Duration::from_millis(1))).await;
        self.0.wait(Duration::ZERO)
    }
}

/// Plays to the end without blocking the thread, and gives the transport back.
async fn play_async<T: AsyncDatagramTransport>(end: T, setup: EpisodeSetup, frames: u32) -> T {
    let mut game = Sum::of(frames);
    let mut episode = GameLoop::new(end, setup, &game).unwrap();
    loop {
        give_inputs(&mut episode);
        if let Advance::Ended(end) = episode.advance_frame(&mut game).unwrap() {
            assert_eq!(end.frame, Frame::new(frames));
            return episode.finish_async(&mut game).await.unwrap();
        }
        episode.until_next_frame().await;
    }
}

#[tokio::test]
async fn async_loops_share_a_thread() {
    let folder = Folder::new("async");
    let episodes = network(3).into_iter().map(|end| {
        let recording = Some(file(&folder, end.local()));
        let setup = EpisodeSetup { recording, ..setup(&[0, 1, 2], end.local()) };
        // Spawned, so that they must be able to go from thread to thread.
        tokio::spawn(play_async(Polled(end), setup, 100))
    });
    for episode in episodes.collect::<Vec<_>>() {
        episode.await.unwrap();
    }
    let files = [0, 1, 2].map(|slot| std::fs::read(file(&folder, peer(slot))).unwrap());
    assert!(files[0] == files[1] && files[1] == files[2]);
    assert_eq!(Recording::decode(&files[0]).unwrap().frame_count(), Frame::new(100));
}

#[tokio::test]
async fn async_loops_play_two_episodes_over_data_channels() {
    let server = server(2);
    let link = link(&server, "async");
    let folder = Folder::new("channels");
    let member = |link: String, folder: PathBuf| async move {
        let mut transport = AsyncTransport::join(&link, local()).await.unwrap();
        let room = transport.get().room().clone();
        let config = SessionConfig::builder().players(4).tick_rate_hz(120).build().unwrap();
        let first = EpisodeSetup::of_room_hosted(&room, config, &Hosts::Neighbours).unwrap();
        for episode in 0..2 {
            let file = folder.join(format!("{episode}-{}.rbk", room.local.slot()));
            let setup = first.for_episode(room.seed, episode, None, room.late);
            let setup = EpisodeSetup { recording: Some(file), ..setup };
            transport = play_async(transport, setup, 90).await;
        }
        let stats = transport.get().stats(peer(1 - room.local.slot()));
        let ways = [stats.direct, stats.turn, stats.server_relay].map(|way| way.inputs);
        let of_all = |count: fn(&InputsPassed) -> u64| ways.iter().map(count).sum::<u64>();
        assert!(
            of_all(|way| way.received) >= 2 * 90 && of_all(|way| way.sent) >= 2 * 90,
            "{ways:?}"
        );
        assert!(of_all(|way| way.late) <= of_all(|way| way.received), "{ways:?}");
        transport.close().await;
    };
    let members = [(), ()].map(|()| tokio::spawn(member(link.clone(), folder.0.clone())));
    for member in members {
        tokio::time::timeout(PATIENCE, member).await.unwrap().unwrap();
    }
    for episode in 0..2 {
        let [one, other] = [0, 1].map(|slot| folder.read(&format!("{episode}-{slot}.rbk")));
        assert_eq!(one, other);
        let recording = Recording::decode(&one).unwrap();
        assert_eq!(recording.frame_count(), Frame::new(90));
        let hosts: Vec<_> =
            PlayerHandle::all(4).filter_map(|p| recording.header().roster.host(p)).collect();
        assert_eq!(hosts, [0, 0, 1, 1].map(peer));
    }
}
