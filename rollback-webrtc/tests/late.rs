//! Members who come while the others play: over real data channels, with the real server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use common::folder::Folder;
use common::sum::Sum;
use common::{PATIENCE, join_all, link, local, peer, server_beginning_with, wait_until};
use rollback_core::recording::Recording;
use rollback_core::{
    Advance, EndCause, Event, Facts, Frame, InputFlags, PeerId, PeerSet, SessionConfig,
};
use rollback_webrtc::{
    EpisodeSetup, GameLoop, Inquiry, ReturnError, Room, Transport, TransportConfig,
};

/// How many frames an episode has, at 100 a second.
const FRAMES: u32 = 500;

fn named(name: &str) -> TransportConfig {
    TransportConfig { name: Some(name.to_owned()), ..local() }
}

fn peers(slots: &[u8]) -> PeerSet {
    slots.iter().map(|slot| peer(*slot)).collect()
}

/// The first episode that this member is in.
fn setup(transport: &mut Transport) -> Result<EpisodeSetup, ReturnError> {
    let room = transport.room().clone();
    let config = SessionConfig::builder()
        .players(room.members.len())
        .tick_rate_hz(100)
        .departure_timeout(Duration::from_secs(5))
        .linger(Duration::from_millis(500))
        .build()
        .unwrap();
    let must_match = vec![("env".to_owned(), "kitchen".to_owned())];
    let facts = Facts { must_match, may_differ: Vec::new() };
    let setup = EpisodeSetup { facts, ..EpisodeSetup::of_room(&room, config).unwrap() };
    match room.life {
        0 => Ok(setup),
        _ => Ok(setup.for_standing(room.seed, Inquiry::new(&room).wait(transport, PATIENCE)?)),
    }
}

/// What a member saw of an episode.
#[derive(Debug)]
struct Seen {
    episode: u32,
    joined: Vec<(PeerId, Frame)>,
    departed: usize,
    late: PeerSet,
}

/// Plays the match up to an episode, and records it in a folder; says how far the present one is to `told`.
fn play(
    mut transport: Transport,
    episodes: u32,
    folder: &Folder,
    told: &(dyn Fn(u32, u32) + Sync),
) -> Vec<Seen> {
    let Room { local, seed, .. } = *transport.room();
    let deadline = Instant::now() + PATIENCE;
    let mut next = setup(&mut transport).unwrap();
    let mut seen = Vec::new();
    while next.ticket.episode < episodes {
        let episode = next.ticket.episode;
        next.recording = Some(folder.file(&file(local.slot(), episode)));
        let mut game = Sum::of(FRAMES);
        let mut playing = GameLoop::new(transport, next.clone(), &game).unwrap();
        let end = loop {
            let frame = playing.session().current_frame().index();
            told(episode, frame);
            playing.set_local_input(&(frame / 7).to_le_bytes()[0]).unwrap();
            if let Advance::Ended(end) = playing.advance_frame(&mut game).unwrap() {
                break end;
            }
            playing.sleep_until_next_frame();
            assert!(Instant::now() < deadline, "at frame {frame}: {:?}", playing.session());
        };
        assert_eq!((end.cause, end.frame), (EndCause::Finished, Frame::new(FRAMES)));
        assert!(playing.absent().is_empty());
        let late = playing.late();
        let (mut joined, mut departed) = (Vec::new(), 0);
        while let Some(event) = playing.poll_event() {
            match event {
                Event::Joined { peer, from, .. } => joined.push((peer, from)),
                Event::ViewChanged { .. } => departed += 1,
                _ => {}
            }
        }
        seen.push(Seen { episode, joined, departed, late });
        next = next.for_episode(seed, episode + 1, Some(end), late);
        transport = playing.finish(&mut game).unwrap();
    }
    seen
}

fn file(slot: u8, episode: u32) -> String {
    format!("{slot}-{episode}.rbk")
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    transport: Transport,
    episodes: u32,
    folder: &'scope Folder,
) -> ScopedJoinHandle<'scope, Vec<Seen>> {
    scope.spawn(move || play(transport, episodes, folder, &|_, _| {}))
}

/// The recording of an episode, which is the same in all these slots.
fn recording(folder: &Folder, slots: &[u8], episode: u32) -> Recording {
    let files: Vec<_> = slots.iter().map(|slot| folder.read(&file(*slot, episode))).collect();
    assert!(files.iter().all(|bytes| *bytes == files[0]), "episode {episode}");
    Recording::decode(&files[0]).unwrap()
}

/// In which frames nobody sat at a slot.
fn idle(recording: &Recording, slot: usize) -> Vec<u32> {
    let is_idle =
        |flags: &[u8]| InputFlags::from_bits(flags[slot]).contains(InputFlags::IDLE_FILLED);
    let rows = recording.frames().filter(|row| is_idle(&row.flags));
    rows.map(|row| row.frame.index()).collect()
}

#[test]
fn one_that_comes_late_plays_on_with_the_others_and_all_record_the_same() {
    let server = server_beginning_with(2, 3);
    let (link, folder) = (link(&server, "late"), Folder::new("late"));
    let first = join_all(&link, vec![named("ann"), named("bob")]);
    assert_eq!(first[0].room().late, peers(&[2]));
    let seen = std::thread::scope(|scope| {
        let others = first.into_iter().map(|one| spawn(scope, one, 2, &folder));
        let others: Vec<_> = others.collect();
        std::thread::park_timeout(Duration::from_millis(1_500));
        let late = Transport::join_blocking(&link, named("cora")).unwrap();
        let room = late.room();
        assert_eq!((room.local, room.life, room.late), (peer(2), 1, peers(&[2])));
        let late = play(late, 2, &folder, &|_, _| {});
        others.into_iter().map(|other| other.join().unwrap()).chain([late]).collect::<Vec<_>>()
    });
    let from = seen[0][0].joined[0].1;
    assert!((100..400).contains(&from.index()), "{from}");
    for seen in &seen {
        let joined: Vec<_> = seen.iter().map(|seen| seen.joined.as_slice()).collect();
        assert_eq!(joined, [&[(peer(2), from)][..], &[]]);
        assert!(seen.iter().all(|seen| seen.late.is_empty() && seen.departed == 0));
    }
    let first = recording(&folder, &[0, 1, 2], 0);
    assert_eq!(idle(&first, 2), (0..from.index()).collect::<Vec<_>>());
    assert_eq!(first.header().participants, ["ann", "bob", ""]);
    // From the next episode on it is a member like the others, whose name all know.
    let second = recording(&folder, &[0, 1, 2], 1);
    assert!(idle(&second, 2).is_empty());
    assert_eq!(second.header().participants, ["ann", "bob", "cora"]);
}

#[test]
fn a_match_into_which_nobody_comes_ends_right_without_them() {
    let server = server_beginning_with(2, 4);
    let (link, folder) = (link(&server, "nobody"), Folder::new("nobody"));
    let first = join_all(&link, vec![local(), local()]);
    std::thread::scope(|scope| {
        let both: Vec<_> = first.into_iter().map(|one| spawn(scope, one, 2, &folder)).collect();
        for one in both {
            for seen in one.join().unwrap() {
                assert_eq!((seen.late, seen.joined.len()), (peers(&[2, 3]), 0));
            }
        }
    });
    for episode in 0..2 {
        let recording = recording(&folder, &[0, 1], episode);
        assert_eq!(idle(&recording, 2).len(), 500);
        assert!(idle(&recording, 1).is_empty());
    }
    // Both have left, so the next one begins another match.
    let mut next = Transport::join(&link, local()).unwrap();
    wait_until("it waits", || next.progress().members == 1);
    assert_eq!(next.progress().expected, 2);
    assert!(next.wait(Duration::ZERO).unwrap().is_none());
}

#[test]
fn one_plays_alone_and_two_come_late_one_of_them_between_two_episodes() {
    let server = server_beginning_with(1, 3);
    let (link, folder) = (link(&server, "alone"), Folder::new("alone"));
    let alone = Transport::join_blocking(&link, local()).unwrap();
    assert_eq!(alone.room().late, peers(&[1, 2]));
    let seen = std::thread::scope(|scope| {
        let (begins_second, second_begins) = std::sync::mpsc::channel();
        let folder = &folder;
        let alone = scope.spawn(move || {
            play(alone, 3, folder, &|episode, frame| {
                if (episode, frame) == (1, 0) {
                    let _ = begins_second.send(());
                }
            })
        });
        let second = Transport::join_blocking(&link, local()).unwrap();
        let second = spawn(scope, second, 3, folder);
        second_begins.recv().unwrap();
        let third = Transport::join_blocking(&link, local()).unwrap();
        let third = spawn(scope, third, 3, folder);
        [alone, second, third].map(|one| one.join().unwrap())
    });
    let joined = |episode: usize| seen[0][episode].joined.as_slice();
    assert_eq!((joined(0)[0].0, joined(1)[0].0, joined(2).len()), (peer(1), peer(2), 0));
    assert_eq!((seen[0][0].late, seen[0][1].late), (peers(&[2]), PeerSet::EMPTY));
    assert_eq!(seen[2].iter().map(|seen| seen.episode).collect::<Vec<_>>(), [1, 2]);
    recording(&folder, &[0, 1], 0);
    let second = recording(&folder, &[0, 1, 2], 1);
    assert!(idle(&second, 1).is_empty());
    assert!(idle(&recording(&folder, &[0, 1, 2], 2), 2).is_empty());
}

#[test]
fn one_that_comes_when_the_match_is_over_is_told_so() {
    let server = server_beginning_with(2, 4);
    let link = link(&server, "over");
    let first = join_all(&link, vec![local(), local()]);
    let mut late = Transport::join_blocking(&link, local()).unwrap();
    let mut inquiry = Inquiry::new(late.room());
    assert_eq!(inquiry.poll(&mut late, PATIENCE), Ok(None));
    for one in first {
        one.close();
    }
    // There is a fourth slot, whom nobody waits for.
    assert_eq!(inquiry.wait(&mut late, PATIENCE), Err(ReturnError::MatchOver));
}

#[test]
fn one_that_came_late_is_killed_and_comes_back_as_others_do() {
    let server = server_beginning_with(2, 3);
    let (link, folder) = (link(&server, "again"), Folder::new("again"));
    let first = join_all(&link, vec![local(), local()]);
    let seen = std::thread::scope(|scope| {
        let others: Vec<_> = first.into_iter().map(|one| spawn(scope, one, 1, &folder)).collect();
        let late = Transport::join_blocking(&link, local()).unwrap();
        let token = late.room().token.clone();
        assert!(late.abandon());
        let config = TransportConfig { token: Some(token), ..local() };
        let back = Transport::join_blocking(&link, config).unwrap();
        assert_eq!((back.room().local, back.room().life), (peer(2), 2));
        let back = play(back, 1, &folder, &|_, _| {});
        others.into_iter().map(|other| other.join().unwrap()).chain([back]).collect::<Vec<_>>()
    });
    assert!(seen.iter().all(|seen| seen[0].joined.len() == 1 && seen[0].late.is_empty()));
    recording(&folder, &[0, 1, 2], 0);
}
