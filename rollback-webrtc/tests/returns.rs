//! Members whose processes end without a word, and new ones that come back into their slots while the others play: over real
//! data channels, with the real server.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use common::folder::Folder;
use common::sum::Sum;
use common::{PATIENCE, join_all, link, local, peer, server};
use rollback_core::recording::Recording;
use rollback_core::{
    Advance, End, EndCause, Event, Facts, Frame, InputFlags, PeerId, SessionConfig, SessionCounters,
};
use rollback_server::BackgroundServer;
use rollback_webrtc::{
    EpisodeSetup, GameLoop, Inquiry, LoopError, ReturnError, Room, Transport, TransportConfig,
};

type Loop = GameLoop<Sum, Transport>;

/// How the members play: at 100 frames a second.
#[derive(Clone, Copy)]
struct Plan {
    members: u8,
    members_min: usize,
    departure_ms: u64,
    frames: u32,
    fact: &'static str,
    /// How long the game takes for a step.
    step_ms: u64,
}

impl Plan {
    fn of(members: u8) -> Self {
        Self {
            members,
            members_min: 1,
            departure_ms: 500,
            frames: 900,
            fact: "kitchen",
            step_ms: 0,
        }
    }

    /// Nobody is given up, so that play stands still while one is lost.
    fn patient(members: u8) -> Self {
        Self { departure_ms: 20_000, frames: 400, ..Self::of(members) }
    }

    fn setup(&self, transport: &Transport, folder: &Folder) -> EpisodeSetup {
        let config = SessionConfig::builder()
            .players(self.members.into())
            .tick_rate_hz(100)
            .members_min(self.members_min)
            .departure_timeout(Duration::from_millis(self.departure_ms))
            .linger(Duration::from_millis(500))
            .build()
            .unwrap();
        let must_match = vec![("env".to_owned(), self.fact.to_owned())];
        // Another computer each time, which the others need not know.
        let Room { local, life, .. } = *transport.room();
        let version = format!("life {life}");
        EpisodeSetup {
            recording: Some(folder.file(&format!("{}-{life}.rbk", local.slot()))),
            facts: Facts { must_match, may_differ: vec![("numpy".to_owned(), version)] },
            ..EpisodeSetup::of_room(transport.room(), config).unwrap()
        }
    }

    fn game(&self) -> Sum {
        let mut game = Sum::of(self.frames);
        game.step_time = Duration::from_millis(self.step_ms);
        game
    }

    fn begin(&self, transport: Transport, folder: &Folder) -> (Loop, Sum) {
        let (setup, game) = (self.setup(&transport, folder), self.game());
        (GameLoop::new(transport, setup, &game).unwrap(), game)
    }

    /// Comes back with a token into whatever the others do.
    fn come_back(
        &self,
        link: &str,
        token: &str,
        folder: &Folder,
    ) -> Result<(Loop, Sum), ReturnError> {
        let config = TransportConfig { token: Some(token.to_owned()), ..local() };
        let mut transport = Transport::join_blocking(link, config).unwrap();
        let room = transport.room().clone();
        let standing = Inquiry::new(&room).wait(&mut transport, PATIENCE)?;
        let setup = self.setup(&transport, folder);
        let file = setup.recording.clone();
        let setup = EpisodeSetup { recording: file, ..setup.for_standing(room.seed, standing) };
        let game = self.game();
        Ok((GameLoop::new(transport, setup, &game).unwrap(), game))
    }
}

/// What a member saw.
#[derive(Debug)]
struct Seen {
    end: End,
    events: Vec<Event>,
    stalls: u64,
    passed: u64,
}

/// Plays on until it is over, or until `is_enough`.
fn play(
    episode: &mut Loop,
    game: &mut Sum,
    mut is_enough: impl FnMut(&Loop) -> bool,
) -> Result<Option<End>, LoopError<Infallible>> {
    let deadline = Instant::now() + PATIENCE;
    while !is_enough(episode) {
        let frame = episode.session().current_frame().index();
        episode.set_local_input(&(frame / 7).to_le_bytes()[0]).unwrap();
        if let Advance::Ended(end) = episode.advance_frame(game)? {
            return Ok(Some(end));
        }
        episode.sleep_until_next_frame();
        assert!(Instant::now() < deadline, "at frame {frame}: {:?}", episode.session().stable());
    }
    Ok(None)
}

fn play_to_the_end((mut episode, mut game): (Loop, Sum)) -> Seen {
    let end = play(&mut episode, &mut game, |_| false).unwrap().unwrap();
    assert_eq!(episode.absent().iter().count(), 0);
    let events = std::iter::from_fn(|| episode.poll_event()).collect();
    let SessionCounters { stalls, passed, .. } = episode.session().counters();
    episode.finish(&mut game).unwrap();
    Seen { end, events, stalls, passed }
}

/// Plays up to a frame and ends as a killed process does. Answers the token.
fn play_and_vanish((mut episode, mut game): (Loop, Sum), frames: u32) -> String {
    let is_there = |episode: &Loop| episode.session().stable().end() >= Frame::new(frames);
    assert_eq!(play(&mut episode, &mut game, is_there).unwrap(), None);
    let transport = episode.into_transport();
    let token = transport.room().token.clone();
    assert!(transport.abandon());
    token
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    episode: (Loop, Sum),
) -> ScopedJoinHandle<'scope, Seen> {
    scope.spawn(move || play_to_the_end(episode))
}

fn joined(seen: &Seen) -> Vec<(PeerId, Frame)> {
    let event = |event: &Event| match event {
        Event::Joined { peer, from, .. } => Some((*peer, *from)),
        _ => None,
    };
    seen.events.iter().filter_map(event).collect()
}

/// How many frames nobody sat at a slot.
fn idle_frames(recording: &Recording, slot: usize) -> usize {
    let is_idle =
        |flags: &Vec<u8>| InputFlags::from_bits(flags[slot]).contains(InputFlags::IDLE_FILLED);
    recording.frames().filter(|row| is_idle(&row.flags)).count()
}

#[test]
fn one_of_three_comes_back_while_the_others_play_and_all_record_the_same() {
    let server = server(3);
    let (link, folder, plan) = (link(&server, "three"), Folder::new("three"), Plan::of(3));
    let mut transports = join_all(&link, vec![local(), local(), local()]).into_iter();
    let mut next = || plan.begin(transports.next().unwrap(), &folder);
    let (first, lost, third) = (next(), next(), next());
    let seen = std::thread::scope(|scope| {
        let others = [spawn(scope, first), spawn(scope, third)];
        let token = play_and_vanish(lost, 150);
        // The others have gone on without it by then.
        std::thread::park_timeout(Duration::from_millis(1200));
        let (episode, game) = plan.come_back(&link, &token, &folder).unwrap();
        assert_eq!((episode.transport().room().life, episode.is_catching_up()), (1, true));
        let back = play_to_the_end((episode, game));
        let [first, third] = others.map(|other| other.join().unwrap());
        [first, third, back]
    });
    let from = joined(&seen[0])[0].1;
    for seen in &seen {
        assert_eq!((seen.end.cause, seen.end.frame), (EndCause::Finished, Frame::new(900)));
        assert_eq!(joined(seen), [(peer(1), from)]);
    }
    let whole = folder.read("0-0.rbk");
    assert!(whole == folder.read("2-0.rbk") && whole == folder.read("1-1.rbk"));
    let recording = Recording::decode(&whole).unwrap();
    assert!(idle_frames(&recording, 1) >= 100, "they did not wait for it");
    assert!(whole.starts_with(&folder.read("1-0.rbk")));
}

#[test]
fn one_whose_steps_are_slow_goes_on_from_a_state_and_records_all_the_same() {
    let server = server(3);
    let (link, folder) = (link(&server, "state"), Folder::new("state"));
    let plan = Plan { frames: 1_200, ..Plan::of(3) };
    let slow = Plan { step_ms: 5, ..plan };
    let mut transports = join_all(&link, vec![local(), local(), local()]).into_iter();
    let mut next = || plan.begin(transports.next().unwrap(), &folder);
    let (first, lost, third) = (next(), next(), next());
    let seen = std::thread::scope(|scope| {
        let others = [spawn(scope, first), spawn(scope, third)];
        let token = play_and_vanish(lost, 300);
        std::thread::park_timeout(Duration::from_millis(1200));
        let back = play_to_the_end(slow.come_back(&link, &token, &folder).unwrap());
        let [first, third] = others.map(|other| other.join().unwrap());
        [first, third, back]
    });
    let from = joined(&seen[0])[0].1;
    for seen in &seen {
        assert_eq!((seen.end.cause, seen.end.frame), (EndCause::Finished, Frame::new(1_200)));
        assert_eq!(joined(seen), [(peer(1), from)]);
    }
    let taken = seen[2].events.iter().find_map(|event| match event {
        Event::StateTaken { frame } => Some(*frame),
        _ => None,
    });
    assert!(taken.is_some_and(|frame| frame > Frame::new(300)), "{:?}", seen[2].events);
    assert!(seen[2].passed > 100, "{} of {taken:?}", seen[2].passed);
    let whole = folder.read("0-0.rbk");
    assert!(whole == folder.read("2-0.rbk") && whole == folder.read("1-1.rbk"));
}

#[test]
fn two_wait_for_each_other_whichever_is_lost() {
    for gone in [0, 1] {
        let server = server(2);
        let folder = Folder::new(&format!("two-{gone}"));
        let (link, plan) = (link(&server, "two"), Plan::patient(2));
        let mut transports = join_all(&link, vec![local(), local()]);
        let lost = plan.begin(transports.remove(gone), &folder);
        let other = plan.begin(transports.remove(0), &folder);
        let seen = std::thread::scope(|scope| {
            let other = spawn(scope, other);
            let token = play_and_vanish(lost, 150);
            std::thread::park_timeout(Duration::from_millis(1000));
            let back = play_to_the_end(plan.come_back(&link, &token, &folder).unwrap());
            [other.join().unwrap(), back]
        });
        for seen in &seen {
            assert_eq!(seen.end.cause, EndCause::Finished);
            assert_eq!(joined(seen).len(), 1);
        }
        assert!(seen[0].stalls > 80, "it stood still: {}", seen[0].stalls);
        let whole = folder.read(&format!("{}-0.rbk", 1 - gone));
        assert!(whole == folder.read(&format!("{gone}-1.rbk")));
        let idle = idle_frames(&Recording::decode(&whole).unwrap(), gone);
        assert!((10..100).contains(&idle), "less than a second was played alone: {idle}");
    }
}

#[test]
fn one_comes_back_again_and_again() {
    let server = server(2);
    let folder = Folder::new("again");
    let (link, plan) = (link(&server, "again"), Plan::patient(2));
    let mut transports = join_all(&link, vec![local(), local()]);
    let (lost, other) = (transports.remove(1), plan.begin(transports.remove(0), &folder));
    let lost = plan.begin(lost, &folder);
    let token = std::thread::scope(|scope| {
        let other = spawn(scope, other);
        let token = play_and_vanish(lost, 100);
        let again = plan.come_back(&link, &token, &folder).unwrap();
        let token = play_and_vanish(again, 300);
        let (episode, game) = plan.come_back(&link, &token, &folder).unwrap();
        assert_eq!(episode.transport().room().life, 2);
        let token = episode.transport().room().token.clone();
        let back = play_to_the_end((episode, game));
        assert_eq!(joined(&other.join().unwrap()).len(), 2);
        assert_eq!(joined(&back).len(), 1);
        token
    });
    assert!(folder.read("0-0.rbk") == folder.read("1-2.rbk"));
    // All have left: there is no match any more, once the server has heard the last of them.
    while members_at(&server) > 0 {
        std::thread::yield_now();
    }
    let config = TransportConfig { token: Some(token), ..local() };
    let refused = Transport::join_blocking(&link, config).unwrap_err();
    assert!(refused.to_string().contains("UnknownToken"), "{refused}");
}

/// How many are at the server, waiting or playing.
fn members_at(server: &BackgroundServer) -> u64 {
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["members"].as_u64().unwrap()
}

#[test]
fn one_that_comes_back_before_the_start_begins_with_the_others() {
    let server = server(2);
    let (link, folder, plan) = (link(&server, "start"), Folder::new("start"), Plan::of(2));
    let mut transports = join_all(&link, vec![local(), local()]);
    let (lost, other) = (transports.remove(1), transports.remove(0));
    let token = lost.room().token.clone();
    assert!(lost.abandon());
    std::thread::scope(|scope| {
        let other = spawn(scope, plan.begin(other, &folder));
        let (episode, game) = plan.come_back(&link, &token, &folder).unwrap();
        assert!(!episode.is_catching_up());
        let back = play_to_the_end((episode, game));
        assert_eq!(joined(&back).len() + joined(&other.join().unwrap()).len(), 0);
    });
    assert!(folder.read("0-0.rbk") == folder.read("1-1.rbk"));
}

#[test]
fn who_cannot_be_let_in_is_told_why() {
    let server = server(2);
    let folder = Folder::new("refused");
    let closed = Plan { members_min: 2, departure_ms: 5_000, ..Plan::of(2) };
    for (room, plan) in [("closed", closed), ("other", Plan::patient(2))] {
        let link = link(&server, room);
        let folder = Folder(folder.0.join(room));
        std::fs::create_dir(&folder.0).unwrap();
        let mut transports = join_all(&link, vec![local(), local()]);
        let lost = plan.begin(transports.remove(1), &folder);
        let (mut other, mut game) = plan.begin(transports.remove(0), &folder);
        std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                let end = play(&mut other, &mut game, |_| false).unwrap().unwrap();
                other.finish(&mut game).unwrap();
                end
            });
            let token = play_and_vanish(lost, 100);
            match room {
                "closed" => {
                    let refused = plan.come_back(&link, &token, &folder).err().unwrap();
                    assert_eq!(refused, ReturnError::Closed { by: peer(0) });
                    let end = other.join().unwrap();
                    assert_eq!((end.cause, end.by), (EndCause::Departed, Some(peer(1))));
                }
                _ => {
                    let another = Plan { fact: "hall", ..plan };
                    let (mut episode, mut game) =
                        another.come_back(&link, &token, &folder).unwrap();
                    let error = play(&mut episode, &mut game, |_| false).unwrap_err();
                    let LoopError::Return(ReturnError::Differs { fields }) = error else {
                        panic!("{error}");
                    };
                    assert_eq!(fields, ["env"]);
                    // It was not let in, so the other still waits, and lets in the right one.
                    assert!(episode.into_transport().abandon());
                    play_to_the_end(plan.come_back(&link, &token, &folder).unwrap());
                    assert_eq!(other.join().unwrap().cause, EndCause::Finished);
                }
            }
        });
    }
}

#[test]
fn a_process_whose_slot_was_taken_is_out() {
    let server = server(2);
    let folder = Folder::new("taken");
    let (link, plan) = (link(&server, "taken"), Plan::patient(2));
    let mut transports = join_all(&link, vec![local(), local()]);
    let token = transports[1].room().token.clone();
    let (mut former, mut game) = plan.begin(transports.remove(1), &folder);
    let other = plan.begin(transports.remove(0), &folder);
    std::thread::scope(|scope| {
        let other = spawn(scope, other);
        let is_playing = |episode: &Loop| episode.session().stable().end() >= Frame::new(60);
        assert_eq!(play(&mut former, &mut game, is_playing).unwrap(), None);
        let former = scope.spawn(move || {
            let error = play(&mut former, &mut game, |_| false).unwrap_err();
            assert!(matches!(error, LoopError::Replaced), "{error}");
            former.finish(&mut game).unwrap();
        });
        let back = play_to_the_end(plan.come_back(&link, &token, &folder).unwrap());
        former.join().unwrap();
        assert_eq!(other.join().unwrap().end, back.end);
    });
    assert!(folder.read("0-0.rbk") == folder.read("1-1.rbk"));
}
