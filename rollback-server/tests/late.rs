//! Rooms that begin with some of their members: who waits, who gets which slot, and what the others hear of it.

mod bench;

use bench::{Begun, Bench, join, ready, refusal, sent_to, slot, token};
use rollback_signaling::{ErrorCode, Join, ServerMessage, Text};

#[test]
fn a_room_begins_without_those_who_may_come_late_and_they_come_in() {
    let mut bench = Bench::new(2, 4);
    let first = bench.enter(1);
    assert!(matches!(
        sent_to(&first, 1)[..],
        [ServerMessage::Joined { slot: 0, expected: 4, begins_with: 2, .. }]
    ));
    let begun = bench.enter(2);
    let both = vec![(0, 0), (1, 0)];
    assert_eq!(ready(&begun, 1), Some(Begun(1, both.clone(), 2)));
    assert_eq!(ready(&begun, 2), Some(Begun(1, both.clone(), 2)));

    // One life of its slot was nobody's.
    let late = bench.enter(3);
    assert_eq!(slot(&late, 3), 2);
    let three = [both, vec![(2, 1)]].concat();
    assert_eq!(ready(&late, 3), Some(Begun(1, three.clone(), 3)));
    for other in [1, 2] {
        assert!(matches!(
            &sent_to(&late, other)[..],
            [ServerMessage::MemberJoined { member }] if (member.slot, member.life) == (2, 1)
        ));
    }
    let last = bench.enter(4);
    assert_eq!(ready(&last, 4), Some(Begun(1, [three, vec![(3, 1)]].concat(), 4)));
    // There is no slot left, so another group begins.
    assert_eq!((slot(&bench.enter(5), 5), bench.coordinator.status().rooms_waiting), (0, 1));
}

#[test]
fn the_slots_of_a_group_that_waits_are_those_with_which_it_begins() {
    let mut bench = Bench::new(2, 3);
    let _ = bench.enter(1);
    let _ = bench.disconnect(1);
    // One that is away is waited for, and not a slot for which nobody waits.
    let second = bench.enter(2);
    assert_eq!((slot(&second, 2), ready(&second, 2)), (1, None));
    let third = bench.enter(3);
    assert_eq!((slot(&third, 3), ready(&third, 3)), (0, Some(Begun(1, vec![(0, 0), (1, 0)], 2))));
}

#[test]
fn one_that_came_late_comes_back_with_its_token_in_the_next_life() {
    let mut bench = Bench::new(1, 2);
    let _ = bench.enter(1);
    let _ = bench.enter(2);
    let _ = bench.disconnect(2);
    let back = bench.enter_with(3, Join { token: Some(token(2)), ..join(3) });
    assert_eq!(ready(&back, 3), Some(Begun(1, vec![(0, 0), (1, 2)], 2)));
    assert!(matches!(
        &sent_to(&back, 1)[..],
        [ServerMessage::MemberBack { member }] if member.life == 2
    ));
}

#[test]
fn a_slot_that_somebody_left_is_given_to_nobody_else() {
    let mut bench = Bench::new(2, 3);
    for number in [1, 2, 3] {
        let _ = bench.enter(number);
    }
    let _ = bench.leave(3);
    assert_eq!(slot(&bench.enter(4), 4), 0);
    // One of those who began comes back and hears that nobody is to come.
    let _ = bench.disconnect(1);
    let back = bench.enter_with(5, Join { token: Some(token(1)), ..join(5) });
    assert_eq!(ready(&back, 5), Some(Begun(1, vec![(0, 1), (1, 0)], 3)));
}

#[test]
fn nobody_comes_late_into_a_match_in_which_nobody_is() {
    let mut bench = Bench::new(2, 3);
    let _ = bench.enter(1);
    let _ = bench.enter(2);
    let _ = bench.disconnect(1);
    let _ = bench.leave(2);
    let next = bench.enter(3);
    assert_eq!((slot(&next, 3), ready(&next, 3)), (0, None));
}

#[test]
fn one_with_other_settings_is_not_let_into_a_match() {
    let mut bench = Bench::new(1, 2);
    let _ = bench.enter(1);
    let settings = Text::try_from("other".to_owned()).unwrap();
    let refused = bench.enter_with(2, Join { settings, ..join(2) });
    assert_eq!(refusal(&refused, 2), Some(ErrorCode::SettingsDiffer));
    assert_eq!(slot(&bench.enter(3), 3), 1);
}
