//! One that was cut off from the others may play on alone, and nothing of that ever counts.

use std::time::Duration;

use rollback_core::{
    Actor, Advance, BranchError, EndCause, Facts, Frame, Game, InputError, InputStatus, OnDesync,
    Outcome, Output, PlayerHandle, Roster, Session, SessionConfig, SessionConfigBuilder, Stall,
    StateHash, StateHasher, Step, StepRow, Ticket, Timestamp,
};

use crate::games::{Arena, Jammed, Rules, State};
use crate::peer;

/// Two peers of one player each, 20 ms apart, that are cut off from each other after a second.
struct Cut {
    sessions: [Session<Arena>; 2],
    games: [Arena; 2],
    stable: [Frame; 2],
}

fn cut_off() -> Cut {
    cut_off_in(&Arena::endless(), 0, 1)
}

/// The same in a game, with another idle input; the players give `last` when they are cut off.
fn cut_off_in(arena: &Arena, idle: u8, last: u8) -> Cut {
    let config = SessionConfig::builder().idle_input(&[idle]);
    cut_off_when(config, [arena, arena], last, |now, _| now >= Timestamp::from_millis(1_000))
}

/// The same with a game each, as soon as this holds of the time and of what the second one waits for.
fn cut_off_when(
    config: SessionConfigBuilder,
    arenas: [&Arena; 2],
    last: u8,
    mut is_cut: impl FnMut(Timestamp, Option<Stall>) -> bool,
) -> Cut {
    let config = config.players(2).departure_timeout(Duration::from_millis(500)).build().unwrap();
    let sessions = [0, 1].map(|slot| {
        let roster = Roster::one_player_each(2).unwrap();
        let ticket =
            Ticket { session: 1, episode: 0, seed: 1, roster, local: peer(slot), incarnation: 0 };
        let arena = arenas[usize::from(slot)];
        Session::new(&config, &ticket, Facts::default(), arena, Timestamp::ZERO).unwrap()
    });
    let mut cut = Cut { sessions, games: arenas.map(Clone::clone), stable: [Frame::ZERO; 2] };
    let (mut stall, mut has_parted) = (None, false);
    let mut under_way: Vec<(u64, usize, Vec<u8>)> = Vec::new();
    for millis in 0..4_000 {
        let now = Timestamp::from_millis(millis);
        has_parted |= is_cut(now, stall);
        for (_, to, bytes) in under_way.extract_if(.., |(at, ..)| *at <= millis).collect::<Vec<_>>()
        {
            cut.sessions[to].handle_datagram(now, peer(if to == 0 { 1 } else { 0 }), &bytes);
        }
        for of in [0, 1] {
            let session = &mut cut.sessions[of];
            if session.end().is_none() && now >= session.next_frame_at() {
                assert_eq!(session.branch().err(), Some(BranchError::NotOver));
                let input = if millis < 900 { u8::try_from(millis % 3).unwrap() } else { last };
                session.set_local_input(player(of), &input).unwrap();
                let advance = session.advance_frame(now, &mut cut.games[of]).unwrap();
                if let (1, Advance::Stalled(waits)) = (of, advance) {
                    stall = Some(waits);
                }
            }
            while let Some(output) = session.poll_output(now) {
                match output {
                    Output::Datagram { bytes, .. } if !has_parted => {
                        under_way.push((millis + 20, 1 - of, bytes.to_vec()));
                    }
                    Output::Stable(row) => cut.stable[of] = row.frame.next(),
                    Output::Datagram { .. } | Output::Event(_) => {}
                }
            }
        }
    }
    cut
}

fn player(of: usize) -> PlayerHandle {
    PlayerHandle::all(2).nth(of).unwrap()
}

fn hash(game: &Arena) -> StateHash {
    let (mut state, mut hasher) = (State::default(), StateHasher::new());
    game.save(&mut state).unwrap();
    game.hash(&state, &mut hasher).unwrap();
    hasher.finish()
}

#[test]
fn one_that_was_cut_off_plays_on_alone_and_nothing_of_it_counts() {
    let mut cut = cut_off();
    assert_eq!(cut.sessions[1].end().unwrap().cause, EndCause::Partitioned);
    // The anchor goes on with the episode itself.
    assert_eq!(cut.sessions[0].branch().err(), Some(BranchError::NotOver));

    let session = &cut.sessions[1];
    let mut branch = session.branch().unwrap();
    assert_eq!(branch.began(), session.current_frame());
    assert!(branch.began() > cut.stable[1], "it stood still on guesses");
    let mut alone = cut.games[1].clone();
    let not_local = InputError::NotLocal { player: player(0) };
    assert_eq!(branch.set_local_input(player(0), &1), Err(not_local));
    for step in 0..100_u8 {
        branch.set_local_input(player(1), &step).unwrap();
        assert_eq!(branch.advance_frame(&mut cut.games[1]), Ok(Outcome::Running));
        let statuses = [InputStatus::Predicted, InputStatus::Given];
        let row = StepRow { inputs: &[0, step], flags: &[0, 0], statuses: &statuses };
        let frame = branch.began().plus(step.into());
        let expected = Step::new(frame, 1, row, false);
        alone.step(&expected).unwrap();
        assert_eq!(hash(&alone), hash(&cut.games[1]), "{frame}");
    }
    assert_eq!(branch.current_frame(), branch.began().plus(100));
    // The session knows nothing of it.
    let now = Timestamp::from_millis(6_000);
    let mut session_game = cut.games[1].clone();
    cut.sessions[1].advance_frame(now, &mut session_game).unwrap();
    while let Some(output) = cut.sessions[1].poll_output(now) {
        assert!(!matches!(output, Output::Stable(_)));
    }
    assert_eq!(cut.sessions[1].stable().end(), cut.stable[1]);
}

#[test]
fn who_ends_otherwise_has_no_branch() {
    let mut cut = cut_off();
    let session = &mut cut.sessions[0];
    session.propose_end(3);
    for millis in (4_000..5_000).step_by(10) {
        let now = Timestamp::from_millis(millis);
        session.set_local_input(player(0), &1).unwrap();
        session.advance_frame(now, &mut cut.games[0]).unwrap();
        while session.poll_output(now).is_some() {}
    }
    let cause = EndCause::Named(3);
    assert_eq!(session.branch().err(), Some(BranchError::NotCutOff { cause }));
}

#[test]
fn no_frame_of_a_branch_is_final_since_it_is_a_guess_that_the_others_are_idle() {
    // It cannot be stepped with a guess of 3.
    let arena = Arena::with(Rules { fails_on_guesses: true, ..Rules::default() });
    let mut cut = cut_off_in(&arena, 3, 1);
    let mut branch = cut.sessions[1].branch().unwrap();
    let frame = branch.began();
    assert_eq!(branch.advance_frame(&mut cut.games[1]), Err(Jammed { frame }));
}

#[test]
fn where_the_last_guess_could_not_be_stepped_there_is_no_branch() {
    let arena = Arena::with(Rules { fails_on_guesses: true, ..Rules::default() });
    let cut = cut_off_in(&arena, 0, 3);
    assert_eq!(cut.sessions[1].end().unwrap().cause, EndCause::Partitioned);
    assert_eq!(cut.sessions[1].branch().err(), Some(BranchError::NoState));
}

#[test]
fn where_a_desync_was_not_settled_there_is_no_branch() {
    // The search for the first frame that differs takes the game back, and it stays there while the members disagree.
    let parting = Arena::with(Rules { diverges_at: Some(55), ..Rules::default() });
    let is_searching = |stall| stall == Some(Stall::SearchingDesync);
    let is_disputed = |stall| matches!(stall, Some(Stall::Disputed(_)));
    for is_cut in [is_searching, is_disputed] {
        let config = SessionConfig::builder().on_desync(OnDesync::Pause);
        let mut was_cut = false;
        let cut = cut_off_when(config, [&Arena::endless(), &parting], 1, |_, stall| {
            was_cut |= is_cut(stall);
            was_cut
        });
        assert!(was_cut);
        assert_eq!(cut.sessions[1].end().unwrap().cause, EndCause::Partitioned);
        assert_eq!(cut.sessions[1].branch().err(), Some(BranchError::NoState));
    }
}

#[test]
fn what_a_policy_gives_in_a_branch_is_a_policy_s() {
    let arena = Arena::with(Rules { fails_on_policies: true, ..Rules::default() });
    let mut cut = cut_off_in(&arena, 0, 1);
    let mut branch = cut.sessions[1].branch().unwrap();
    assert_eq!(branch.advance_frame(&mut cut.games[1].clone()), Ok(Outcome::Running));
    cut.sessions[1].set_actor(player(1), Actor::Policy).unwrap();
    let mut branch = cut.sessions[1].branch().unwrap();
    let frame = branch.began();
    assert_eq!(branch.advance_frame(&mut cut.games[1]), Err(Jammed { frame }));
}
