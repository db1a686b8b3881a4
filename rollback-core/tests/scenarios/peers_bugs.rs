//! What is known to have gone wrong in other rollback engines (GGPO, GGRS, backroll, GekkoNet), and must not here. What
//! is a story of its own anyway stands in the other files.

use std::cell::Cell;
use std::time::Duration;

use rollback_core::testing::{Fault, Faults, Oracle, PeerReport, Report, Sabotage, Simulation};
use rollback_core::{
    Advance, Costs, DesyncFinding, EndCause, Event, Facts, Frame, Game, Outcome, Output,
    PlayerHandle, Roster, Same, Session, SessionConfig, StateHasher, Step, Ticket, Timestamp,
};

use crate::games::{Arena, Jammed, Rules, State};
use crate::{cause, frames, good_network, peer, plays};

/// Nobody gives an input twice in a row, so every guess that repeats the last one is wrong.
fn always_another(_: PlayerHandle, _: &mut rollback_core::testing::Random, input: &mut [u8]) {
    input.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
}

fn nobody_departed(report: &Report) -> bool {
    let cause = |peer: &PeerReport| peer.end.map(|end| end.cause);
    report.peers.iter().all(|peer| cause(peer) == Some(EndCause::Named(7)) && !peer.saw_departure())
}

/// Three players of whom the third is lost, its last inputs before that only to the second. The other two hear nothing
/// of each other until they are about to give it up, so that they cannot pass them on in time.
fn one_is_lost(lost_before_ms: u64) -> Simulation {
    let at = 2_000 - lost_before_ms;
    let mute = |from, to, millis| Fault::Mute { from: peer(from), to: peer(to), millis };
    good_network(3)
        .config(|builder| builder.departure_timeout(Duration::from_millis(500)))
        .inputs(always_another)
        .at_ms(at, mute(2, 1, 400))
        .at_ms(at, mute(0, 1, 480))
        .at_ms(at, mute(1, 0, 480))
        .at_ms(2_000, Fault::Crash(peer(2)))
}

#[test]
fn three_players_of_whom_one_is_lost_go_on_however_unequal_what_they_hold_of_it() {
    // GGRS 0.13 panics for every difference but none: "cannot load frame outside of prediction window".
    let mut unequal = 0;
    for lost_before_ms in [0, 17, 34, 50, 100, 134] {
        let report = plays(one_is_lost(lost_before_ms));
        for slot in [0, 1] {
            assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
            assert!(frames(&report, slot) >= 600);
        }
        let [one, other] = [0, 1].map(|slot| &report.peers[slot].log);
        assert_eq!(one.first_difference(other), None);
        // Where each cuts at what it holds itself, the logs tell how much that is.
        let cut_apart =
            one_is_lost(lost_before_ms).sabotage(Sabotage::Cut).unshrunk().run(Arena::endless);
        unequal += u32::from(cut_apart.is_err());
    }
    assert!(unequal >= 2, "they held unequally much of it {unequal} times");
}

#[test]
fn a_rollback_may_go_back_by_the_whole_window_and_no_further() {
    // GGRS: a crash at the exact edge. Each peer hears nothing of the other for longer than the window.
    for window in [1, 2, 5, 8] {
        let mute = |from, to| Fault::Mute { from: peer(from), to: peer(to), millis: 300 };
        let report = plays(
            good_network(2)
                .config(move |builder| builder.prediction_window_frames(window))
                .inputs(always_another)
                .at_ms(2_000, mute(0, 1))
                .at_ms(4_000, mute(1, 0)),
        );
        let depths = report.rollback_depths;
        assert!(depths[usize::from(window) - 1] > 0, "window {window}: {depths:?}");
        assert_eq!(depths[usize::from(window)..].iter().sum::<u64>(), 0, "window {window}");
        assert!(nobody_departed(&report));
    }
}

#[test]
fn local_players_with_different_delays_begin_and_play() {
    // GGRS: the first input with a delay was rejected, and the session froze.
    let delays = [0, 7, 3, 1];
    let with_delays = move |builder: rollback_core::SessionConfigBuilder| {
        PlayerHandle::all(4)
            .zip(delays)
            .fold(builder, |builder, (player, delay)| builder.input_delay_frames_of(player, delay))
    };
    for window in [0, 1, 8] {
        let report = plays(
            good_network(2)
                .players_per_peer(2..=2)
                .inputs(always_another)
                .config(move |builder| with_delays(builder).prediction_window_frames(window)),
        );
        assert!(nobody_departed(&report));
        // What is given first takes effect as many frames later; before that, nothing is done.
        let rows = report.peers[0].log.rows();
        for (player, delay) in delays.into_iter().enumerate() {
            let first = rows.iter().position(|row| row.inputs[player] != 0);
            assert_eq!(first, Some(usize::from(delay)), "player {player}, window {window}");
        }
    }
}

#[test]
fn lockstep_needs_a_delay_of_one_way_and_not_of_a_round_trip() {
    // GGRS: a crash at a window of 0, then a full round trip of delay, then three reworks.
    let faults = Faults { delay_min_ms: 30, delay_max_ms: 30, ..Faults::none() };
    let stalls = |delay| {
        let report =
            plays(good_network(2).faults(faults.clone()).config(move |builder| {
                builder.prediction_window_frames(0).input_delay_frames(delay)
            }));
        assert!(nobody_departed(&report));
        report.peers.iter().map(|peer| peer.counters.stalls).max().unwrap_or_default()
    };
    // Thirty milliseconds are two frames, and one more passes until the input that has come is looked at.
    assert!(stalls(3) < 60, "{}", stalls(3));
    assert!(stalls(0) > 300, "without a delay each frame waits for its inputs: {}", stalls(0));
}

/// An arena that says how often its states were hashed.
#[derive(Clone)]
struct Counted {
    arena: Arena,
    hashes: Cell<u64>,
}

impl Game for Counted {
    type Input = u8;
    type Snapshot = State;
    type Error = Jammed;

    fn save(&self, slot: &mut State) -> Result<(), Jammed> {
        self.arena.save(slot)
    }

    fn load(&mut self, slot: &State) -> Result<(), Jammed> {
        self.arena.load(slot)
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Jammed> {
        self.arena.step(step)
    }

    fn hash(&self, slot: &State, hasher: &mut StateHasher) -> Result<(), Jammed> {
        self.hashes.set(self.hashes.get() + 1);
        self.arena.hash(slot, hasher)
    }

    fn costs(&self) -> Costs {
        self.arena.costs()
    }

    fn same(&self, one: &State, other: &State) -> Same {
        self.arena.same(one, other)
    }
}

#[test]
fn a_state_is_hashed_once_for_its_report_and_only_when_it_is_final() {
    // GGRS hashes whatever it saves, also what was guessed wrongly: false alarms, five times mended.
    // With states that are dear to save, "cell not found!": the state to be hashed had not been saved.
    for saves_are_dear in [false, true] {
        let arena = Arena::with(Rules { saves_are_dear, ..Rules::default() });
        let mut pair = Pair::new(|| Counted { arena: arena.clone(), hashes: Cell::default() });
        (0..10_000).for_each(|millis| pair.pass(Timestamp::from_millis(millis)));
        for (session, game) in pair.sessions.iter().zip(&pair.games) {
            let frames = u64::from(session.agreed().end().index());
            let resimulated = session.counters().rollback.resimulated;
            assert!(resimulated > frames, "{resimulated} of {frames} were guessed wrongly");
            // One for every tenth frame, of which the last are not agreed yet. The first state is another game's.
            let (hashes, reports) = (game.hashes.get(), frames / 10);
            assert!(reports > 50, "{reports} reports");
            assert!((reports..=reports + 1).contains(&hashes), "{hashes} for {frames} frames");
        }
    }
}

#[test]
fn a_desync_is_found_and_named_whatever_the_interval_of_reports() {
    // GGRS: an interval that was misunderstood, and reports that stopped after a while.
    for (interval, diverges_at) in [(1, 7), (7, 300), (30, 31), (60, 59), (60, 500)] {
        let rules = Rules { diverges_at: Some(diverges_at), ..Rules::default() };
        let report = good_network(2)
            .config(move |builder| builder.report_interval_frames(interval))
            .waive(Oracle::Desync)
            .run_each(
                |of| if of == peer(1) { Arena::with(rules) } else { Arena::endless() },
                Arena::endless,
            )
            .unwrap_or_else(|failure| panic!("{failure}"));
        for peer in &report.peers {
            let found = peer.find_event(|event| match event {
                Event::Desync(desync) => Some(desync.finding.clone()),
                _ => None,
            });
            let path = Some(String::from("players[0].x"));
            let first =
                DesyncFinding::First { frame: Frame::new(diverges_at + 1), path, bytes: None };
            assert_eq!(found, Some(first), "every {interval} frames");
        }
    }
}

#[test]
fn a_tab_that_sleeps_for_ten_minutes_wakes_up_in_the_match() {
    // GGRS: the frame advantage overflowed one byte, and the session panicked.
    let report = plays(
        good_network(2)
            .config(|builder| builder.departure_timeout(Duration::from_secs(600)))
            .at_ms(2_000, Fault::Pause { peer: peer(1), millis: 590_000 }),
    );
    assert!(nobody_departed(&report));
    assert!(report.lasted > Duration::from_secs(590));
    assert!(report.spread_max < Duration::from_secs(600));
}

#[test]
fn a_tab_in_the_background_that_wakes_once_a_second_holds_nobody_apart() {
    let background = (2..8).fold(good_network(3), |simulation, second| {
        let sleeps = Fault::Pause { peer: peer(1), millis: 980 };
        simulation.at_ms(second * 1_000, sleeps)
    });
    let background = background.config(|builder| builder.departure_timeout(Duration::from_secs(2)));
    assert!(nobody_departed(&plays(background)));
}

#[test]
fn four_players_at_a_hundred_milliseconds_and_a_quarter_of_losses_play_on() {
    // GekkoNet: unstable with more than two.
    let faults = Faults {
        delay_min_ms: 50,
        delay_max_ms: 50,
        jitter_max_ms: 10,
        loss_max_per_mille: 250,
        ..Faults::none()
    };
    let report = plays(
        good_network(4)
            .faults(faults)
            .config(|builder| builder.prediction_window_frames(8).input_delay_frames(2)),
    );
    assert!(nobody_departed(&report));
    for peer in &report.peers {
        let (stalls, frames) = (peer.counters.stalls, peer.log.rows().len() as u64);
        assert!(stalls * 10 < frames, "{}: {stalls} stalls in {frames} frames", peer.peer);
    }
}

/// A step that takes inputs as wide as they may be for eight players on one computer.
#[derive(Clone, Default)]
struct Wide {
    sum: u64,
}

impl Game for Wide {
    type Input = [u8; 60];
    type Snapshot = Self;
    type Error = std::convert::Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Self::Error> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Self::Error> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, [u8; 60]>) -> Result<Outcome, Self::Error> {
        for input in step.inputs() {
            let word = input.iter().fold(0, |sum: u64, byte| sum.rotate_left(3) ^ u64::from(*byte));
            self.sum = self.sum.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word;
        }
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Self::Error> {
        hasher.write_u64(slot.sum);
        Ok(())
    }
}

#[test]
fn inputs_as_wide_as_a_datagram_allows_arrive_through_losses() {
    // GGRS only warns of packets that will be cut to pieces on the way. Here the simulator holds every datagram to its
    // limit; eight players with 60 bytes that change at every frame are all that fits one.
    let faults = Faults { delay_max_ms: 40, loss_max_per_mille: 200, ..Faults::none() };
    let report = good_network(3)
        .faults(faults)
        .frames(200)
        .players_per_peer(8..=8)
        .inputs(|_, random, input| random.fill(input))
        .run(Wide::default)
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(nobody_departed(&report));
}

/// Two sessions whose datagrams are all under way for the same time, on a network that can be cut.
struct Pair<G: Game> {
    sessions: [Session<G>; 2],
    games: [G; 2],
    under_way: Vec<(Timestamp, usize, Vec<u8>)>,
    is_cut: bool,
    /// When each last stepped.
    stepped: [Timestamp; 2],
    /// How many times either was asked to advance.
    asked: u32,
}

impl<G: Game<Input = u8, Error = Jammed>> Pair<G> {
    fn new(game: impl Fn() -> G) -> Self {
        let config =
            SessionConfig::builder().players(2).prediction_window_frames(8).build().unwrap();
        let sessions = [0, 1].map(|slot| {
            let roster = Roster::one_player_each(2).unwrap();
            let local = peer(slot);
            let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
            Session::new(&config, &ticket, Facts::default(), &game(), Timestamp::ZERO).unwrap()
        });
        let games = [game(), game()];
        let stepped = [Timestamp::ZERO; 2];
        Self { sessions, games, under_way: Vec::new(), is_cut: false, stepped, asked: 0 }
    }

    /// What happens in one millisecond.
    fn pass(&mut self, now: Timestamp) {
        let arrived = self.under_way.extract_if(.., |(at, ..)| *at <= now);
        for (_, to, bytes) in arrived.collect::<Vec<_>>() {
            let from = self.sessions[1 - to].local();
            self.sessions[to].handle_datagram(now, from, &bytes);
        }
        for of in [0, 1] {
            let session = &mut self.sessions[of];
            if now >= session.next_frame_at() {
                self.asked += 1;
                let player = PlayerHandle::new(session.local().slot()).unwrap();
                // Another one in every frame.
                session.set_local_input(player, &self.asked.to_le_bytes()[0]).unwrap();
                // Waiting is an answer like others: no input is lost by it, and no call fails.
                if let Advance::Stepped { .. } =
                    session.advance_frame(now, &mut self.games[of]).unwrap()
                {
                    self.stepped[of] = now;
                }
            }
            while let Some(output) = session.poll_output(now) {
                if let (Output::Datagram { bytes, .. }, false) = (output, self.is_cut) {
                    self.under_way.push((
                        now.plus(Duration::from_millis(ONE_WAY_MS)),
                        1 - of,
                        bytes.to_vec(),
                    ));
                }
            }
        }
    }
}

const ONE_WAY_MS: u64 = 50;

#[test]
fn two_peers_that_both_wait_go_on_within_a_round_trip_of_the_network() {
    // Engines that send only when they step, or again only after a timeout, wait for each other much longer.
    let at = Timestamp::from_millis;
    for heals_at in 4_000..4_020 {
        let mut pair = Pair::new(Arena::endless);
        for millis in 0..heals_at + 150 {
            pair.is_cut = (2_000..heals_at).contains(&millis);
            pair.pass(at(millis));
            if millis == heals_at {
                assert!(pair.stepped.iter().all(|stepped| *stepped < at(2_400)), "both wait");
            }
            let is_late = millis == heals_at + 2 * ONE_WAY_MS;
            let [one, other] = pair.stepped.map(|stepped| stepped > at(heals_at));
            assert!(!is_late || one && other, "{:?} at {millis}, healed {heals_at}", pair.stepped);
        }
    }
}
