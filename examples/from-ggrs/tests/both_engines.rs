//! The same players get the same race on both engines.

use rollback_core::SyncTest;
use rollback_from_ggrs::race::Race;
use rollback_from_ggrs::{play_on_ggrs, play_on_rollback, script};

#[test]
fn all_four_computers_end_in_one_state_after_rollbacks() {
    let (on_ggrs, on_rollback) = (play_on_ggrs().unwrap(), play_on_rollback().unwrap());
    let race = &on_ggrs.races[0];
    assert!(race.is_over());
    for other in on_ggrs.races.iter().chain(&on_rollback.races) {
        assert_eq!(other, race);
    }
    for rollbacks in on_ggrs.rollbacks.into_iter().chain(on_rollback.rollbacks) {
        assert!(rollbacks > 10, "{rollbacks} rollbacks are no test");
    }
    // Without any engine: inputs take effect two frames after they are given, and before these nobody does anything.
    let mut plain = Race::default();
    while !plain.is_over() {
        let given = plain.frame.checked_sub(2);
        plain.advance(
            [0, 1].map(|player| given.map(|frame| script(player, frame)).unwrap_or_default()),
        );
    }
    assert_eq!(race, &plain);
}

#[test]
fn the_race_comes_back_to_what_it_was() {
    let inputs = |frame: rollback_core::Frame, player: rollback_core::PlayerHandle| {
        script(player.index(), frame.index())
    };
    let report = SyncTest::new(2).frames(1_000).run(&mut Race::default(), inputs).unwrap();
    assert!(report.ended && report.frames > 100, "{report:?}");
}
