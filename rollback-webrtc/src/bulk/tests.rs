//! Two ends, and what becomes of messages between them whatever happens to the channels.

use super::*;

/// Two ends with a channel between them on the ways that they prefer.
struct Pair {
    ends: [BulkLink; 2],
    preferred: [Way; 2],
    channels: u64,
}

impl Pair {
    fn new() -> Self {
        Self::of([10, 20].map(bulk))
    }

    fn of(ends: [BulkLink; 2]) -> Self {
        let mut pair = Self { ends, preferred: [Way::WebRtc; 2], channels: 0 };
        pair.reconnect();
        pair
    }

    fn reconnect(&mut self) {
        self.open(Way::WebRtc);
    }

    fn open(&mut self, way: Way) {
        self.channels += 1;
        for end in &mut self.ends {
            end.channel_opened(way, self.channels);
        }
    }

    /// Passes frames until there are none; the first `limit` only.
    fn pass(&mut self, limit: usize) {
        self.pass_on(&[Way::WebRtc, Way::Server], limit);
    }

    /// The same on these ways only.
    fn pass_on(&mut self, ways: &[Way], limit: usize) {
        for _ in 0..limit {
            let mut passed = false;
            for (from, way) in
                [0, 1].into_iter().flat_map(|end| ways.iter().map(move |way| (end, *way)))
            {
                if let Some(frame) = self.ends[from].poll_frame(way, self.preferred[from], true) {
                    self.ends[1 - from].handle_frame(way, &frame.freeze()).unwrap();
                    passed = true;
                    break;
                }
            }
            if !passed {
                return;
            }
        }
    }

    fn take_all(&mut self, end: usize) -> Vec<u8> {
        std::iter::from_fn(|| self.ends[end].pop()).map(|message| message[0]).collect()
    }
}

fn bulk(incarnation: u64) -> BulkLink {
    BulkLink::new(Lane::Bulk, incarnation)
}

fn poll(end: &mut BulkLink) -> Option<Bytes> {
    end.poll_frame(Way::WebRtc, Way::WebRtc, true).map(BytesMut::freeze)
}

fn handle(end: &mut BulkLink, frame: &Bytes) -> Result<(), BulkViolation> {
    end.handle_frame(Way::WebRtc, frame)
}

#[test]
fn messages_arrive_in_order_both_ways() {
    let mut pair = Pair::new();
    for number in 0..10 {
        assert!(pair.ends[0].push(&[number]));
        assert!(pair.ends[1].push(&[100 + number]));
    }
    pair.pass(usize::MAX);
    assert_eq!(pair.take_all(1), (0..10).collect::<Vec<u8>>());
    assert_eq!(pair.take_all(0), (100..110).collect::<Vec<u8>>());
}

#[test]
fn the_window_opens_again_when_the_game_takes_messages() {
    let mut pair = Pair::new();
    let pushed = (0..=255).take_while(|&number| pair.ends[0].push(&[number])).count();
    assert_eq!(pushed, BULK_WINDOW);
    pair.pass(usize::MAX);
    assert!(!pair.ends[0].push(&[0]), "received is not taken");
    assert!(pair.ends[1].pop().is_some());
    pair.pass(usize::MAX);
    assert!(pair.ends[0].push(&[0]));
    assert!(!pair.ends[0].push(&[0]));
}

#[test]
fn a_channel_that_ends_anywhere_loses_and_repeats_nothing() {
    for cut in 0..40 {
        let mut pair = Pair::new();
        for number in 0..10 {
            assert!(pair.ends[0].push(&[number]));
        }
        pair.pass(cut);
        let mut taken: Vec<u8> = pair.ends[1].pop().iter().map(|first| first[0]).collect();
        // Whatever the ends have produced but not passed on is lost with the channel.
        let lost = poll(&mut pair.ends[0]);
        pair.reconnect();
        pair.pass(usize::MAX);
        taken.extend(pair.take_all(1));
        assert_eq!(taken, (0..10).collect::<Vec<u8>>(), "cut at {cut}, lost {lost:?}");
    }
}

#[test]
fn a_new_process_gets_what_was_not_taken_and_starts_its_own_numbers() {
    let mut pair = Pair::new();
    for number in 0..3 {
        assert!(pair.ends[0].push(&[number]));
        assert!(pair.ends[1].push(&[100 + number]));
    }
    pair.pass(usize::MAX);
    assert_eq!(pair.take_all(0), [100, 101, 102]);
    assert_eq!(pair.ends[1].pop().unwrap()[0], 0);
    pair.pass(usize::MAX);

    pair.ends[1] = bulk(21);
    assert!(pair.ends[1].push(&[200]));
    pair.reconnect();
    pair.pass(usize::MAX);
    assert_eq!(pair.take_all(1), [1, 2]);
    assert_eq!(pair.take_all(0), [200]);
}

#[test]
fn what_a_former_process_was_told_in_notices_a_new_one_is_not() {
    let notices = |incarnation| BulkLink::new(Lane::Notices, incarnation);
    let mut pair = Pair::of([10, 20].map(notices));
    // What is said before the first connection arrives.
    assert!(pair.ends[0].push(&[1]));
    pair.reconnect();
    pair.pass(usize::MAX);
    assert!(pair.ends[0].push(&[2]));
    pair.pass(usize::MAX);
    assert_eq!(pair.take_all(1), [1, 2]);
    assert!(pair.ends[0].push(&[3]));
    pair.ends[1] = notices(21);
    pair.reconnect();
    pair.pass(usize::MAX);
    assert!(pair.ends[0].push(&[4]));
    pair.pass(usize::MAX);
    assert_eq!(pair.take_all(1), [4]);
    let frame = numbered(HELLO | NOTICES, 5, &[0; 24]).freeze();
    assert_eq!((Lane::of(&frame), Lane::of(&Bytes::new())), (Lane::Notices, Lane::Bulk));
    pair.ends[0] = bulk(10);
    pair.reconnect();
    assert_eq!(handle(&mut pair.ends[0], &frame), Err(BulkViolation), "of another lane");
}

#[test]
fn dishonest_frames_are_refused_and_change_nothing() {
    let mut pair = Pair::new();
    let mut other = bulk(30);
    other.channel_opened(Way::WebRtc, 1);
    let hello = poll(&mut other).unwrap();
    let victim = &mut pair.ends[0];
    let data = |number, bytes: &[u8]| numbered(DATA, number, bytes).freeze();
    assert_eq!(handle(victim, &data(0, b"x")), Err(BulkViolation), "before the hello");
    assert_eq!(handle(victim, &hello), Ok(()));
    let too_long = vec![0; BULK_MESSAGE_BYTES_MAX + 1];
    let bad = [
        Bytes::new(),
        Bytes::from_static(&[DATA]),
        Bytes::from_static(&[9; 9]),
        hello.clone(),
        data(1, b"a gap"),
        data(0, &too_long),
        numbered(TAKEN, 1, &[]).freeze(),
        numbered(TAKEN, 0, b"tail").freeze(),
    ];
    for frame in bad {
        assert_eq!(handle(victim, &frame), Err(BulkViolation), "{frame:?}");
    }
    assert_eq!(handle(victim, &data(0, &too_long[1..])), Ok(()));
    assert_eq!(victim.pop().unwrap().len(), BULK_MESSAGE_BYTES_MAX);
}

#[test]
fn a_peer_that_ignores_the_window_is_refused() {
    let mut pair = Pair::new();
    pair.pass(usize::MAX);
    let victim = &mut pair.ends[0];
    for number in 0..BULK_WINDOW as u64 {
        assert_eq!(handle(victim, &numbered(DATA, number, b"x").freeze()), Ok(()));
    }
    let past = numbered(DATA, BULK_WINDOW as u64, b"x").freeze();
    assert_eq!(handle(victim, &past), Err(BulkViolation));
}

#[test]
fn messages_move_between_the_ways_at_any_moment_and_none_is_lost_or_repeated() {
    // What is under way on a channel that is left arrives later, or never.
    for (cut, arrives) in (0..60).flat_map(|cut| [(cut, false), (cut, true)]) {
        let mut pair = Pair::new();
        pair.open(Way::Server);
        for number in 0..20 {
            assert!(pair.ends[0].push(&[number]));
            assert!(pair.ends[1].push(&[100 + number]));
        }
        pair.pass(cut);
        let mut taken: Vec<u8> = pair.ends[1].pop().iter().map(|first| first[0]).collect();
        let late: Vec<Vec<Bytes>> = pair
            .ends
            .iter_mut()
            .map(|end| std::iter::from_fn(|| poll(end)).take(3).collect())
            .collect();
        pair.preferred = [Way::Server; 2];
        pair.pass_on(&[Way::Server], usize::MAX);
        if arrives {
            for (from, frames) in late.iter().enumerate() {
                for frame in frames {
                    handle(&mut pair.ends[1 - from], frame).unwrap();
                }
            }
            // Back again, on the channel as it was.
            pair.preferred = [Way::WebRtc; 2];
        } else {
            pair.reconnect();
        }
        taken.extend(pair.take_all(1));
        pair.pass(usize::MAX);
        assert!(pair.ends[0].push(&[20]));
        pair.pass(usize::MAX);
        taken.extend(pair.take_all(1));
        assert_eq!(taken, (0..=20).collect::<Vec<u8>>(), "cut at {cut}, late {late:?}");
        assert_eq!(pair.take_all(0), (100..120).collect::<Vec<u8>>());
    }
}

#[test]
fn each_side_may_prefer_another_way_and_takes_the_other_when_its_own_is_gone() {
    let mut pair = Pair::new();
    pair.open(Way::Server);
    pair.preferred = [Way::WebRtc, Way::Server];
    for number in 0..BULK_WINDOW {
        let number = u8::try_from(number).unwrap();
        assert!(pair.ends[0].push(&[number]) && pair.ends[1].push(&[number]));
    }
    pair.pass(usize::MAX);
    for end in 0..2 {
        assert_eq!(pair.take_all(end).len(), BULK_WINDOW);
    }
    pair.ends[0].channel_closed(Way::WebRtc);
    pair.ends[1].channel_closed(Way::WebRtc);
    pair.pass(usize::MAX);
    assert!(pair.ends[0].push(&[1]) && pair.ends[1].push(&[2]), "all that was taken is known");
    pair.pass(usize::MAX);
    assert_eq!((pair.take_all(0), pair.take_all(1)), (vec![2], vec![1]));
}

#[test]
fn a_new_process_on_one_way_is_not_confused_with_the_former_one_on_the_other() {
    let mut pair = Pair::new();
    for number in 0..3 {
        assert!(pair.ends[0].push(&[number]));
        assert!(pair.ends[1].push(&[100 + number]));
    }
    pair.pass(usize::MAX);
    assert_eq!((pair.take_all(0), pair.take_all(1)), (vec![100, 101, 102], vec![0, 1, 2]));
    pair.pass(usize::MAX);
    // The former process goes on speaking over WebRTC, the new one is there on the relay.
    assert!(pair.ends[1].push(&[103]));
    let stale = poll(&mut pair.ends[1]).unwrap();
    pair.ends[1] = bulk(21);
    pair.open(Way::Server);
    assert!(pair.ends[0].push(&[3]) && pair.ends[1].push(&[200]));
    pair.pass_on(&[Way::Server], usize::MAX);
    assert_eq!(handle(&mut pair.ends[0], &stale), Ok(()));
    assert_eq!(poll(&mut pair.ends[0]), None, "nothing for the new one goes to the former");
    assert_eq!((pair.take_all(0), pair.take_all(1)), (vec![200], vec![3]));
    // And then a connection to the new one opens, whichever side speaks first.
    pair.reconnect();
    assert!(pair.ends[0].push(&[4]) && pair.ends[1].push(&[201]));
    pair.pass(usize::MAX);
    assert_eq!((pair.take_all(0), pair.take_all(1)), (vec![201], vec![4]));
}

#[test]
fn on_the_relay_a_part_of_the_window_is_under_way_at_once() {
    let mut pair = Pair::new();
    pair.open(Way::Server);
    pair.preferred = [Way::Server; 2];
    pair.pass(usize::MAX);
    let longest = [7; BULK_MESSAGE_BYTES_MAX];
    for _ in 0..20 {
        assert!(pair.ends[0].push(&longest));
    }
    let frames = |end: &mut BulkLink| {
        std::iter::from_fn(|| end.poll_frame(Way::Server, Way::Server, true)).count()
    };
    assert_eq!(frames(&mut pair.ends[0]), RELAY_BULK_WINDOW_BYTES / BULK_MESSAGE_BYTES_MAX);
    // Taken by the peer's game, two more go.
    let taken = numbered(TAKEN, 2, &[]).freeze();
    pair.ends[0].handle_frame(Way::Server, &taken).unwrap();
    assert_eq!(frames(&mut pair.ends[0]), 2);
}

#[test]
fn a_probe_comes_back_through_the_channel() {
    let mut pair = Pair::new();
    pair.pass(usize::MAX);
    pair.preferred = [Way::Server; 2];
    pair.ends[0].probe(7);
    assert_eq!(pair.ends[0].take_echo(), None);
    pair.pass(usize::MAX);
    assert_eq!(pair.ends[0].take_echo(), Some(7));
    assert_eq!((pair.ends[0].take_echo(), pair.ends[1].take_echo()), (None, None));
}

#[test]
fn an_echo_that_nobody_asked_for_is_a_violation_or_too_late_and_says_nothing() {
    let mut pair = Pair::new();
    pair.pass(usize::MAX);
    let echo = |number| numbered(ECHO, number, &[]).freeze();
    let end = &mut pair.ends[0];
    assert_eq!(end.handle_frame(Way::WebRtc, &echo(1)), Err(BulkViolation));
    for number in [1, 2] {
        end.probe(number);
        assert!(end.poll_frame(Way::WebRtc, Way::WebRtc, true).is_some());
    }
    assert_eq!(end.handle_frame(Way::Server, &echo(2)), Err(BulkViolation));
    assert_eq!(end.handle_frame(Way::WebRtc, &echo(3)), Err(BulkViolation));
    assert_eq!(end.handle_frame(Way::WebRtc, &echo(1)), Ok(()));
    assert_eq!(end.take_echo(), None);
    assert_eq!(end.handle_frame(Way::WebRtc, &echo(2)), Ok(()));
    assert_eq!(end.take_echo(), Some(2));
    assert_eq!(end.handle_frame(Way::WebRtc, &echo(2)), Ok(()));
    assert_eq!(end.take_echo(), None, "once");
}
