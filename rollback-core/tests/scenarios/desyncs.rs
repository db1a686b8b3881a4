//! When the members' states differ: what is found, and what each keeps of it.

use rollback_core::testing::{Faults, Oracle, Report};
use rollback_core::{DesyncDump, DesyncFinding, EndCause, Event, Frame};

use crate::games::{Arena, Rules};
use crate::{good_network, peer};

/// Peer 1 plays by `rules`, the others as they should.
fn parted(peers: usize, loss_max_per_mille: u32, rules: Rules) -> Report {
    let others = Rules { has_no_leaves: rules.has_no_leaves, ..Rules::default() };
    let faults = Faults { delay_max_ms: 60, loss_max_per_mille, ..Faults::none() };
    good_network(peers)
        .faults(faults)
        .waive(Oracle::Desync)
        .run_each(
            |of| Arena::with(if of == peer(1) { rules } else { others }),
            || Arena::with(others),
        )
        .unwrap_or_else(|failure| panic!("{failure}"))
}

fn finding(report: &Report, slot: u8) -> Option<DesyncFinding> {
    report.peer(slot)?.find_event(|event| match event {
        Event::Desync(desync) => Some(desync.finding.clone()),
        _ => None,
    })
}

#[test]
fn a_state_without_leaves_is_narrowed_down_to_the_bytes_that_differ() {
    let rules = Rules { diverges_at: Some(103), has_no_leaves: true, ..Rules::default() };
    for (peers, loss) in [(2, 0), (2, 300), (3, 100)] {
        let report = parted(peers, loss, rules);
        for seen in &report.peers {
            assert_eq!(seen.end.map(|end| end.cause), Some(EndCause::Desync));
            let DesyncFinding::First { frame, path: None, bytes: Some(bytes) } =
                finding(&report, seen.peer.slot()).unwrap()
            else {
                panic!("{:?}", seen.events);
            };
            // The first player's place lies behind eight bytes of heat, and was off by one.
            assert_eq!((frame, bytes.start), (Frame::new(104), 8), "{peers} peers");
            assert!(bytes.end <= 12, "{bytes:?}");
        }
    }
}

#[test]
fn an_output_that_differs_is_named_where_the_states_are_equal_bytes() {
    let rules = Rules { misreports_at: Some(103), has_no_leaves: true, ..Rules::default() };
    let path = Some("output of the step".into());
    let first = DesyncFinding::First { frame: Frame::new(104), path, bytes: None };
    let report = parted(2, 0, rules);
    assert_eq!(finding(&report, 0), Some(first.clone()));
    assert_eq!(finding(&report, 1), Some(first));
}

#[test]
fn both_sides_keep_what_can_be_laid_side_by_side_later() {
    let report = parted(2, 50, Rules { diverges_at: Some(103), ..Rules::default() });
    let dumps = [0, 1].map(|slot| {
        let dump = report.peer(slot).unwrap().dump.clone().unwrap();
        assert_eq!(dump.peer, peer(slot));
        DesyncDump::decode(&dump.encode()).unwrap()
    });
    for dump in &dumps {
        assert_eq!(dump.agreed, Frame::new(100));
        let frames: Vec<_> = dump.states.iter().map(|s| (s.frame.index(), s.is_replayed)).collect();
        assert_eq!(frames, [(104, true), (110, false)]);
        // All that led there, from the last agreed state on.
        let rows: Vec<_> = dump.rows.iter().map(|row| row.frame.index()).collect();
        assert_eq!(rows, (rows[0]..110).collect::<Vec<_>>());
        assert!(rows[0] <= 100, "{rows:?}");
        let logged = &report.peer(0).unwrap().log.rows()[100];
        let dumped = dump.rows.iter().find(|row| row.frame == logged.frame).unwrap();
        assert_eq!((&dumped.inputs, &dumped.flags), (&logged.inputs, &logged.flags));
    }
    let difference = dumps[0].compare(&dumps[1]).unwrap();
    assert_eq!(difference.inputs, None);
    assert_eq!(difference.states.len(), 2);
    let (frame, is_replayed, bytes) = &difference.states[0];
    assert_eq!((*frame, *is_replayed), (Frame::new(104), true));
    assert_eq!(bytes.clone().unwrap().start, 8);
}
