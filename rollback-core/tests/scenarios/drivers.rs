//! What drivers do that they should not: they are told.

use rollback_core::{
    Advance, Facts, Output, PlayerHandle, Roster, Session, SessionConfig, Stall, Ticket, Timestamp,
};

use crate::games::Arena;
use crate::peer;

#[test]
fn a_driver_that_takes_no_stable_frame_is_waited_for_and_not_a_peer() {
    let config = SessionConfig::builder().players(1).build().unwrap();
    let roster = Roster::new(&[peer(0)]).unwrap();
    let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local: peer(0), incarnation: 0 };
    let mut game = Arena::endless();
    let mut session =
        Session::new(&config, &ticket, Facts::default(), &game, Timestamp::ZERO).unwrap();
    let player = PlayerHandle::new(0).unwrap();
    let mut advance = |session: &mut Session<Arena>, tick: u64| {
        session.set_local_input(player, &1).unwrap();
        session.advance_frame(Timestamp::from_millis(tick * 16), &mut game).unwrap()
    };

    let waited = (0..1_000)
        .find(|tick| advance(&mut session, *tick) == Advance::Stalled(Stall::WaitingForDriver));
    assert!(waited.is_some());

    let mut taken = 0;
    while let Some(output) = session.poll_output(Timestamp::from_millis(16_000)) {
        taken += u32::from(matches!(output, Output::Stable(_)));
    }
    assert!(taken > 0);
    let goes_on = |advance| matches!(advance, Advance::Stepped { .. });
    assert!(goes_on(advance(&mut session, 1_001)) || goes_on(advance(&mut session, 1_002)));
}
