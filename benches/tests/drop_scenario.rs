//! A player's last datagrams reach only one of the other two: what ggrs makes of it, and what this engine does.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

#[path = "../examples/drop_scenario/scenario/mod.rs"]
mod scenario;

use scenario::{DIES_AT, History, Outcome, PLAYERS, inputs, on_rollback, play};

#[test]
fn this_engine_agrees_on_one_cut_and_on_every_frame() {
    let frames_before = |lost| both_agree(&play(lost, on_rollback::computer));
    let cuts = [0, 1, 2, 3, 6].map(frames_before);
    // The first holds the same of the third however little the second does, and the longest is what counts.
    assert_eq!(cuts, [cuts[0]; 5]);
}

/// That both play on with equal histories in which every input is the one that was given, or idle from one cut on.
/// Answers the cut.
fn both_agree(outcome: &Outcome) -> usize {
    let Outcome::PlayedOn(histories) = outcome else { panic!("{outcome:?}") };
    let [History { rows, cut: Some(cut) }, other] = histories.as_slice() else {
        panic!("{histories:?}");
    };
    assert_eq!(other.cut, Some(*cut));
    // The cut is near the last word, and play went on for seconds after it.
    assert!((*cut as u64).abs_diff(DIES_AT) < 30, "cut at {cut}");
    assert!(outcome.agreed_frames() > Some(cut + 100), "{:?}", outcome.agreed_frames());
    let inputs = inputs();
    for (frame, row) in rows.iter().enumerate() {
        let given = &inputs.row(frame as u64)[..PLAYERS];
        let third = if frame < *cut { given[2] } else { 0 };
        assert_eq!(row, &[given[0], given[1], third], "frame {frame}");
    }
    *cut
}

/// ggrs reads the system's clock, which can be shown another only here.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod ggrs {
    use super::scenario::{on_ggrs, play};
    use super::{Outcome, both_agree};

    #[test]
    fn ggrs_plays_on_where_both_hold_the_same_of_the_third_player() {
        both_agree(&play(0, on_ggrs::computer));
    }

    #[test]
    fn ggrs_panics_where_one_holds_more_of_the_third_player() {
        for lost in [1, 2, 3, 6] {
            let outcome = play(lost, on_ggrs::computer);
            let Outcome::Panicked { player: 0, message } = &outcome else { panic!("{outcome:?}") };
            assert!(
                message.contains("cannot load frame outside of prediction window"),
                "{message}"
            );
        }
    }
}
