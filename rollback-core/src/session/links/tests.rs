use alloc::vec::Vec;

use super::*;
use crate::wire::Claim;
use crate::{PEERS_MAX, Roster};

/// The links of peer 0 to two others, and the keys of what peer 1 sends to it.
fn three_peers() -> (Links, PeerId, LinkKeys) {
    three_peers_with(0)
}

/// The same, where peer 1 is in this life of its slot.
fn three_peers_with(life: u8) -> (Links, PeerId, LinkKeys) {
    let [local, sender] = [0, 1].map(|slot| PeerId::new(slot).unwrap());
    let config = SessionConfig::builder().players(3).build().unwrap();
    let roster = Roster::one_player_each(3).unwrap();
    let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
    let said = (Facts::default(), StateHash::default());
    let links = Links::new(&config, &ticket, said, Timestamp::ZERO);
    (links, sender, LinkKeys::new(&ticket, config.digest(), (sender, life), local))
}

#[test]
fn hints_for_the_players_of_another_are_refused_and_counted() {
    let (mut links, sender, keys) = three_peers();
    for (owner, counted) in [(1, (2, 0)), (2, (2, 1)), (0, (2, 2)), (7, (2, 3))] {
        let mut bytes = Vec::new();
        wire::start(Kind::Inputs, &mut bytes);
        let head = InputsHead { confirmed: Some(Frame::ZERO), ..InputsHead::default() };
        head.encode(links.long, &mut bytes);
        // Hints for frames 3 and 5, of a peer with one player; there is no peer 7, and so no player of it.
        let inputs: &[u8] = if owner == 7 { &[] } else { &[8, 9] };
        bytes.extend_from_slice(&[0x80 | owner, 3, 0, 0, 0, 3, 0b101]);
        if owner == 7 {
            bytes.pop();
        }
        bytes.extend_from_slice(inputs);
        wire::mark_extra(&mut bytes);
        wire::seal(&keys, Link::bound(0, &head), &mut bytes);
        links.handle_datagram(Timestamp::ZERO, sender, &bytes);
        let counters = links.link(sender).unwrap().counters;
        assert_eq!((counters.hints, counters.hints_refused), counted, "{owner}");
        assert_eq!((counters.malformed, counters.tags_wrong), (0, 0));
    }
    let hint =
        |slot, frame| links.queue.hint(crate::PlayerHandle::new(slot).unwrap(), Frame::new(frame));
    assert_eq!((hint(1, 3), hint(1, 4), hint(1, 5)), (Some(&[8][..]), None, Some(&[9][..])));
    assert_eq!((hint(0, 3), hint(2, 3)), (None, None));
}

#[test]
fn runs_of_the_receivers_own_players_or_of_nobody_are_refused_and_counted() {
    let (mut links, sender, keys) = three_peers();
    for (owner, refused) in [(1, 0), (2, 0), (0, 1), (7, 2)] {
        let mut bytes = Vec::new();
        wire::start(Kind::Inputs, &mut bytes);
        let head = InputsHead { confirmed: Some(Frame::ZERO), ..InputsHead::default() };
        head.encode(links.long, &mut bytes);
        let slot = PeerId::new(owner).unwrap();
        let at = wire::start_extra_run(&mut bytes, slot, (Frame::ZERO, Frame::ZERO), None);
        // An idle frame; there is no peer 7, and so no player of it.
        let frames = u8::from(owner != 7);
        bytes.extend((0..frames).map(|_| 0));
        wire::finish_extra_run(&mut bytes, at, frames, false);
        wire::seal(&keys, Link::bound(0, &head), &mut bytes);
        links.handle_datagram(Timestamp::ZERO, sender, &bytes);
        let counters = links.link(sender).unwrap().counters;
        assert_eq!((counters.runs_refused, counters.refused()), (refused, refused), "{owner}");
    }
    let ends = [0, 1, 2].map(|slot| links.queue.end(PeerId::new(slot).unwrap()).index());
    assert_eq!(ends, [0, 1, 1]);
}

#[test]
fn a_claim_of_more_than_a_history_is_malformed() {
    let (mut links, claimant, keys) = three_peers();
    let limit = 2 * links.queue.capacity();
    for (held, malformed) in [(limit + 1, 1), (limit, 1)] {
        let claim = Claim {
            claimant,
            base: 0,
            members: PeerSet::first(2),
            held: [Frame::new(held); PEERS_MAX],
            joiner: None,
            kicked: PeerSet::EMPTY,
            is_committed: false,
        };
        let mut bytes = Vec::new();
        wire::start(Kind::Control, &mut bytes);
        Control::Claim(claim).encode(&mut bytes);
        wire::seal(&keys, wire::Bound::default(), &mut bytes);
        assert!(links.membership.departing().is_empty());
        links.handle_datagram(Timestamp::ZERO, claimant, &bytes);
        assert_eq!(links.link(claimant).unwrap().counters.malformed, malformed);
    }
    assert_eq!(links.membership.departing().len(), 1);
}

#[test]
fn what_only_the_one_that_is_let_in_has_committed_is_not_followed_once_it_is_given_up() {
    let (mut links, back, keys) = three_peers_with(1);
    let other = PeerId::new(2).unwrap();
    let claim_of = |links: &Links, claimant, is_committed| {
        let own = links.membership.claims_for(0).last().unwrap();
        Claim { claimant, is_committed, ..own }
    };
    let only_back: PeerSet = [back].into_iter().collect();
    links.suspect(only_back);
    let claim = claim_of(&links, other, false);
    assert!(links.handle_claim(&claim).is_ok());
    assert!(links.commit_departure().is_some());
    assert!(links.readmit(back, 1));
    links.let_in(Timestamp::ZERO);
    let link = links.links.iter_mut().find(|link| link.peer == back).unwrap();
    let returning = link.returning.as_mut().unwrap();
    (returning.fits, returning.position) = (Some(true), Some(Frame::new(1)));
    links.let_in(Timestamp::ZERO);
    assert_eq!(links.membership.added(), only_back);
    let committed = [back, other, links.local].map(|by| claim_of(&links, by, true));
    // It took too long; and the others may be asked to go on without it by now.
    links.suspect(only_back);
    for claim in committed {
        let mut bytes = Vec::new();
        wire::start(Kind::Control, &mut bytes);
        Control::Claim(claim).encode(&mut bytes);
        wire::seal(&keys, wire::Bound::default(), &mut bytes);
        links.handle_datagram(Timestamp::ZERO, back, &bytes);
    }
    assert_eq!(links.link(back).unwrap().counters.tags_wrong, 0);
    assert_eq!(links.commit_departure(), None);
    assert!(!links.membership.view().members.contains(back));
    // What a member says of it holds: it takes no part in what is proposed since.
    assert!(committed.iter().all(|claim| links.handle_claim(claim).is_ok()));
    links.commit_departure();
    assert!(links.membership.view().members.contains(back));
}

#[test]
fn a_peer_that_lies_about_its_rate_slows_the_others_to_the_limit_and_fills_no_queue() {
    let (mut links, sender, keys) = three_peers();
    let mut now = Timestamp::ZERO;
    let mut say = |links: &mut Links, per_mille: u16| {
        let mut bytes = Vec::new();
        wire::start(Kind::Control, &mut bytes);
        Control::Rate { per_mille }.encode(&mut bytes);
        wire::seal(&keys, wire::Bound::default(), &mut bytes);
        now = now.plus(Duration::from_millis(10));
        links.handle_datagram(now, sender, &bytes);
        (now, links.pace(now, 1000))
    };
    for turn in 0..1_000 {
        let (_, pace) = say(&mut links, 1 + turn);
        assert_eq!(pace, (1 + turn).max(500));
    }
    assert_eq!(say(&mut links, 1).1, 500);
    assert_eq!(say(&mut links, 0).1, 500);
    let (now, pace) = say(&mut links, 1001);
    assert_eq!((pace, links.link(sender).unwrap().counters.malformed), (500, 2));
    // What it says of its rate is told to the application once a second at most.
    let mut told = Vec::new();
    while let Some(Event::PaceChanged { peer, percent }) = links.events.pop() {
        assert!(peer == sender && percent >= 50);
        told.push(percent);
    }
    assert!((5..=11).contains(&told.len()), "{told:?}");
    // It says nothing more, and holds up nobody.
    let later = |millis| now.plus(Duration::from_millis(millis));
    assert_eq!(links.pace(later(2_300), 1000), 500);
    assert_eq!(links.pace(later(2_400), 1000), 1000);
    links.pace(later(4_000), 1000);
    let last = core::iter::from_fn(|| links.events.pop()).last();
    assert_eq!(last, Some(Event::PaceChanged { peer: sender, percent: 100 }));
}

#[test]
fn who_slows_the_others_by_next_to_nothing_is_told_of() {
    let (mut links, sender, _) = three_peers();
    let now = Timestamp::from_millis(1_000);
    let index = links.links.iter().position(|link| link.peer == sender).unwrap();
    links.handle_rate(index, now, 999);
    assert_eq!(links.pace(now, 1000), 999);
    assert_eq!(links.events.pop(), Some(Event::PaceChanged { peer: sender, percent: 99 }));
}

#[test]
fn where_nobody_goes_slower_for_another_what_is_said_of_rates_changes_nothing() {
    let (mut links, sender, _) = three_peers();
    links.rates = Rates::new(100);
    let now = Timestamp::from_millis(1_000);
    let index = links.links.iter().position(|link| link.peer == sender).unwrap();
    for (said, own) in [(999, 1000), (500, 1000), (1000, 700)] {
        links.handle_rate(index, now, said);
        assert_eq!(links.pace(now, own), 1000);
        assert_eq!(links.rates.slowest, None);
        assert_eq!(links.events.pop(), None);
    }
    links.tell_rate(now);
    assert!(links.control.is_empty());
}

#[test]
fn a_lower_rate_is_told_at_once_and_again_while_it_holds() {
    let (mut links, _, _) = three_peers();
    let mut told = Vec::new();
    for turn in 0..40 {
        let now = Timestamp::from_millis(turn * 100);
        links.pace(now, if turn < 20 { 700 } else { 1000 });
        links.make_due(now);
        let rates = links.control.iter().map(|(to, message)| (turn, to.slot(), message.clone()));
        told.extend(rates);
    }
    let turns: Vec<_> = told.iter().filter(|(_, to, _)| *to == 1).map(|told| told.0).collect();
    assert_eq!(turns, [0, 5, 10, 15, 20]);
    assert_eq!(told.len(), 10);
    assert_eq!(told.last(), Some(&(20, 2, Control::Rate { per_mille: 1000 })));
}
