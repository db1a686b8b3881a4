//! People for whom nobody waits at the start.

use std::time::Duration;

use rollback_core::testing::{Fault, Simulation};
use rollback_core::{
    EndCause, Event, Facts, PeerSet, Roster, Session, SessionConfig, SessionError, Ticket,
    Timestamp,
};

use crate::games::Arena;
use crate::returns::{is_idle, is_whole, returns};
use crate::{cause, frames, good_network, peer, peers, plays};

fn without(late: &[u8], all: usize) -> Simulation {
    let late = peers(late);
    good_network(all).config(move |builder| builder.late_peers(late))
}

#[test]
fn one_that_comes_late_finds_its_player_idle_and_has_the_whole_recording() {
    let report = plays(without(&[2], 3).at_ms(4_000, Fault::Return(peer(2))));
    is_whole(&report, &[0, 1, 2]);
    let [(from, 1)] = returns(&report, 2)[..] else { panic!("{:?}", returns(&report, 2)) };
    assert!((240..300).contains(&from.index()), "{from}");
    for frame in 0..from.index() {
        assert!(is_idle(&report, 2, frame), "frame {frame}");
    }
    assert!(!is_idle(&report, 2, from.index()));
    for slot in [0, 1] {
        let events = &report.peer(slot).unwrap().events;
        assert_eq!(events[0], Event::Started, "the others waited for nobody");
        assert!(!report.peer(slot).unwrap().saw_departure());
        assert!(report.peer(slot).unwrap().counters.stalls < 20);
    }
    assert_eq!((report.faults.late, report.faults.let_in), (1, 1));
}

#[test]
fn one_plays_alone_until_the_others_come() {
    // The lowest slot is among those who come late.
    let report = plays(
        without(&[0, 2], 3)
            .frames(900)
            .at_ms(3_000, Fault::Return(peer(0)))
            .at_ms(6_000, Fault::Return(peer(2))),
    );
    is_whole(&report, &[0, 1, 2]);
    assert_eq!((returns(&report, 0).len(), returns(&report, 2).len()), (1, 1));
}

#[test]
fn one_that_came_late_goes_and_comes_again_as_others_do() {
    let report = plays(
        without(&[1], 3)
            .frames(900)
            .at_ms(2_000, Fault::Return(peer(1)))
            .at_ms(5_000, Fault::Leave(peer(1)))
            .at_ms(8_000, Fault::Return(peer(1))),
    );
    is_whole(&report, &[0, 1, 2]);
    assert_eq!(returns(&report, 1).iter().map(|(_, life)| *life).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn one_that_came_late_counts_for_a_quorum() {
    // Two began. With the one that came, two of three are enough when the lowest crashes.
    let report = plays(
        without(&[2], 3)
            .frames(900)
            .at_ms(2_000, Fault::Return(peer(2)))
            .at_ms(6_000, Fault::Crash(peer(0))),
    );
    for slot in [1, 2] {
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
        assert_eq!(frames(&report, slot), frames(&report, 1));
    }
}

#[test]
fn who_is_not_awaited_cannot_begin_and_enough_must_be() {
    let config = |late, members_min| {
        SessionConfig::builder()
            .players(2)
            .late_peers(late)
            .members_min(members_min)
            .build()
            .unwrap()
    };
    let session = |config: &SessionConfig, local, incarnation| {
        let roster = Roster::new(&[peer(0), peer(1)]).unwrap();
        let ticket =
            Ticket { session: 1, episode: 0, seed: 1, roster, local: peer(local), incarnation };
        let game = Arena::endless();
        Session::new(config, &ticket, Facts::default(), &game, Timestamp::ZERO).err()
    };
    let late = config(peers(&[1]), 1);
    assert_eq!(session(&late, 0, 0), None);
    assert_eq!(session(&late, 1, 0), Some(SessionError::ComesLate { peer: peer(1) }));
    assert_eq!(session(&late, 1, 1), None);
    let too_few = |expected, got| Some(SessionError::TooFewAtStart { expected, got });
    assert_eq!(session(&config(peers(&[1]), 2), 0, 0), too_few(2, 1));
    assert_eq!(session(&config(PeerSet::first(2), 1), 0, 1), too_few(1, 0));
}

#[test]
fn one_that_was_given_what_others_played_without_it_does_not_begin_before_that() {
    // 0 claims to let 2 in with 1, which stands still, and goes on alone when it has waited long enough; 2 does not hear that. When
    // 1 wakes and claims the same, 2 has every claim, but also frames that 0 has played since then.
    let report = plays(
        without(&[2], 3)
            .frames(900)
            .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
            .outlasting_timeouts()
            .at_ms(2_950, Fault::Pause { peer: peer(1), millis: 3_000 })
            .at_ms(3_000, Fault::Return(peer(2)))
            .at_ms(3_900, Fault::Mute { from: peer(0), to: peer(2), millis: 4_000 }),
    );
    is_whole(&report, &[0]);
    assert_eq!((cause(&report, 1), returns(&report, 2)), (Some(EndCause::Partitioned), vec![]));
    assert!(frames(&report, 2) > 300, "{}", frames(&report, 2));
}

#[test]
fn one_that_leaves_before_it_is_let_in_is_not_kept_waiting() {
    for at_ms in (3_050..4_500).step_by(50) {
        let report = plays(
            without(&[2], 3)
                .at_ms(3_000, Fault::Return(peer(2)))
                .at_ms(at_ms, Fault::Leave(peer(2))),
        );
        is_whole(&report, &[0, 1]);
        assert_eq!(cause(&report, 2), Some(EndCause::Left), "left at {at_ms} ms");
        let has_begun = !returns(&report, 2).is_empty();
        assert!(has_begun || frames(&report, 2) < 280, "left at {at_ms} ms");
    }
}
