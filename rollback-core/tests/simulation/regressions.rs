//! Seeds that once failed, each with its cause. What a seed means changes when the simulator draws otherwise: then these
//! are seeds like others, and the causes have their tests elsewhere.

use rollback_core::testing::Simulation;

use crate::settings::{arena, simulation, storm};

fn passes(setting: Simulation, seed: u64) {
    if let Err(failure) = setting.run(|| arena(seed)) {
        panic!("{failure}");
    }
}

#[test]
fn an_end_by_item_is_not_taken_for_the_games_own() {
    // Going back to the agreed end marked the game as ended, so that some members recorded `Finished`.
    for seed in [36, 50, 56] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn a_row_is_not_handed_out_before_its_items_are_looked_at() {
    // With an input delay, a frame could be stepped and stable at once: one row too many at the end.
    for seed in [48, 70] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn a_lost_digest_does_not_stop_play() {
    // Both datagrams with a digest were lost, play stalled, and none was ever sent again.
    for seed in [41, 181, 211, 259] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn agreed_waits_for_stable_while_a_departure_is_proposed() {
    for seed in [162, 197, 214, 316] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn peers_do_not_drive_each_other_beyond_the_tick_rate() {
    // A session that had just stepped was hurried as if it waited.
    for seed in [219, 786, 972] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn a_member_that_left_and_is_then_given_up_makes_no_frame_wrong() {
    passes(simulation(358), 358);
}

#[test]
fn a_member_that_suspects_one_more_follows_the_view_that_was_committed() {
    passes(simulation(1266), 1266);
}

#[test]
fn a_member_that_was_cut_off_has_no_say_in_later_views() {
    // It had stopped for want of a quorum, committed the view it had claimed all the same, and sent the anchor away.
    passes(simulation(872), 872);
}

#[test]
fn a_member_that_was_left_out_hears_of_it_in_whatever_view_it_is() {
    for seed in [72, 160, 220] {
        passes(storm(seed), seed);
    }
}

#[test]
fn a_late_claim_of_a_view_that_was_given_up_is_not_taken_for_committed() {
    for seed in [262, 612] {
        passes(storm(seed), seed);
    }
}

#[test]
fn a_pause_that_nobody_heard_of_is_not_taken_for_the_one_before_it() {
    // The promise of pauses was at fault: the pause before was in force still, its end waiting for a frame as well.
    passes(
        simulation(1219).reduced("kept=0+2+4+5+6,no-offset,no-second-players,no-slow-frames"),
        1219,
    );
    for seed in [1219, 1401] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn a_goodbye_that_comes_before_the_frame_that_ends_its_sender_is_not_forgotten() {
    passes(simulation(3177).reduced("peers=6,kept=0+1"), 3177);
    passes(simulation(3177), 3177);
}

#[test]
fn a_peer_that_is_cut_off_while_it_steps_handed_out_frames_again_ends_behind_them() {
    // It had gone back for the state of a report, in several parts, and named the frame that it stood at.
    passes(storm(6282).reduced("kept=2+3+4+6+7"), 6282);
}

#[test]
fn what_one_member_holds_of_a_departed_one_fits_into_the_history_of_all() {
    // Delays had grown beyond those that the history was sized for; two members had no room up to the cut, for ever.
    let reduced = "peers=4,frames=450,kept=5+11+15,no-delay,no-late-start,no-offset,no-second-players,no-slow-frames";
    passes(storm(1630).reduced(reduced), 1630);
    passes(storm(1630), 1630);
}

#[test]
fn one_that_resumes_and_pauses_again_in_one_frame_pauses() {
    passes(simulation(3031), 3031);
}

#[test]
fn what_is_promised_of_pauses_holds_for_members_that_are_cut_off() {
    // The promise was at fault: it asked the recordings of others about pauses, leaves and cuts that these never heard of.
    for seed in [1069, 1373, 2744, 3308] {
        passes(storm(seed), seed);
    }
}

#[test]
fn reports_of_frames_before_a_return_do_not_wait_for_the_one_that_came_back() {
    // It had checked them against what was recorded, told nobody, and another member had no room for the next report.
    passes(simulation(470).reduced("kept=0+2+4+9+10,no-loss,no-offset"), 470);
    passes(simulation(470), 470);
}

#[test]
fn one_that_was_let_in_by_a_view_that_was_given_up_is_told_so() {
    // The only one that goes on had given up the view that it had committed, and sent it claims of the view before.
    passes(
        storm(978).reduced("peers=3,kept=1+2+3+4,no-bursts,no-damage,no-delay,no-late-start"),
        978,
    );
    passes(storm(978), 978);
}

#[test]
fn one_that_a_former_life_heard_nothing_of_may_depart() {
    // The promise was at fault: it did not ask the former life, which had proposed the departure, for the silence.
    passes(storm(2577).reduced("kept=5+8+10+17,no-damage,no-delay,no-jitter,no-loss"), 2577);
    passes(storm(2577), 2577);
}

#[test]
fn one_that_searches_goes_on_saying_what_it_has() {
    // A search that began while frames were stepped again repeated no lost report, so that another never heard what differs.
    passes(simulation(5828).reduced("kept=0+1+2+3,no-spectators"), 5828);
    passes(simulation(5828), 5828);
    // The same call said that it steps again, and not that it searches.
    passes(simulation(4333).reduced("frames=150,kept=1,no-duplicates,no-offset,no-skew"), 4333);
    passes(simulation(4333), 4333);
}

#[test]
fn all_record_one_source_of_a_state_that_they_took_over() {
    // One that just left was a member still for some, so that others took the same state from another. The source was not compared.
    passes(simulation(6053), 6053);
}

#[test]
fn a_game_whose_wrong_state_ended_it_goes_on_at_the_state_that_is_taken_over() {
    // The promise was at fault: what others stepped while it stood still is recorded, and not stepped.
    passes(simulation(5013), 5013);
}

#[test]
fn a_state_that_was_hit_is_promised_as_far_as_it_was_compared() {
    // The promise was at fault: whoever leaves, is lost or stays alone compares no more of what followed the last report.
    let reduced = "peers=2,frames=37,kept=0+8,no-delay,no-duplicates,no-jitter,no-late-start,no-loss,no-offset";
    passes(simulation(1523).reduced(reduced), 1523);
    let reduced = "kept=5+6+7,no-damage,no-delay,no-duplicates,no-jitter,no-offset,no-second-players,no-spectators";
    passes(simulation(3773).reduced(reduced), 3773);
    let reduced = "frames=112,kept=2+19,no-delay,no-hints,no-jitter,no-late-start,no-offset";
    passes(simulation(4543).reduced(reduced), 4543);
    for seed in [1523, 3773, 4543, 4708, 5078] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn one_that_is_lost_in_a_search_can_be_sent_away() {
    // Where nobody departs by silence, all waited for its word, and whoever sent it away was told that nothing is played.
    passes(storm(719), 719);
}

#[test]
fn one_that_leaves_in_a_search_is_not_kept_there() {
    // A search took no leave, so that whoever stayed with one that was lost, and could not send it away, stayed for ever.
    passes(storm(1519), 1519);
    passes(storm(7919), 7919);
}

#[test]
fn with_what_a_former_life_has_claimed_nobody_goes_on_twice() {
    // One that began anew did not count for a quorum, but another had gone on with what it had claimed before it was cut off.
    passes(storm(7246), 7246);
}

#[test]
fn one_that_is_let_in_begins_after_all_that_it_was_given() {
    // The last claim came when the others had long given that view up, and recorded frames without it.
    passes(storm(8319), 8319);
}

#[test]
fn one_that_leaves_before_it_is_let_in_goes() {
    // It was kept waiting until it was let in, and had forgotten then that it wanted to leave.
    passes(storm(15263), 15263);
}

#[test]
fn what_a_former_life_filed_and_nobody_confirmed_is_filed_again() {
    // The promise was at fault: the former life had given inputs for frames of the new one.
    passes(storm(12271), 12271);
}

#[test]
fn one_that_heard_all_is_cut_off_with_those_who_did_not() {
    // The promise was at fault: of eight, enough heard nothing of each other for long that no view had a quorum.
    passes(storm(10457), 10457);
}

#[test]
fn what_one_differs_in_that_is_gone_is_searched_for_no_more() {
    // One that had not heard the report that differed had no part in the search, and the others waited for its word.
    passes(storm(19224), 19224);
}

#[test]
fn one_that_committed_a_view_given_up_is_not_waited_for_in_the_next() {
    // Its life was over, and the view with it that was proposed anew was neither claimed nor given up.
    passes(simulation(2850).reduced("kept=1+2+3+4+6+9+13+17+19+22+24"), 2850);
}

#[test]
fn one_that_waits_is_not_let_in_by_a_view_whose_member_the_others_have_given_up_since() {
    // It was handed frames in which they filled in idle for that member, and then played on with that member's inputs.
    passes(simulation(2850).reduced("kept=1+2+3+4+6+9+13+17+19+22+23+24"), 2850);
    passes(simulation(2850), 2850);
}

#[test]
fn one_that_was_just_let_in_takes_part_in_a_search_for_what_differs_before_its_new_life() {
    // It took all states before its life for agreed, also those that were not recorded when it came: so it voted about another report
    // than the others, or never searched with them.
    for seed in [2358, 2978, 4643, 9958, 12163] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn a_state_to_take_over_is_kept_until_all_have_it() {
    // The others agreed without one whose new life began after that state, and held it out no longer.
    for seed in [4713, 6128] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn one_whose_state_parts_before_its_new_life_cannot_play_on() {
    // It searched alone: the others did not compare what it reported of frames before that life.
    for seed in [4888, 6803] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn one_that_was_just_let_in_does_not_wait_for_reports_that_the_others_keep_no_more() {
    for seed in [267, 683, 1607] {
        passes(simulation(seed), seed);
    }
}

#[test]
fn an_end_that_one_has_seen_agreed_needs_nobody_who_is_silent() {
    // Of three one stood still while the others agreed on the end; one of them crashed then, and the other had gone, so that no view
    // without the crashed one was claimed.
    passes(simulation(22877), 22877);
}

#[test]
fn one_that_leaves_understands_those_who_have_played_on_far_beyond_its_end() {
    // They told it how far they had confirmed, with 76 frames more than it has filed, in a number that was cut to 8 bits and meant
    // another frame there. It took nothing of them any more, gave one of them up for its silence, and all stood still.
    passes(simulation(57723), 57723);
}

#[test]
fn what_has_come_behind_a_gap_is_not_final() {
    // A frame was stepped with no guess, as its inputs were there, but not those of an earlier one: then their owner was kicked, and
    // the cut fell into the gap.
    passes(simulation(46106), 46106);
}

#[test]
fn one_that_leaves_while_it_lets_another_in_keeps_its_promise() {
    // Alone, it stood at the frame up to which it had promised to file nothing, and filed that it left: what it had confirmed, which
    // was all, was confirmed no more when the other began there.
    passes(simulation(49780), 49780);
}

#[test]
fn one_that_leaves_gives_up_letting_another_in() {
    // It had proposed it; the other crashed, and those who play on had given that up.
    passes(simulation(78042), 78042);
}

#[test]
fn a_search_goes_by_a_state_that_was_taken_over() {
    // One had taken a state over that another had not confirmed yet, and searched from the report before it: what it stepped to
    // was not the state from which all had gone on.
    passes(simulation(60473), 60473);
}

#[test]
fn one_that_is_let_in_during_a_dispute_goes_with_those_who_settle_it() {
    // One of the two others had taken a state over when the view came, and the other waited for the vote of the one that was let
    // in, which searched by itself and waited for the first one.
    passes(simulation(97973), 97973);
}
