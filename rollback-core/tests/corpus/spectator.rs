//! Somebody who watches through somebody who watches: what they are sent is what a script says, with right tags.

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{Feed, FeedLimits, Spectator, SpectatorOptions, Watched, WatcherId};
use rollback_core::testing::doors;
use rollback_core::{
    End, EndCause, Frame, Game, Roster, SessionConfig, StableFrame, StateHash, StateHasher,
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
    feed: Feed,
    next: Frame,
    /// The first is fed by the feed, the second by the first.
    spectators: [Spectator; 2],
    games: [Arena; 2],
    shown: [Frame; 2],
    /// What is under way from each to the one after it: the feed, the first, the second.
    down: [Vec<Vec<u8>>; 2],
    up: [Vec<Vec<u8>>; 2],
}

impl Party {
    fn new(options: u8) -> Self {
        let header = header();
        let options = SpectatorOptions {
            delay_frames: (options & 0x0f).into(),
            catch_up_frames: (options >> 4).into(),
            relay: FeedLimits::default(),
        };
        let spectator = || Spectator::new(header.session, header.episode, options);
        Self {
            now: Timestamp::ZERO,
            feed: Feed::new(&header, FeedLimits::default()).unwrap(),
            next: Frame::ZERO,
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
            0..=2 => self.push(script.byte()),
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
                let mut forged = vec![0, 0, 0, 0, 1 + is_piece % 2];
                forged.extend_from_slice(script.bytes(count));
                self.forge(of, forged);
            }
            _ => {
                // A true one, of which a byte is another.
                let Some(mut forged) = self.down[of].pop() else { return };
                let (at, bits) = (usize::from(script.byte()), script.byte());
                if let Some(byte) = forged.get_mut(at) {
                    *byte ^= bits;
                }
                self.forge(of, forged);
            }
        }
    }

    /// The members have agreed on a frame.
    fn push(&mut self, input: u8) {
        let (inputs, flags) = ([input, 1], [0, 0]);
        let state_hash = None;
        let frame = self.next;
        let row = StableFrame {
            frame,
            inputs: &inputs,
            flags: &flags,
            items: &[],
            output: &[],
            state_hash,
        };
        if self.feed.push(&row) {
            self.next = self.next.next();
        }
    }

    fn finish(&mut self, code: u8) {
        let cause = EndCause::Named(code.into());
        self.feed.finish(End { frame: self.next, cause, by: None });
    }

    /// All send what is due.
    fn send(&mut self) {
        let mut bytes = Vec::new();
        let [first, second] = &mut self.spectators;
        for _ in 0..SENT_MAX {
            let fed = self.feed.poll_datagram(self.now, &mut bytes).is_some();
            self.down[0].extend(fed.then(|| bytes.clone()));
            let relayed = first.poll_watcher(self.now, &mut bytes).is_some();
            self.down[1].extend(relayed.then(|| bytes.clone()));
            let asked = first.poll_datagram(self.now, &mut bytes);
            self.up[0].extend(asked.then(|| bytes.clone()));
            let asked_too = second.poll_datagram(self.now, &mut bytes);
            self.up[1].extend(asked_too.then(|| bytes.clone()));
            if !fed && !relayed && !asked && !asked_too {
                return;
            }
        }
        panic!("no end of datagrams");
    }

    /// What is under way to a spectator arrives, and its answers where it is fed from.
    fn deliver(&mut self, to: usize) {
        for bytes in self.down[to].drain(..) {
            self.spectators[to].handle_datagram(self.now, &bytes);
        }
        for bytes in self.up[to].drain(..) {
            match to {
                0 => self.feed.handle_datagram(self.now, WatcherId(7), &bytes),
                _ => self.spectators[0].handle_watcher(self.now, WatcherId(8), &bytes),
            }
        }
    }

    /// Something comes to a spectator, from where it is fed and from those that it feeds, and to the feed.
    fn forge(&mut self, to: usize, mut bytes: Vec<u8>) {
        let header = header();
        doors::reseal_watching(header.session, header.episode, &mut bytes);
        let spectator = &mut self.spectators[to];
        spectator.handle_datagram(self.now, &bytes);
        spectator.handle_watcher(self.now, WatcherId(9), &bytes);
        self.feed.handle_datagram(self.now, WatcherId(9), &bytes);
    }

    fn check(&mut self) {
        for of in [0, 1] {
            let (spectator, game) = (&mut self.spectators[of], &mut self.games[of]);
            // What nobody wrote may well be no episode.
            let watched = spectator.advance(game);
            let (shown, come) = (spectator.current_frame(), spectator.frames());
            assert!(self.shown[of] <= shown && shown <= come, "{shown} of {come}");
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

/// More than a feed and two spectators may ever send at one moment.
const SENT_MAX: usize = 10_000;
