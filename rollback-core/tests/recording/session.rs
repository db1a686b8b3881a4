//! What two sessions record of one episode over a network that loses and delays: the same bytes, proved by a replay.

use core::convert::Infallible;

use rollback_core::recording::{Comparison, Recording, RecordingHeader, RecordingWriter, compare};
use rollback_core::{
    Deviation, Facts, Frame, Game, Outcome, Output, PeerId, PlayerHandle, Replay, Roster, Segment,
    Session, SessionConfig, StateHasher, Step, SyncTest, Ticket, Timestamp, Verdict, Wrong,
};

use crate::episode::peer;

const SEED: u64 = 11;

/// Two points that push each other about, until frame 200. `slip` is the frame at which it goes wrong.
#[derive(Clone)]
struct Duel {
    x: [i64; 2],
    slip: Option<u32>,
}

impl Duel {
    fn reset(seed: u64) -> Self {
        Self { x: [i64::try_from(seed).unwrap(), 0], slip: None }
    }
}

impl Default for Duel {
    fn default() -> Self {
        Self::reset(0)
    }
}

impl Game for Duel {
    type Input = i8;
    type Snapshot = [i64; 2];
    type Error = Infallible;

    fn save(&self, slot: &mut [i64; 2]) -> Result<(), Infallible> {
        *slot = self.x;
        Ok(())
    }

    fn load(&mut self, slot: &[i64; 2]) -> Result<(), Infallible> {
        self.x = *slot;
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> {
        for (x, push) in self.x.iter_mut().zip(step.inputs()) {
            *x = x.wrapping_mul(3).wrapping_add(i64::from(push));
        }
        if self.slip == Some(step.frame().index()) {
            self.x[1] ^= 1;
        }
        self.x.swap(0, 1);
        Ok(if step.frame().index() == 199 { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &[i64; 2], hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_i64s(slot);
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Infallible> {
        output.push(self.x[0].to_le_bytes()[0] & 1);
        Ok(())
    }
}

/// A peer with its recorder, and the datagrams on their way to it.
struct Node {
    session: Session<Duel>,
    game: Duel,
    writer: Option<RecordingWriter>,
    arriving: Vec<(Timestamp, Vec<u8>)>,
    file: Vec<u8>,
}

fn config() -> SessionConfig {
    SessionConfig::builder().players(2).build().unwrap()
}

fn node(local: PeerId) -> Node {
    let roster = Roster::one_player_each(2).unwrap();
    let ticket = Ticket { session: 3, episode: 0, seed: SEED, roster, local, incarnation: 0 };
    let game = Duel::reset(SEED);
    let session =
        Session::new(&config(), &ticket, Facts::default(), &game, Timestamp::ZERO).unwrap();
    let header = RecordingHeader {
        session: ticket.session,
        episode: 0,
        seed: SEED,
        config: config(),
        roster: ticket.roster,
        participants: vec!["a".into(), "b".into()],
        must_match: vec![],
        may_differ: vec![vec![], vec![]],
        start_hash: session.start_hash(),
    };
    let writer = Some(RecordingWriter::new(&header).unwrap());
    Node { session, game, writer, arriving: vec![], file: vec![] }
}

/// Plays an episode; `seed` says what the network does.
fn play(seed: u64) -> [Vec<u8>; 2] {
    let mut nodes = [node(peer(0)), node(peer(1))];
    let mut random = seed;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (random >> 33) % below
    };
    for tick in 0..2000 {
        let now = Timestamp::from_millis(tick * 16);
        for own in 0..2 {
            let mut sent = Vec::new();
            let node = &mut nodes[own];
            let (due, later): (Vec<_>, _) = node.arriving.drain(..).partition(|(at, _)| *at <= now);
            node.arriving = later;
            for (_, bytes) in due {
                node.session.handle_datagram(now, peer(u8::try_from(1 - own).unwrap()), &bytes);
            }
            let player = PlayerHandle::new(u8::try_from(own).unwrap()).unwrap();
            let push = i8::try_from(draw(3)).unwrap() - 1;
            node.session.set_local_input(player, &push).unwrap();
            node.session.advance_frame(now, &mut node.game).unwrap();
            while let Some(output) = node.session.poll_output(now) {
                match output {
                    Output::Datagram { bytes, .. } => sent.push(bytes.to_vec()),
                    Output::Stable(frame) => {
                        node.writer.as_mut().unwrap().push(&frame).unwrap();
                    }
                    Output::Event(_) => {}
                }
            }
            if let Some(mut writer) = node.writer.take() {
                writer.agreed(node.session.agreed());
                if let Some(end) = node.session.end() {
                    writer.finish(end, 1).unwrap();
                }
                node.file.extend(writer.take_bytes());
                node.writer = node.session.end().is_none().then_some(writer);
            }
            for bytes in sent {
                if draw(5) > 0 {
                    let at = Timestamp::from_millis(tick * 16 + 10 + draw(90));
                    nodes[1 - own].arriving.push((at, bytes));
                }
            }
        }
    }
    nodes.map(|node| node.file)
}

#[test]
fn both_peers_record_the_same_bytes_and_a_replay_proves_them() {
    for seed in 0..10 {
        let [one, other] = play(seed);
        assert_eq!(one, other, "seed {seed}");
        let recording = Recording::decode(&one).unwrap();
        assert!(recording.is_complete(), "seed {seed}");
        assert_eq!(recording.frame_count(), Frame::new(200));
        let verdict = Replay::new(&recording, Duel::reset(SEED)).unwrap().verify().unwrap();
        // The start twice (in the header and at frame 0), and every tenth frame from there on.
        let (frames, hashes_checked, outputs_checked) = (Frame::new(200), 21, 200);
        let segments = vec![Segment { from: Frame::ZERO, source: None, disputed: None }];
        let verified = Verdict::Verified { frames, hashes_checked, outputs_checked, segments };
        assert_eq!(verdict, verified);

        let slips = Duel { slip: Some(123), ..Duel::reset(SEED) };
        let verdict = Replay::new(&recording, slips).unwrap().verify().unwrap();
        let what = Deviation::Output { offset: 0 };
        assert_eq!(verdict, Verdict::Wrong(Wrong { frame: Frame::new(123), what }));
    }
}

#[test]
fn other_episodes_differ() {
    let [one, other] = [play(1), play(2)].map(|[file, _]| Recording::decode(&file).unwrap());
    assert!(matches!(compare(&one, &other), Comparison::Different { .. }));
}

#[test]
fn the_game_of_these_episodes_passes_the_check() {
    let inputs = |frame: Frame, player: PlayerHandle| {
        i8::try_from((frame.index() * 7 + u32::from(player.slot())) % 3).unwrap() - 1
    };
    let report = SyncTest::new(2).run(&mut Duel::reset(SEED), inputs).unwrap();
    assert!(report.ended);
}
