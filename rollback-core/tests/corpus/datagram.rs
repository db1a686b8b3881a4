//! A match of three members, of whom the last two send the first whatever a script says, all with right tags.

use rollback_core::testing::doors;
use rollback_core::{
    Facts, Frame, InputFlags, OnDesync, Output, PeerId, PlayerHandle, ResyncFrom, Roster, Session,
    SessionConfig, Silence, Ticket, Timestamp,
};

use crate::games::{Arena, Rules};
use crate::script::Script;

/// Plays a match as the script says. The first member must keep its promises whatever the others do.
pub(crate) fn play(script: &[u8]) {
    let mut script = Script::new(script);
    let mut mesh = Mesh::new([script.byte(), script.byte()]);
    while !script.is_over() {
        mesh.act(&mut script);
        mesh.check();
    }
}

struct Mesh {
    now: Timestamp,
    members: Vec<Member>,
    /// How far the first member has come on each rung.
    ladder: [Frame; 3],
    rows: u32,
}

struct Member {
    session: Session<Arena>,
    game: Arena,
    player: PlayerHandle,
    inbox: Vec<(PeerId, Vec<u8>)>,
    /// The last datagram that it sent to the first member.
    last_sent: Vec<u8>,
}

impl Mesh {
    fn new([about, settings]: [u8; 2]) -> Self {
        let rules = Rules {
            may_end_from: (about & 1 != 0).then_some(4),
            fails_on_guesses: about & 2 != 0,
            fails_at: (about & 4 != 0).then_some(12),
            diverges_at: None,
            ..Rules::default()
        };
        let anchor = PeerId::new(1).unwrap();
        let on_desync = match about >> 3 & 3 {
            0 => OnDesync::End,
            1 => OnDesync::Pause,
            2 => OnDesync::Resync(ResyncFrom::Majority { anchor }),
            _ => OnDesync::Resync(ResyncFrom::Peer(anchor)),
        };
        let silence = if about & 32 != 0 { Silence::Wait } else { Silence::Depart };
        let config = SessionConfig::builder()
            .players(3)
            .prediction_window_frames(settings & 0x0f)
            .input_delay_frames(settings >> 4 & 3)
            .report_interval_frames(1 + (settings >> 6) * 2)
            .departure_timeout(core::time::Duration::from_millis(500))
            .linger(core::time::Duration::from_millis(500))
            .on_desync(on_desync)
            .silence(silence)
            .build()
            .unwrap();
        let member = |local| {
            let roster = Roster::one_player_each(3).unwrap();
            let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
            // The last one may calculate differently from a frame on.
            let differs = about & 64 != 0 && local.slot() == 2;
            let game = Arena::with(Rules { diverges_at: differs.then_some(5), ..rules });
            let facts = Facts::default();
            let session = Session::new(&config, &ticket, facts, &game, Timestamp::ZERO).unwrap();
            let player = PlayerHandle::new(local.slot()).unwrap();
            Member { session, game, player, inbox: Vec::new(), last_sent: Vec::new() }
        };
        let members = PeerId::all(3).map(member).collect();
        Self { now: Timestamp::ZERO, members, ladder: [Frame::ZERO; 3], rows: 0 }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        let act = script.byte();
        let of = usize::from(act / 16 % 3);
        match act % 16 {
            0..=4 => self.advance(of, script.byte()),
            5..=7 => self.deliver(of),
            8 => self.members[of].inbox.clear(),
            9 => self.wait(script.byte().into()),
            10 => {
                self.members[of].session.leave();
            }
            11 => self.say(of, script.byte()),
            12 => {
                // All of it anew, behind a true head or a made-up one.
                let head = script.byte();
                let count = script.byte();
                let mut forged = vec![head, 0, 0, 0, 0];
                forged.extend_from_slice(script.bytes(count));
                self.forge(1 + of % 2, forged);
            }
            _ => {
                // A true one, of which some bytes are others.
                let from = 1 + of % 2;
                let mut forged = self.members[from].last_sent.clone();
                for _ in 0..=script.byte() % 4 {
                    let (at, bits) = (usize::from(script.byte()), script.byte());
                    match forged.get_mut(at) {
                        Some(byte) if at != 1 => *byte ^= bits,
                        Some(_) => forged.truncate(bits.into()),
                        None => forged.push(bits),
                    }
                }
                self.forge(from, forged);
            }
        }
    }

    /// A member's application says what is to follow.
    fn say(&mut self, of: usize, what: u8) {
        let session = &mut self.members[of].session;
        match what {
            251 => session.request_state(),
            252 => _ = session.resync(),
            253 => _ = session.end_disputed(),
            254 => _ = session.kick(PeerId::new(1).unwrap()),
            255 => _ = session.kick(PeerId::new(2).unwrap()),
            code => _ = session.propose_end(code.into()),
        }
    }

    /// A member gives an input, steps, and sends what is due.
    fn advance(&mut self, of: usize, input: u8) {
        self.wait(4);
        let Member { session, game, player, .. } = &mut self.members[of];
        let flags = InputFlags::from_bits(input & 1);
        session.set_local_input_bytes(*player, &[input >> 1], flags).unwrap();
        // Others may have made it fail in every way that there is.
        let _ = session.advance_frame(self.now, game);
        if let Some(state) = session.take_requested_state() {
            assert!(state.frame <= session.agreed().end(), "{} is not agreed", state.frame);
        }
        self.send(of);
    }

    fn send(&mut self, of: usize) {
        let from = self.members[of].session.local();
        let mut sent = Vec::new();
        while let Some(output) = self.members[of].session.poll_output(self.now) {
            match output {
                Output::Datagram { to, bytes } => {
                    assert!(bytes.len() <= 1_100, "{} bytes", bytes.len());
                    sent.push((to, bytes.to_vec()));
                }
                Output::Stable(frame) if of == 0 => {
                    assert_eq!(frame.frame.index(), self.rows, "rows come in order");
                    self.rows += 1;
                }
                Output::Stable(_) | Output::Event(_) => {}
            }
        }
        for (to, bytes) in sent {
            if to.index() == 0 {
                self.members[of].last_sent.clone_from(&bytes);
            }
            self.members[to.index()].inbox.push((from, bytes));
        }
    }

    /// A member takes what has come.
    fn deliver(&mut self, to: usize) {
        let Member { session, inbox, .. } = &mut self.members[to];
        for (from, bytes) in inbox.drain(..) {
            session.handle_datagram(self.now, from, &bytes);
        }
    }

    fn wait(&mut self, millis: u32) {
        self.now = self.now.plus(core::time::Duration::from_millis(millis.into()));
    }

    /// The first member gets a datagram that only a member could have sealed.
    fn forge(&mut self, from: usize, mut bytes: Vec<u8>) {
        let from = self.members[from].session.local();
        let session = &mut self.members[0].session;
        doors::reseal(session, from, &mut bytes);
        session.handle_datagram(self.now, from, &bytes);
    }

    /// The ladder of finality, which no datagram can turn over.
    fn check(&mut self) {
        let session = &self.members[0].session;
        let current = session.current_frame();
        let rungs = [session.confirmed().end(), session.stable().end(), session.agreed().end()];
        let [confirmed, stable, agreed] = rungs;
        assert!(agreed <= stable && stable <= confirmed && confirmed <= current, "{rungs:?}");
        let fell = self.ladder.iter().zip(rungs).any(|(before, after)| after < *before);
        assert!(!fell, "{rungs:?} after {:?}", self.ladder);
        self.ladder = rungs;
        assert!(self.rows <= stable.index(), "{} rows, {stable} stable", self.rows);
    }
}
