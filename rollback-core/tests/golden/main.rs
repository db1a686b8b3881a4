//! Bytes on the wire that may never change without a new wire version. `docs/wire-format.md` explains these ones.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is how a wrong expectation shows")]

use std::convert::Infallible;

use rollback_core::{
    Advance, Facts, Frame, Game, Outcome, Output, PeerId, PlayerHandle, Roster, Session,
    SessionConfig, StateHasher, Step, Ticket, Timestamp,
};

/// Two players push a point each.
#[derive(Clone, Default)]
struct Duel {
    x: [i32; 2],
}

impl Game for Duel {
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
        for (x, push) in self.x.iter_mut().zip(step.inputs()) {
            *x += i32::from(push);
        }
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_i32s(&slot.x);
        Ok(())
    }
}

/// A session, its game, and what is on the way to it.
struct Peer {
    session: Session<Duel>,
    game: Duel,
    player: PlayerHandle,
    inbox: Vec<Vec<u8>>,
}

impl Peer {
    fn new(slot: u8) -> Self {
        let config = SessionConfig::builder().players(2).build().unwrap();
        let local = PeerId::new(slot).unwrap();
        let roster = Roster::one_player_each(2).unwrap();
        let ticket =
            Ticket { session: 0x1234, episode: 0, seed: 42, roster, local, incarnation: 0 };
        let game = Duel::default();
        let session =
            Session::new(&config, &ticket, Facts::default(), &game, Timestamp::ZERO).unwrap();
        Self { session, game, player: PlayerHandle::new(slot).unwrap(), inbox: Vec::new() }
    }

    /// Takes what has come, plays a frame and answers what it sends.
    fn play(&mut self, now: Timestamp, from: PeerId) -> Vec<Vec<u8>> {
        for datagram in self.inbox.drain(..) {
            self.session.handle_datagram(now, from, &datagram);
        }
        let input = input_of(self.player, self.session.current_frame().index());
        self.session.set_local_input(self.player, &input).unwrap();
        let advance = self.session.advance_frame(now, &mut self.game).unwrap();
        assert!(!matches!(advance, Advance::Ended(_)));
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll_output(now) {
            if let Output::Datagram { bytes, .. } = output {
                sent.push(bytes.to_vec());
            }
        }
        sent
    }
}

/// Player 0 gives 3, from frame 21 on 5; player 1 gives 1 all the time.
fn input_of(player: PlayerHandle, frame: u32) -> u8 {
    match (player.index(), frame) {
        (0, 21..) => 5,
        (0, _) => 3,
        _ => 1,
    }
}

/// Two peers play at 60 Hz; a datagram arrives before the next frame. Three datagrams of peer 1 are lost after peer 0
/// has played frame 19. Answers what peer 0 sent after each of its frames.
fn datagrams_of_peer_0() -> Vec<(u32, Vec<u8>)> {
    let [zero, one] = [0, 1].map(|slot| PeerId::new(slot).unwrap());
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    let mut log = Vec::new();
    for tick in 0..24_u64 {
        let now = Timestamp::from_micros(tick * 16_666);
        let sent = a.play(now, one);
        let stepped = a.session.current_frame().index();
        log.extend(sent.iter().map(|bytes| (stepped, bytes.clone())));
        b.inbox.extend(sent);
        let sent = b.play(now, zero);
        if !(20..23).contains(&stepped) {
            a.inbox.extend(sent);
        }
    }
    log
}

/// Two peers play at 60 Hz without a loss; before it plays frame 15, peer 0 says that it will probably give 5 in frames 16
/// and 18. Answers what it then sends.
fn datagram_with_hints() -> Vec<u8> {
    let [zero, one] = [0, 1].map(|slot| PeerId::new(slot).unwrap());
    let (mut a, mut b) = (Peer::new(0), Peer::new(1));
    for tick in 0..100_u64 {
        let now = Timestamp::from_micros(tick * 16_666);
        let is_15th = a.session.current_frame() == Frame::new(15);
        for frame in [16, 18].into_iter().filter(|_| is_15th) {
            assert_eq!(a.session.hint_input(a.player, Frame::new(frame), &5), Ok(true));
        }
        let sent = a.play(now, one);
        if is_15th {
            return sent.into_iter().next().unwrap();
        }
        b.inbox.extend(sent);
        a.inbox.extend(b.play(now, zero));
    }
    Vec::new()
}

/// The bytes of the blocks of the description's worked example that are marked `hex`, each up to the bar behind which
/// they are explained.
fn documented() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire-format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, example) = text.split_once("## A worked example").unwrap();
    let blocks = example.split("```hex\n").skip(1);
    let bytes_of = |block: &str| {
        let lines = block.split("```").next().unwrap_or_default().lines();
        let words =
            lines.flat_map(|line| line.split('|').next().unwrap_or_default().split_whitespace());
        words.map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
    };
    blocks.map(bytes_of).collect()
}

#[test]
fn the_worked_example_of_the_wire_format_s_description_is_right() {
    let sent = datagrams_of_peer_0();
    let documented = documented();
    assert_eq!(documented.len(), 3);
    // The hello comes first; the next one is sent with the second loss, after frame 21 was played.
    assert_eq!(sent.first(), Some(&(0, documented[0].clone())));
    let after_frame_21 = sent.iter().find(|(stepped, _)| *stepped == 22);
    assert_eq!(after_frame_21, Some(&(22, documented[1].clone())));
    assert_eq!(datagram_with_hints(), documented[2]);
}
