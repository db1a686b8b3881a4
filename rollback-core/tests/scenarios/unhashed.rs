//! What no hash shows, such as the order of a set: after a state was taken over, it is alike wherever one goes on from it.

use rollback_core::recording::{Recording, RecordingHeader, RecordingWriter};
use rollback_core::spectate::{
    Feed, FeedLimits, HostId, Spectator, SpectatorOptions, Watched, WatcherId,
};
use rollback_core::testing::Report;
use rollback_core::{
    End, EndCause, Frame, PeerId, Replay, Roster, SessionConfig, StableFrame, Timestamp, Verdict,
};

use crate::desyncs::{majority, resyncs, struck};
use crate::games::{Arena, Rules};
use crate::watching::{SESSION, TICK_MS, rows};
use crate::{cause, peer};

fn ages() -> Arena {
    Arena::with(Rules { ages: true, ..Rules::default() })
}

/// What was played, where the state of peer 1 was taken over by all three of them.
fn played() -> (Report, RecordingHeader, Frame) {
    for seed in 0..30 {
        let report = struck(seed, 3, 0, majority(0)).run(ages);
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        let Some((1, taken)) = resyncs(&report)[1].first().copied() else { continue };
        for slot in 0..3 {
            assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
            assert_eq!(report.peer(slot).unwrap().log, report.peer(1).unwrap().log);
        }
        let header = RecordingHeader {
            session: SESSION,
            episode: 0,
            seed,
            config: SessionConfig::builder().players(3).build().unwrap(),
            roster: Roster::one_player_each(3).unwrap(),
            participants: vec!["a".into(), "b".into(), "c".into()],
            must_match: vec![],
            may_differ: vec![vec![]; 3],
            start_hash: rows(&report)[0].state_hash.unwrap(),
        };
        return (report, header, taken);
    }
    panic!("no bit that was flipped made any difference");
}

/// Hands each frame to `take`, with the state that was taken over as the game wrote it.
fn each_frame(report: &Report, mut take: impl FnMut(&StableFrame<'_>)) -> End {
    for row in rows(report) {
        // Behind it the simulator wrote the frame.
        let state = row.keyframe.as_deref().map(|state| &state[..state.len() - 4]);
        take(&StableFrame { keyframe: state, ..row.as_stable() });
    }
    report.peer(0).unwrap().end.unwrap()
}

#[test]
fn a_recording_is_verified_where_the_state_that_all_took_over_is_the_own_one() {
    let (report, header, taken) = played();
    let mut writer = RecordingWriter::new(&header).unwrap();
    let end = each_frame(&report, |frame| writer.push(frame).unwrap());
    writer.finish(end, 1).unwrap();
    let recording = Recording::decode(&writer.take_bytes()).unwrap();
    let verdict = Replay::new(&recording, ages()).unwrap().verify().unwrap();
    let Verdict::Verified { frames, segments, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(frames, end.frame);
    let found: Vec<_> = segments.iter().map(|it| (it.from, it.source, it.disputed)).collect();
    assert_eq!(found, [(Frame::ZERO, None, None), (taken, Some(peer(1)), None)]);
}

#[test]
fn one_who_watches_plays_on_where_the_state_that_all_took_over_is_the_own_one() {
    let (report, header, _) = played();
    let mut feed = Feed::new(&header, PeerId::new(0).unwrap(), FeedLimits::default()).unwrap();
    let end = each_frame(&report, |frame| assert!(feed.push(frame)));
    assert!(feed.finish(end));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    assert!(spectator.add_host(HostId(0)));
    let (mut game, mut bytes) = (ages(), Vec::new());
    for tick in 0..10_000 {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while spectator.poll_datagram(now, &mut bytes).is_some() {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, HostId(0), &bytes);
        }
        if let Watched::Ended(seen) = spectator.advance(&mut game).unwrap() {
            assert_eq!(seen, end);
            return;
        }
    }
    panic!("the end was not seen: {spectator:?}");
}
