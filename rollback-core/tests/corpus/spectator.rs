//! Somebody who watches through somebody who watches, each also at a second member: what they are sent is what a script says,
//! with right tags.

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{
    Feed, FeedLimits, HostId, Spectator, SpectatorOptions, Watched, WatcherId,
};
use rollback_core::testing::doors;
use rollback_core::{
    End, EndCause, Frame, Game, PeerId, Roster, SessionConfig, StableFrame, StateHash, StateHasher,
    Timestamp,
};

use crate::games::{Arena, State};
use crate::script::Script;

/// Watches as the script says. Whatever comes, a spectator steps frames in order, each once, and never beyond what came.
pub(crate) fn watch(script: &[u8]) {
    let mut script = Script::new(script);
    let mut party = Party::new(script.byte());
    while !script.is_over() {
        party.act(&mut script);
        party.check();
    }
}

struct Party {
    now: Timestamp,
    /// Two members; what the second says may be something else.
    feeds: [Feed; 2],
    next: [Frame; 2],
    /// The first is fed by the first feed, the second by the first spectator, and both by the second feed.
    spectators: [Spectator; 2],
    games: [Arena; 2],
    shown: [Frame; 2],
    /// What is under way to each spectator, and from it, with the host.
    down: [Vec<(HostId, Vec<u8>)>; 2],
    up: [Vec<(HostId, Vec<u8>)>; 2],
}

impl Party {
    fn new(options: u8) -> Self {
        let header = header();
        let options = SpectatorOptions {
            delay_frames: (options & 0x0f).into(),
            catch_up_frames: (options >> 4).into(),
            relay: FeedLimits::default(),
        };
        let spectator = || {
            let mut spectator = Spectator::new(header.session, header.episode, options);
            assert!(spectator.add_host(NEXT) && spectator.add_host(OTHER));
            spectator
        };
        let feed = |slot| {
            let local = PeerId::new(slot).unwrap();
            Feed::new(&header, local, FeedLimits::default()).unwrap()
        };
        Self {
            now: Timestamp::ZERO,
            feeds: [feed(0), feed(1)],
            next: [Frame::ZERO; 2],
            spectators: [spectator(), spectator()],
            games: [Arena::endless(), Arena::endless()],
            shown: [Frame::ZERO; 2],
            down: Default::default(),
            up: Default::default(),
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        let act = script.byte();
        let of = usize::from(act / 16 % 2);
        match act % 16 {
            0..=2 => {
                let input = script.byte();
                self.push(0, input);
                self.push(1, input);
            }
            3 => self.finish(script.byte()),
            4..=6 => self.send(),
            7..=9 => self.deliver(of),
            10 => self.down[of].clear(),
            11 => self.now = self.now.plus(core::time::Duration::from_millis(script.byte().into())),
            12 => {
                // A piece of a stream that nobody wrote.
                let offset = u32::from_le_bytes([script.byte(), script.byte(), script.byte(), 0]);
                let count = script.byte();
                let mut forged = vec![0, 0, 0, 0, 2];
                forged.extend_from_slice(&offset.to_le_bytes());
                forged.extend_from_slice(script.bytes(count));
                self.forge(of, forged);
            }
            13 => {
                let (is_piece, count) = (script.byte(), script.byte());
                let mut forged = vec![0, 0, 0, 0, 1 + is_piece % 4];
                forged.extend_from_slice(script.bytes(count));
                self.forge(of, forged);
            }
            15 => match script.byte() % 4 {
                0 => self.push(1, script.byte()),
                1 => self.spectators[of].remove_host(NEXT),
                2 => self.spectators[of].remove_host(OTHER),
                _ => drop([NEXT, OTHER].map(|host| self.spectators[of].add_host(host))),
            },
            _ => {
                // A true one, of which a byte is another.
                let Some((_, mut forged)) = self.down[of].pop() else { return };
                let (at, bits) = (usize::from(script.byte()), script.byte());
                if let Some(byte) = forged.get_mut(at) {
                    *byte ^= bits;
                }
                self.forge(of, forged);
            }
        }
    }

    /// A member says of a frame that it is agreed on.
    fn push(&mut self, of: usize, input: u8) {
        let (inputs, flags) = ([input, 1], [0, 0]);
        let state_hash = None;
        let frame = self.next[of];
        let row = StableFrame {
            frame,
            inputs: &inputs,
            flags: &flags,
            items: &[],
            output: &[],
            state_hash,
            keyframe: None,
        };
        if self.feeds[of].push(&row) {
            self.next[of] = frame.next();
        }
    }

    fn finish(&mut self, code: u8) {
        let cause = if code < 200 { EndCause::Named(code.into()) } else { EndCause::Partitioned };
        self.feeds[usize::from(code % 2)].finish(End {
            frame: self.next[usize::from(code % 2)],
            cause,
            by: None,
        });
    }

    /// All send what is due.
    fn send(&mut self) {
        let mut bytes = Vec::new();
        let [first, second] = &mut self.spectators;
        for _ in 0..SENT_MAX {
            let mut sent = 0;
            for (feed, host) in self.feeds.iter_mut().zip([NEXT, OTHER]) {
                let Some(to) = feed.poll_datagram(self.now, &mut bytes) else { continue };
                sent += 1;
                self.down[usize::from(to == SECOND)].push((host, bytes.clone()));
            }
            if first.poll_watcher(self.now, &mut bytes).is_some() {
                sent += 1;
                self.down[1].push((NEXT, bytes.clone()));
            }
            for (of, spectator) in [&mut *first, &mut *second].into_iter().enumerate() {
                let Some(to) = spectator.poll_datagram(self.now, &mut bytes) else { continue };
                sent += 1;
                self.up[of].push((to, bytes.clone()));
            }
            if sent == 0 {
                return;
            }
        }
        panic!("no end of datagrams");
    }

    /// What is under way to a spectator arrives, and what it says where it is fed from.
    fn deliver(&mut self, to: usize) {
        for (host, bytes) in self.down[to].drain(..) {
            self.spectators[to].handle_datagram(self.now, host, &bytes);
        }
        for (host, bytes) in self.up[to].drain(..) {
            match (to, host) {
                (0, NEXT) => self.feeds[0].handle_datagram(self.now, FIRST, &bytes),
                (_, NEXT) => self.spectators[0].handle_watcher(self.now, SECOND, &bytes),
                (0, _) => self.feeds[1].handle_datagram(self.now, FIRST, &bytes),
                (..) => self.feeds[1].handle_datagram(self.now, SECOND, &bytes),
            }
        }
    }

    /// Something comes to a spectator, from where it is fed and from those that it feeds, and to the feeds.
    fn forge(&mut self, to: usize, mut bytes: Vec<u8>) {
        let header = header();
        doors::reseal_watching(header.session, header.episode, &mut bytes);
        let spectator = &mut self.spectators[to];
        spectator.handle_datagram(self.now, NEXT, &bytes);
        spectator.handle_watcher(self.now, WatcherId(9), &bytes);
        for feed in &mut self.feeds {
            feed.handle_datagram(self.now, FIRST, &bytes);
        }
    }

    fn check(&mut self) {
        for of in [0, 1] {
            let (spectator, game) = (&mut self.spectators[of], &mut self.games[of]);
            // What nobody wrote may well be no episode.
            let watched = spectator.advance(game);
            let (shown, come) = (spectator.current_frame(), spectator.frames());
            assert!(self.shown[of] <= shown && shown <= come, "{shown} of {come}");
            assert!(spectator.contradictions().len() < 64 + 1);
            match watched {
                Ok(Watched::Stepped { frames }) => {
                    assert_eq!(shown.since(self.shown[of]), frames);
                }
                Ok(Watched::Ended(end)) => assert!(end.frame <= shown, "{end:?} at {shown}"),
                Ok(Watched::Waiting) => assert_eq!(shown, self.shown[of]),
                Err(error) => drop(error.to_string()),
            }
            self.shown[of] = shown;
        }
    }
}

fn header() -> RecordingHeader {
    let mut hasher = StateHasher::new();
    Arena::endless().hash(&State::default(), &mut hasher).unwrap();
    let start_hash: StateHash = hasher.finish();
    RecordingHeader {
        session: 7,
        episode: 1,
        seed: 42,
        config: SessionConfig::builder().players(2).build().unwrap(),
        roster: Roster::one_player_each(2).unwrap(),
        participants: vec!["p-01".into(), "p-02".into()],
        must_match: Vec::new(),
        may_differ: vec![Vec::new(), Vec::new()],
        start_hash,
    }
}

/// The host before a spectator, and the second feed.
const NEXT: HostId = HostId(1);
const OTHER: HostId = HostId(2);

const FIRST: WatcherId = WatcherId(7);
const SECOND: WatcherId = WatcherId(8);

/// More than two feeds and two spectators may ever send at one moment.
const SENT_MAX: usize = 10_000;
