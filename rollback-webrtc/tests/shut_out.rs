//! A member of the match that floods the others, or sends them what is not of the session: it is shut out and sent away, and the
//! others play on.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

mod common;

use std::time::{Duration, Instant};

use common::sum::Sum;
use common::{PATIENCE, join_all, link, local, peer, server};
use rollback_core::{Advance, DepartureCause, End, EndCause, Event, Frame, SessionConfig};
use rollback_webrtc::{
    EpisodeSetup, GameLoop, ShutOut, Transport, TransportConfig, TransportEvent,
};

const FRAMES: u32 = 300;

/// What a member saw.
struct Seen {
    end: End,
    departed: Vec<(u8, DepartureCause)>,
    shut_out: Vec<(u8, ShutOut)>,
    state: Vec<u64>,
}

/// Plays to the end, and sends some datagrams of its own in each frame.
fn play(transport: Transport, mut beside: impl FnMut(&Transport)) -> Seen {
    let config = SessionConfig::builder()
        .players(3)
        .tick_rate_hz(100)
        .members_min(1)
        .departure_timeout(Duration::from_secs(3))
        .linger(Duration::from_millis(300))
        .build()
        .unwrap();
    let setup = EpisodeSetup::of_room(transport.room(), config).unwrap();
    let mut game = Sum::of(FRAMES);
    let mut episode = GameLoop::new(transport, setup, &game).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let end = loop {
        let frame = episode.session().current_frame().index();
        episode.set_local_input(&(frame / 7).to_le_bytes()[0]).unwrap();
        if let Advance::Ended(end) = episode.advance_frame(&mut game).unwrap() {
            break end;
        }
        if frame > 30 {
            beside(episode.transport());
        }
        episode.sleep_until_next_frame();
        assert!(Instant::now() < deadline, "at frame {frame}");
    };
    let departed = std::iter::from_fn(|| episode.poll_event()).filter_map(|event| match event {
        Event::ViewChanged { departed, cause, .. } => Some((departed.slot(), cause)),
        _ => None,
    });
    let departed = departed.collect();
    let transport = episode.finish(&mut game).unwrap();
    let shut_out = std::iter::from_fn(|| transport.poll_event()).filter_map(|event| match event {
        TransportEvent::PeerShutOut { peer, why } => Some((peer.slot(), why)),
        _ => None,
    });
    Seen { end, departed, shut_out: shut_out.collect(), state: game.sums }
}

/// Two play with a third, which sends these datagrams to the first one besides.
fn played_with(config: TransportConfig, room: &str, bad: &[u8], why: ShutOut) {
    let server = server(3);
    let mut transports = join_all(&link(&server, room), vec![config, local(), local()]);
    let hostile = transports.pop().unwrap();
    let seen = std::thread::scope(|scope| {
        let honest = transports.into_iter().map(|it| scope.spawn(move || play(it, |_| {})));
        let honest: Vec<_> = honest.collect();
        let hostile = play(hostile, |transport| {
            for _ in 0..30 {
                let _ = transport.try_send(peer(0), bad).unwrap();
            }
        });
        assert!(matches!(hostile.end.cause, EndCause::Kicked | EndCause::Partitioned));
        honest.into_iter().map(|honest| honest.join().unwrap()).collect::<Vec<_>>()
    });
    for seen in &seen {
        assert_eq!((seen.end.cause, seen.end.frame), (EndCause::Finished, Frame::new(FRAMES)));
        assert_eq!(seen.departed, [(2, DepartureCause::Kicked)]);
    }
    assert_eq!(seen.first().unwrap().shut_out, [(2, why)]);
    assert_eq!(seen.last().unwrap().shut_out, []);
    assert_eq!(seen.first().unwrap().state, seen.last().unwrap().state);
}

#[test]
fn a_member_that_floods_is_shut_out_and_the_others_play_on() {
    let config = TransportConfig { datagrams_per_second: 400, ..local() };
    played_with(config, "flood", &[7; 50], ShutOut::Flood);
}

#[test]
fn a_member_whose_datagrams_are_not_of_the_session_is_shut_out_and_the_others_play_on() {
    played_with(local(), "forged", &[7; 50], ShutOut::Forged);
}
