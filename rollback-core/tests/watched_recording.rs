//! What one who watches can record: the frames as it stepped them, written no sooner than no end can be before them.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::convert::Infallible;

use rollback_core::recording::{PENDING_FRAMES_MAX, Recording, RecordingHeader, RecordingWriter};
use rollback_core::spectate::{
    Feed, FeedLimits, HostId, SpectateError, Spectator, SpectatorOptions, Watched, WatcherId,
};
use rollback_core::{
    End, EndCause, Frame, Game, Outcome, PeerId, Roster, SessionConfig, StableFrame, StateHash,
    StateHasher, Step, Timestamp,
};

/// Adds up what is pressed, and puts the sum out.
#[derive(Clone, Default)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, inputs: impl IntoIterator<Item = u8>) {
        for input in inputs {
            self.0 = (self.0 * 31 + u64::from(input)) % (1 << 40);
        }
    }
}

impl Game for Sum {
    type Input = u8;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        self.add(step.inputs());
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64(slot.0);
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Infallible> {
        output.extend(self.0.to_le_bytes());
        Ok(())
    }
}

fn hash_of(game: &Sum) -> StateHash {
    let mut hasher = StateHasher::new();
    game.hash(game, &mut hasher).unwrap();
    hasher.finish()
}

fn header() -> RecordingHeader {
    RecordingHeader {
        session: 7,
        episode: 0,
        seed: 42,
        config: SessionConfig::builder().players(2).build().unwrap(),
        roster: Roster::one_player_each(2).unwrap(),
        participants: vec!["a".into(), "b".into()],
        must_match: vec![],
        may_differ: vec![vec![], vec![]],
        start_hash: hash_of(&Sum::default()),
    }
}

fn inputs(index: u32) -> [u8; 2] {
    let [low, high, ..] = (index / 7).to_le_bytes();
    [low, high]
}

/// A feed of so many frames of which every tenth has the hash of its state, but for the one at `wrong`.
fn feed(frames: u32, wrong: Option<u32>) -> Feed {
    let mut feed = Feed::new(&header(), PeerId::new(0).unwrap(), FeedLimits::default()).unwrap();
    let mut game = Sum::default();
    for index in 0..frames {
        let hash = if wrong == Some(index) { StateHash::from_u128(1) } else { hash_of(&game) };
        feed.push(&StableFrame {
            frame: Frame::new(index),
            inputs: &inputs(index),
            flags: &[0, 0],
            items: &[],
            output: &[],
            state_hash: index.is_multiple_of(10).then_some(hash),
            keyframe: None,
        });
        game.add(inputs(index));
    }
    feed
}

/// Watches a feed to the end, or to what cannot be watched on; `each` is asked after each call what was given out.
fn record(
    mut feed: Feed,
    mut each: impl FnMut(&Spectator, &mut RecordingWriter),
) -> Result<End, SpectateError<Infallible>> {
    let mut spectator = Spectator::new(7, 0, SpectatorOptions::default());
    spectator.add_host(HostId(0));
    let mut writer = RecordingWriter::new(&header()).unwrap();
    let (mut game, mut bytes) = (Sum::default(), Vec::new());
    for tick in 0.. {
        let now = Timestamp::from_millis(tick * 16);
        while spectator.poll_datagram(now, &mut bytes).is_some() {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, HostId(0), &bytes);
        }
        let watched = spectator.advance_with(&mut game, |frame| writer.push(frame).unwrap());
        each(&spectator, &mut writer);
        if let Watched::Ended(end) = watched? {
            writer.finish(end, 1).unwrap();
            each(&spectator, &mut writer);
            return Ok(end);
        }
    }
    unreachable!("the feed ends")
}

#[test]
fn a_long_episode_is_written_while_it_is_watched_and_no_sooner_than_members_do() {
    const FRAMES: u32 = 3_000;
    let mut feed = feed(FRAMES, None);
    let end = End { frame: Frame::new(FRAMES), cause: EndCause::Finished, by: None };
    feed.finish(end);
    let (mut file, mut given_out_at) = (Vec::new(), None);
    let ended = record(feed, |spectator, writer| {
        assert!(spectator.settled().end() <= spectator.checked().end());
        writer.agreed(spectator.settled());
        let bytes = writer.take_bytes();
        if !file.is_empty() && !bytes.is_empty() && given_out_at.is_none() {
            given_out_at = Some(spectator.current_frame().index());
        }
        file.extend(bytes);
    });
    assert_eq!(ended, Ok(end));
    let given_out_at = given_out_at.unwrap();
    assert!((PENDING_FRAMES_MAX - 100..PENDING_FRAMES_MAX).contains(&given_out_at));
    let recording = Recording::decode(&file).unwrap();
    assert_eq!((recording.frame_count(), recording.is_complete()), (end.frame, true));
    let mut game = Sum::default();
    for (frame, index) in recording.frames().zip(0..) {
        game.add(inputs(index));
        assert_eq!(
            (&*frame.inputs, &*frame.output),
            (&inputs(index)[..], &game.0.to_le_bytes()[..])
        );
    }
}

#[test]
fn what_is_checked_ends_before_the_state_that_differs() {
    let mut checked = Frame::ZERO;
    let ended = record(feed(300, Some(130)), |spectator, _| checked = spectator.checked().end());
    assert!(matches!(ended, Err(SpectateError::Diverged { frame, .. }) if frame.index() == 130));
    assert_eq!(checked.index(), 120);
}
