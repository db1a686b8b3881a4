use super::*;

fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

fn held(frame: u32) -> [Frame; PEERS_MAX] {
    [Frame::new(frame); PEERS_MAX]
}

fn claim(of: &Membership, by: u8) -> Claim {
    of.claims_for(0).find(|claim| claim.claimant == peer(by)).unwrap()
}

#[test]
fn survivors_agree_on_the_longest_claim() {
    let all = PeerSet::first(4);
    let [mut a, mut b, mut c] = [0, 1, 2].map(|slot| Membership::new(peer(slot), all));
    let rest = all.without(peer(3));
    assert_eq!(a.suspect(PeerSet::EMPTY.or(all.minus(rest)), held(5)), Verdict::Proposed(rest));
    assert_eq!(b.handle_claim(&claim(&a, 0), None, held(7)), Verdict::Proposed(rest));
    assert_eq!(c.handle_claim(&claim(&b, 0), None, held(6)), Verdict::Proposed(rest));
    assert!(b.is_frozen(peer(3)) && !b.is_frozen(peer(0)));
    assert_eq!(a.handle_claim(&claim(&b, 1), None, held(5)), Verdict::Unchanged);
    assert_eq!(a.commit(held(7)), None, "the third has not claimed");
    a.handle_claim(&claim(&c, 2), None, held(5));
    assert_eq!(a.claimed(peer(3)), Frame::new(7));
    assert_eq!(a.commit(held(6)), None, "inputs up to the cut are missing");
    let cuts = a.commit(held(7)).unwrap();
    assert_eq!(cuts[3], Some(Frame::new(7)));
    assert_eq!(a.view(), View { number: 1, members: rest });
    assert_eq!(a.claims_for(0).count(), 3, "repeated to members that lag");
    assert_eq!(a.claims_for(1).count(), 0);
}

#[test]
fn a_member_that_went_on_to_a_smaller_view_follows_the_one_that_was_committed() {
    let all = PeerSet::first(5);
    let [mut a, mut b, mut c, mut d] = [0, 1, 2, 3].map(|slot| Membership::new(peer(slot), all));
    let only = |slot: u8| -> PeerSet { [peer(slot)].into_iter().collect() };
    a.suspect(only(4), held(5));
    for other in [&mut b, &mut c, &mut d] {
        other.handle_claim(&claim(&a, 0), None, held(7));
    }
    for by in [&b, &c, &d].map(|of| claim(of, of.local.slot())) {
        for to in [&mut b, &mut c, &mut d] {
            to.handle_claim(&by, None, held(7));
        }
    }
    // It heard none of these claims, and suspects another one: the others are past that.
    assert!(matches!(a.suspect(only(1), held(5)), Verdict::Proposed(_)));
    assert_eq!(c.commit(held(7)).unwrap()[4], Some(Frame::new(7)));
    assert_eq!(c.handle_claim(&claim(&a, 0), None, held(7)), Verdict::Unchanged);
    for passed_on in c.claims_for(0) {
        assert_eq!(a.handle_claim(&passed_on, None, held(5)), Verdict::Unchanged);
    }
    assert_eq!(a.claimed(peer(4)), Frame::new(7));
    assert_eq!(a.commit(held(5)), None, "inputs up to the cut are missing");
    assert_eq!(a.commit(held(7)).unwrap()[4], Some(Frame::new(7)));
    assert_eq!(a.view(), c.view());
    assert_eq!(a.frozen_members(), only(1));
}

#[test]
fn half_without_the_anchor_stands_still() {
    let all = PeerSet::first(2);
    let mut anchor = Membership::new(peer(0), all);
    let mut other = Membership::new(peer(1), all);
    let only = |slot: u8| PeerSet::EMPTY.or([peer(slot)].into_iter().collect());
    assert_eq!(other.suspect(only(0), held(1)), Verdict::NoQuorum);
    assert_eq!(anchor.suspect(only(1), held(1)), Verdict::Proposed(only(0)));
    let eviction = anchor.eviction_of(peer(1), None).unwrap();
    let mut late = Membership::new(peer(1), all);
    assert_eq!(late.handle_claim(&eviction, None, held(1)), Verdict::Evicted);
}

#[test]
fn one_that_alone_committed_its_return_hears_that_it_was_given_up() {
    let back = Some((peer(2), 1));
    let mut anchor = Membership::new(peer(0), PeerSet::first(2));
    let mut other = Membership::new(peer(1), PeerSet::first(2));
    let mut joiner = Membership::joining(peer(2), 1);
    anchor.let_in((peer(2), 1), held(5));
    other.handle_claim(&claim(&anchor, 0), back, held(5));
    for claim in [claim(&anchor, 0), claim(&other, 1)] {
        joiner.handle_claim(&claim, None, held(5));
    }
    assert!(joiner.commit(held(5)).is_some());
    anchor.suspect([peer(1)].into_iter().collect(), held(5));
    let of_the_view_before = claim(&anchor, 0);
    assert!(anchor.commit(held(5)).is_some());
    assert_eq!(joiner.handle_claim(&of_the_view_before, None, held(5)), Verdict::Unchanged);
    let eviction = anchor.eviction_of(peer(2), Some(1)).unwrap();
    assert_eq!(joiner.handle_claim(&eviction, None, held(5)), Verdict::Evicted);
}

#[test]
fn one_that_waits_hears_that_its_life_was_given_up_and_not_that_a_former_one_was() {
    let mut anchor = Membership::new(peer(0), PeerSet::first(3));
    assert!(anchor.kick(peer(2), held(5)).is_some());
    let mut joiner = Membership::joining(peer(2), 2);
    for (life, verdict) in [(None, 0), (Some(1), 0), (Some(2), 1)] {
        let eviction = anchor.eviction_of(peer(2), life).unwrap();
        let expected = if verdict == 0 { Verdict::Unchanged } else { Verdict::Kicked };
        assert_eq!(joiner.handle_claim(&eviction, None, held(5)), expected, "life {life:?}");
    }
}

#[test]
fn a_member_that_was_left_out_long_ago_hears_of_it() {
    let mut late = Membership::new(peer(3), PeerSet::first(4));
    let claim = |base, members| Claim {
        claimant: peer(0),
        base,
        members: PeerSet::first(members),
        joiner: None,
        kicked: PeerSet::EMPTY,
        is_committed: false,
        held: [Frame::ZERO; PEERS_MAX],
    };
    assert_eq!(late.handle_claim(&claim(1, 4), None, held(0)), Verdict::Unchanged);
    assert_eq!(late.handle_claim(&claim(1, 2), None, held(0)), Verdict::Evicted);
}

#[test]
fn a_claim_of_another_view_changes_nothing() {
    let mut a = Membership::new(peer(0), PeerSet::first(3));
    let members = PeerSet::first(2);
    let held_by_slot = [Frame::ZERO; PEERS_MAX];
    let claim = Claim {
        claimant: peer(1),
        base: 3,
        members,
        joiner: None,
        kicked: PeerSet::EMPTY,
        is_committed: false,
        held: held_by_slot,
    };
    assert_eq!(a.handle_claim(&claim, None, held(0)), Verdict::Unchanged);
    assert!(a.departing().is_empty());
}

#[test]
fn a_further_failure_starts_a_smaller_view() {
    let all = PeerSet::first(5);
    let mut a = Membership::new(peer(0), all);
    a.suspect([peer(4)].into_iter().collect(), held(3));
    assert_eq!(
        a.suspect([peer(3)].into_iter().collect(), held(4)),
        Verdict::Proposed(PeerSet::first(3))
    );
    assert_eq!(claim(&a, 0).held[4], Frame::new(4));
    assert_eq!(a.departing().len(), 2);
}

/// Peers 0 and 1 go on without 2, which waits to be let in again.
fn without_the_third() -> [Membership; 3] {
    let all = PeerSet::first(3);
    let [mut a, mut b] = [0, 1].map(|slot| Membership::new(peer(slot), all));
    a.suspect([peer(2)].into_iter().collect(), held(5));
    b.handle_claim(&claim(&a, 0), None, held(5));
    a.handle_claim(&claim(&b, 1), None, held(5));
    assert!(a.commit(held(5)).is_some() && b.commit(held(5)).is_some());
    [a, b, Membership::joining(peer(2), 1)]
}

fn claim_in(of: &Membership, seen: u8, by: u8) -> Claim {
    of.claims_for(seen).find(|claim| claim.claimant == peer(by)).unwrap()
}

#[test]
fn one_comes_back_at_the_latest_frame_that_was_promised() {
    let [mut a, mut b, mut c] = without_the_third();
    let back = Some((peer(2), 1));
    assert_eq!(a.let_in((peer(2), 1), held(40)), Verdict::Proposed(PeerSet::first(3)));
    let asked = claim_in(&a, 1, 0);
    assert_eq!(b.handle_claim(&asked, None, held(44)), Verdict::Unchanged, "not expected");
    assert_eq!(b.handle_claim(&asked, back, held(44)), Verdict::Proposed(PeerSet::first(3)));
    assert!(matches!(c.handle_claim(&asked, None, held(30)), Verdict::Proposed(_)));
    let claims = [claim_in(&b, 1, 1), claim_in(&c, 1, 2)];
    a.handle_claim(&claims[0], None, held(40));
    assert_eq!(a.commit(held(40)), None, "the one that comes back has not claimed");
    a.handle_claim(&claims[1], None, held(40));
    assert!(a.commit(held(40)).is_some());
    assert_eq!(a.take_joined(), Some((peer(2), Frame::new(44))));
    assert!(!a.is_frozen(peer(2)) && a.is_unsettled());
    c.handle_claim(&claims[0], None, held(30));
    assert!(c.commit(held(30)).is_some());
    assert_eq!((c.view(), c.take_joined()), (a.view(), Some((peer(2), Frame::new(44)))));
}

#[test]
fn nobody_is_let_in_while_somebody_goes() {
    let [mut a, mut b, _] = without_the_third();
    a.let_in((peer(2), 1), held(40));
    let asked = claim_in(&a, 1, 0);
    b.handle_claim(&asked, Some((peer(2), 1)), held(44));
    let others = [peer(1)].into_iter().collect();
    assert_eq!(a.suspect(others, held(40)), Verdict::Proposed(PeerSet::first(1)));
    assert!(a.added().is_empty());
    // Given up by time, all who were members go on as they were, in a new view.
    let back = [peer(2)].into_iter().collect();
    assert_eq!(b.suspect(back, held(44)), Verdict::Proposed(PeerSet::first(2)));
}

#[test]
fn until_all_are_in_its_view_one_that_came_back_makes_no_quorum() {
    let [mut a, mut b, mut c] = without_the_third();
    let back = Some((peer(2), 1));
    a.let_in((peer(2), 1), held(40));
    b.handle_claim(&claim_in(&a, 1, 0), back, held(44));
    c.handle_claim(&claim_in(&a, 1, 0), back, held(30));
    for by in [claim_in(&a, 1, 0), claim_in(&c, 1, 2)] {
        b.handle_claim(&by, back, held(44));
    }
    assert!(b.commit(held(44)).is_some());
    // Peer 0 may not have committed it, and goes on alone as the anchor of the view before.
    let alone = a.suspect(PeerSet::first(3).without(peer(0)), held(40));
    assert_eq!(alone, Verdict::Proposed(PeerSet::first(1)));
    let anchor: PeerSet = PeerSet::first(1);
    assert_eq!(b.clone().suspect(anchor, held(44)), Verdict::NoQuorum);
    b.settle();
    assert_eq!(b.suspect(anchor, held(44)), Verdict::Proposed(PeerSet::first(3).minus(anchor)));
}

#[test]
fn what_one_committed_that_is_gone_is_followed_by_none_who_claimed_to_go_on_without_it() {
    let members = PeerSet::first(4).without(peer(2));
    let only = |slot: u8| [peer(slot)].into_iter().collect::<PeerSet>();
    let [mut a, mut b, mut d] = [0, 1, 3].map(|slot| Membership::new(peer(slot), members));
    let mut joiner = Membership::joining(peer(2), 1);
    let back = Some((peer(2), 1));
    a.let_in((peer(2), 1), held(40));
    let asked = claim(&a, 0);
    for of in [&mut b, &mut d, &mut joiner] {
        of.handle_claim(&asked, back, held(40));
    }
    for by in [claim(&d, 3), claim(&joiner, 2)] {
        b.handle_claim(&by, back, held(40));
    }
    assert!(b.commit(held(40)).is_some());
    // Meanwhile it took peer 0 too long; it hears what peer 1 committed, and nothing more of peer 1.
    a.suspect(only(2), held(40));
    for committed in b.claims_for(0).filter(|claim| claim.is_committed) {
        a.handle_claim(&committed, back, held(40));
    }
    let rest = PeerSet::first(4).minus(only(1).or(only(2)));
    assert_eq!(a.suspect(only(1), held(40)), Verdict::Proposed(rest));
    assert_eq!(d.handle_claim(&claim(&a, 0), back, held(40)), Verdict::Proposed(rest));
    a.handle_claim(&claim(&d, 3), back, held(40));
    assert!(a.commit(held(40)).is_some() && d.commit(held(40)).is_some());
    assert_eq!((a.view().members, d.view().members), (rest, rest));
}
