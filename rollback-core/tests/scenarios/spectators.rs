//! Watching: anybody, from any moment on, over a bad path, through others who watch, and from several hosts.

use rollback_core::spectate::{
    Contradiction, Feed, FeedLimits, HostId, SpectateError, Spectator, SpectatorOptions, Watched,
    WatcherId,
};
use rollback_core::testing::Random;
use rollback_core::{End, EndCause, Frame, StateHash, Timestamp};

use crate::games::{Arena, Rules};
use crate::watching::Host::{Member, Seat as Relay};
use crate::watching::{Hall, SESSION, Seat, TICK_MS, peer, played, rows};

#[test]
fn whoever_watches_sees_every_frame_from_whenever_and_through_whomever() {
    let late = 5_000;
    let mut hall = Hall::new(1);
    hall.seats = vec![
        Seat::new(0, 0, 0, [Member(0)]),
        Seat::new(1, 100, 200, [Member(0)]),
        Seat::new(2, late, 200, [Member(0)]),
        Seat::new(3, 0, 100, [Relay(0)]),
        Seat::new(4, late, 200, [Relay(0)]),
        // Three others are between this one and the member.
        Seat::new(5, 0, 100, [Relay(3)]),
        Seat::new(6, late, 50, [Relay(5)]),
    ];
    hall.show(|_, _| {});
    assert_eq!(hall.members[0].feed.spectators(), 3);
    assert_eq!(hall.members[0].feed.lagging(), 0);
    hall.check_seats();
    for (number, seat) in hall.seats.iter().enumerate() {
        // The delay of six frames, the way and an answer of it lost twice; as much again through each other.
        let between = [0, 0, 0, 1, 1, 2, 3][number];
        let lag = seat.lag_at_end_of_play;
        assert!(lag < 25 + 20 * between, "seat {number}: {lag}");
        assert_eq!(seat.spectator.contradictions(), []);
    }
}

#[test]
fn when_a_host_falls_silent_another_is_asked_and_no_frame_is_lost() {
    let mut hall = Hall::new(2);
    hall.seats = vec![
        Seat::new(0, 0, 100, [Member(0), Member(1)]),
        Seat::new(1, 2_000, 100, [Member(0), Relay(0)]),
    ];
    hall.show(|hall, tick| {
        let [first, second] = [0, 1].map(|seat| hall.seats[seat].spectator.fed_by());
        if tick == 200 {
            assert_eq!([first, second], [Some(Member(0).id()); 2]);
            hall.members[0].is_silent = true;
        }
        // A second and a half of silence, and a round trip to ask whether it has the same.
        if tick == 200 + 110 {
            assert_eq!([first, second], [Some(Member(1).id()), Some(Relay(0).id())]);
        }
    });
    hall.check_seats();
    for seat in &hall.seats {
        assert_eq!((seat.spectator.host_changes(), seat.spectator.contradictions().len()), (1, 0));
        assert!(seat.lag_at_end_of_play < 45, "{}", seat.lag_at_end_of_play);
    }
    // Of the one that nobody asks nothing is wanted any more.
    assert_eq!(hall.members[1].feed.spectators(), 1);
}

#[test]
fn a_host_that_is_said_to_be_gone_is_asked_no_more() {
    let mut hall = Hall::new(2);
    hall.seats = vec![Seat::new(0, 0, 0, [Member(0), Member(1)])];
    hall.show(|hall, tick| {
        let spectator = &mut hall.seats[0].spectator;
        match tick {
            100 => spectator.remove_host(Member(0).id()),
            110 => assert_eq!(spectator.fed_by(), Some(Member(1).id())),
            _ => {}
        }
    });
    hall.check_seats();
    assert_eq!(hall.seats[0].spectator.host_changes(), 1);
}

#[test]
fn a_host_that_lags_behind_another_is_left_for_that_one() {
    let mut hall = Hall::new(2);
    hall.members[0].is_late_by = 120;
    hall.seats = vec![Seat::new(0, 0, 50, [Member(0), Member(1)])];
    hall.show(|_, _| {});
    assert_eq!(hall.seats[0].spectator.fed_by(), Some(Member(1).id()));
    assert_eq!(hall.seats[0].spectator.host_changes(), 1);
    assert!(hall.seats[0].lag_at_end_of_play < 30);
}

#[test]
fn one_who_catches_up_does_not_take_its_host_for_slow() {
    // Not much beyond what is played.
    let limits = FeedLimits { bytes_per_second: 100, ..FeedLimits::default() };
    let mut hall = Hall::with_limits(2, limits);
    hall.seats = vec![Seat::new(0, 6_000, 50, [Member(0), Member(1)])];
    hall.show(|hall, tick| {
        let spectator = &hall.seats[0].spectator;
        // Longer than hosts are given to prove themselves.
        assert!(tick != 630 || spectator.frames() < Frame::new(550), "{}", spectator.frames());
    });
    hall.check_seats();
    assert_eq!(hall.seats[0].spectator.host_changes(), 0);
}

#[test]
fn nothing_is_taken_of_a_host_before_it_is_known_to_have_the_same() {
    let mut hall = Hall::new(2);
    hall.forge(1, 185);
    hall.seats = vec![Seat::new(0, 0, 0, [Member(0), Member(1)])];
    let mut held = Frame::ZERO;
    hall.show(|hall, tick| {
        let spectator = &mut hall.seats[0].spectator;
        if tick == 198 {
            held = spectator.frames();
            spectator.remove_host(Member(0).id());
        }
    });
    let spectator = &hall.seats[0].spectator;
    let frame = Some(Frame::new(185));
    assert_eq!(spectator.contradictions(), [Contradiction { host: Member(1).id(), frame }]);
    assert!(held > Frame::new(190));
    assert_eq!(spectator.frames(), held);
}

#[test]
fn hosts_that_say_different_things_of_a_frame_are_told_apart() {
    let mut hall = Hall::new(3);
    hall.forge(1, 333);
    hall.forge(2, 0);
    hall.seats = vec![Seat::new(0, 0, 100, [Member(0), Member(1), Member(2)])];
    hall.show(|hall, tick| {
        // From then on there is nobody left to ask whose stream fits.
        hall.members[0].is_silent |= tick == 400;
    });
    let spectator = &hall.seats[0].spectator;
    let said = |host, frame| Contradiction { host, frame: Some(Frame::new(frame)) };
    let [first, second] = [said(Member(2).id(), 0), said(Member(1).id(), 333)];
    assert_eq!(spectator.contradictions(), [first, second]);
    assert_eq!((spectator.fed_by(), spectator.host_changes()), (Some(Member(0).id()), 0));
    let shown = spectator.current_frame();
    assert!(Frame::new(380) < shown && shown <= Frame::new(400), "{shown}");
}

#[test]
fn what_ended_for_one_host_goes_on_from_another() {
    for cause in [EndCause::Partitioned, EndCause::GameFailed, EndCause::Left] {
        let mut hall = Hall::new(2);
        hall.seats = vec![
            Seat::new(0, 0, 50, [Member(0), Member(1)]),
            Seat::new(1, 0, 50, [Member(0)]),
            Seat::new(2, 0, 50, [Relay(1)]),
        ];
        let end = End { frame: Frame::new(200), cause, by: Some(peer(0)) };
        hall.show(|hall, tick| {
            let member = &mut hall.members[0];
            if tick == 200 {
                assert!(member.feed.finish(end));
                // It has no further frames.
                member.is_late_by = usize::MAX;
            }
            if tick == 245 {
                // Nobody waits for a silence.
                assert_eq!(hall.seats[0].spectator.fed_by(), Some(Member(1).id()), "{cause:?}");
            }
        });
        let ended: Vec<_> = hall.seats.iter().map(|seat| seat.ended.unwrap()).collect();
        assert_eq!(ended, [hall.report.peer(0).unwrap().end.unwrap(), end, end]);
        assert_eq!(hall.seats[0].spectator.contradictions(), []);
    }
}

#[test]
fn a_host_that_sends_no_episode_is_left_for_one_that_does() {
    let (report, header) = played();
    let mut feed = Feed::new(&header, peer(0), FeedLimits::default()).unwrap();
    assert!(rows(&report).iter().all(|row| feed.push(&row.as_stable())));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    assert!(spectator.add_host(HostId(1)) && !spectator.add_host(HostId(1)));
    // Bytes that nobody would write, rightly sealed.
    let mut forged = vec![0, 0, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 9];
    rollback_core::testing::doors::reseal_watching(SESSION, 0, &mut forged);
    let mut bytes = Vec::new();
    while spectator.poll_datagram(Timestamp::ZERO, &mut bytes).is_some() {}
    spectator.handle_datagram(Timestamp::ZERO, HostId(1), &forged);
    let advanced = spectator.advance(&mut Arena::endless());
    assert!(matches!(advanced, Err(SpectateError::Stream(_))), "{advanced:?}");
    assert!(spectator.add_host(HostId(2)));
    for tick in 0..40 {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while let Some(to) = spectator.poll_datagram(now, &mut bytes) {
            assert_eq!(to, HostId(2));
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, HostId(2), &bytes);
        }
    }
    assert!(spectator.frames() > Frame::new(100), "{}", spectator.frames());
    assert!((3..20).all(|host| spectator.add_host(HostId(host)) == (host < 17)));
}

#[test]
fn a_spectator_whose_game_differs_is_told_the_frame() {
    let (report, header) = played();
    let mut feed = Feed::new(&header, peer(0), FeedLimits::default()).unwrap();
    assert!(rows(&report).iter().all(|row| feed.push(&row.as_stable())));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    assert!(spectator.add_host(HostId(1)));
    let mut game = Arena::with(Rules { diverges_at: Some(103), ..Rules::default() });
    let mut bytes = Vec::new();
    let error = (0..2_000).find_map(|tick| {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while spectator.poll_datagram(now, &mut bytes).is_some() {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, HostId(1), &bytes);
        }
        spectator.advance(&mut game).err()
    });
    let is_right = |frame: &Frame, expected: &StateHash| {
        *frame == Frame::new(110) && Some(*expected) == rows(&report)[110].state_hash
    };
    assert!(
        matches!(&error, Some(SpectateError::Diverged { frame, expected, .. }) if is_right(frame, expected)),
        "{error:?}"
    );
}

#[test]
fn the_header_is_there_before_a_game_is_asked_for() {
    let (report, header) = played();
    let mut feed = Feed::new(&header, peer(0), FeedLimits::default()).unwrap();
    assert!(feed.push(&rows(&report)[0].as_stable()));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    assert!(spectator.add_host(HostId(1)));
    let mut bytes = Vec::new();
    for tick in 0..20 {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while spectator.poll_datagram(now, &mut bytes).is_some() {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, HostId(1), &bytes);
        }
    }
    assert_eq!(spectator.header(), Some(&header));
    assert!(!feed.finish(report.peer(0).unwrap().end.unwrap()), "frames are missing");
}

#[test]
fn what_nobody_sent_changes_nothing() {
    let (report, header) = played();
    let mut feed =
        Feed::new(&header, peer(0), FeedLimits { spectators: 1, ..FeedLimits::default() }).unwrap();
    rows(&report).iter().for_each(|row| assert!(feed.push(&row.as_stable())));
    assert!(!feed.push(&rows(&report)[0].as_stable()), "a frame that is not the next one");
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    assert!(spectator.add_host(HostId(1)));
    let (mut random, mut bytes) = (Random::new(1, 1), Vec::new());
    let mut sent = Vec::new();
    while spectator.poll_datagram(Timestamp::ZERO, &mut bytes).is_some() {
        sent.push(bytes.clone());
    }
    // A question, and what it holds.
    let [_, asked] = sent.try_into().unwrap();
    feed.handle_datagram(Timestamp::ZERO, WatcherId(1), &asked);
    for _ in 0..10_000 {
        let mut noise = asked.clone();
        noise.truncate(random.below(40) as usize);
        noise.resize(random.below(60) as usize, 7);
        if let Some(byte) = noise.get_mut(random.below(20) as usize) {
            *byte ^= 1 << random.below(8);
        }
        if noise != asked {
            feed.handle_datagram(Timestamp::ZERO, WatcherId(1), &noise);
            spectator.handle_datagram(Timestamp::ZERO, HostId(1), &noise);
        }
    }
    assert!(feed.refused() > 9_000 && spectator.refused() > 9_000);
    let refused = feed.refused();
    feed.handle_datagram(Timestamp::ZERO, WatcherId(2), &asked);
    assert_eq!((feed.spectators(), feed.refused()), (1, refused + 1));
    assert_eq!(spectator.advance(&mut Arena::endless()), Ok(Watched::Waiting));
}
