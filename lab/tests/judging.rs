//! The judge, on recordings made here, and the command on files that make no sense. Needs neither root nor a network.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use rollback_core::recording::{RecordingHeader, RecordingWriter};
use rollback_core::{End, EndCause, Frame, Roster, SessionConfig, StableFrame, StateHash};
use rollback_lab::judge::{Judgement, judge};
use rollback_lab::run::Place;
use rollback_lab::scenario::Scenario;

/// A folder that goes with the test, with a game in it that verifies what it is given, or does not.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, verifies: bool) -> Self {
        let path =
            std::env::temp_dir().join(format!("rollback-lab-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        for peer in ["peer0", "peer1"] {
            fs::create_dir(path.join(peer)).unwrap();
        }
        let arena = path.join("arena");
        let code = u8::from(!verifies);
        fs::write(&arena, format!("#!/bin/sh\necho said\nexit {code}\n")).unwrap();
        fs::set_permissions(&arena, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// Leaves a recording in which one byte of one frame can be another.
    fn record(&self, name: &str, input: u8, is_whole: bool) {
        let config = SessionConfig::builder().players(2).input_width(1).build().unwrap();
        let header = RecordingHeader {
            session: 1,
            episode: 0,
            seed: 1,
            config,
            roster: Roster::one_player_each(2).unwrap(),
            participants: vec![String::new(); 2],
            must_match: Vec::new(),
            may_differ: vec![Vec::new(); 2],
            start_hash: StateHash::from_u128(1),
        };
        let mut writer = RecordingWriter::new(&header).unwrap();
        let frames = 100;
        for number in 0..frames {
            let inputs = [if number == 70 { input } else { 1 }, 2];
            let frame = StableFrame {
                frame: Frame::new(number),
                inputs: &inputs,
                flags: &[0, 0],
                items: &[],
                output: &[],
                state_hash: None,
                keyframe: None,
            };
            writer.push(&frame).unwrap();
        }
        if is_whole {
            let end = End { frame: Frame::new(frames), cause: EndCause::Finished, by: None };
            writer.finish(end, 1).unwrap();
        }
        fs::write(self.0.join(name), writer.take_bytes()).unwrap();
    }

    fn judge(&self, scenario: &str, outputs: [&str; 2]) -> Judgement {
        let scenario = Scenario::parse(&format!("about = ''\n{scenario}")).unwrap();
        let folder = self.0.clone();
        let (python, python_example) = (folder.clone(), folder.clone());
        let place = Place { binaries: folder.clone(), python, python_example, folder, seed: 1 };
        let done = BTreeMap::from([("peer0".to_owned(), true), ("peer1".to_owned(), true)]);
        judge(&scenario, &place, &done, outputs.map(str::to_owned).into(), Vec::new())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What a peer says, with the ways that its datagrams took.
fn said(stall_ms: u64, paths: &[&str]) -> String {
    let paths: Vec<String> =
        paths.iter().map(|path| format!(r#"{{"peer":1,"at_ms":5,"path":"{path}"}}"#)).collect();
    format!(
        r#"{{"slot":0,"life":0,"episodes":[{{"episode":0,"frames":100,"end":"finished"}}],"rollbacks":7,
        "resimulated":9,"passed":5,"stalls":1,"first_frame_ms":700,"longest_stall_ms":{stall_ms},"rtt_ms":40,"round_trips":{{"count":90,"p50_us":40000,"p90_us":41000}},
        "round_trips_beside":{{"count":9,"p50_us":48000,"p90_us":60000}},"paths":[{}],"reconnections":1,"server_losses":0}}"#,
        paths.join(",")
    )
    .replace('\n', "")
}

#[test]
fn equal_recordings_that_are_verified_are_right() {
    let folder = Folder::new("equal", true);
    folder.record("peer0/a.rbk", 1, true);
    folder.record("peer1/b.rbk", 1, true);
    // Of a process that was killed: less, and equal so far.
    folder.record("peer1/a.rbk", 1, false);
    let one = said(20, &["direct host/host udp"]);
    let judgement = folder.judge("", [&one, &one]);
    assert_eq!((judgement.faults, judgement.recordings), (Vec::new(), 3));
}

#[test]
fn one_byte_that_differs_is_found() {
    let folder = Folder::new("differs", true);
    folder.record("peer0/a.rbk", 1, true);
    folder.record("peer1/a.rbk", 3, true);
    let one = said(20, &["direct host/host udp"]);
    let faults = folder.judge("", [&one, &one]).faults;
    assert!(faults.len() == 1 && faults.concat().contains("Different"), "{faults:?}");
}

#[test]
fn what_is_missing_or_not_verified_is_found() {
    let folder = Folder::new("missing", false);
    folder.record("peer0/a.rbk", 1, true);
    let one = said(20, &["direct host/host udp"]);
    let faults = folder.judge("", [&one, "no summary"]).faults;
    let all = faults.join("; ");
    for fault in ["peer1 has no summary", "1 whole recordings of 2 peers", "said"] {
        assert!(all.contains(fault), "{all}");
    }
    assert_eq!(faults.len(), 3, "{all}");
}

#[test]
fn expectations_are_held_against_what_the_peers_say() {
    let folder = Folder::new("expectations", true);
    folder.record("peer0/a.rbk", 1, true);
    folder.record("peer1/a.rbk", 1, true);
    let one = said(900, &["direct host/host udp", "relayed relay/host udp"]);
    let right = "[expect]\nstall_ms_min = 900\nstall_ms_max = 900\nrollbacks_min = 7\nreconnections_max = 1\n\
        reconnections_min = 1\npath_first = 'direct'\npath_last = 'turn'\npaths_seen = ['turn', 'direct']\n\
        round_trip_beside_percent_max = 120\nround_trip_beside_p90_percent_max = 150\n\
        round_trips_beside_min = 9\npassed_min = 5\nfirst_frame_ms_max = 700";
    assert_eq!(folder.judge(right, [&one, &one]).faults, Vec::<String>::new());
    for (wrong, count) in [
        ("end = 'left'", 2),
        ("stall_ms_min = 901", 1),
        ("stall_ms_max = 899", 2),
        ("rollbacks_min = 8", 2),
        ("round_trip_beside_percent_max = 119", 2),
        ("round_trip_beside_p90_percent_max = 149", 2),
        ("round_trips_beside_min = 10", 2),
        ("passed_min = 6", 1),
        ("first_frame_ms_max = 699", 2),
        ("reconnections_min = 2", 1),
        ("reconnections_max = 0", 2),
        ("server_losses_min = 1", 1),
        ("path_first = 'turn'", 2),
        ("path_last = 'direct'", 2),
        ("paths_seen = ['turn', 'server']", 1),
    ] {
        let faults = folder.judge(&format!("[expect]\n{wrong}"), [&one, &one]).faults;
        assert_eq!(faults.len(), count, "{wrong}: {faults:?}");
    }
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused_by_name() {
    let folder = Folder::new("sense", true);
    let file = folder.0.join("wrong.toml");
    fs::write(&file, "about = ''\n[[at]]\nseconds = 1\nkill = 'peer7'\n").unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_lab")).arg("run").arg(&file).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(said.contains("wrong.toml") && said.contains("peer7"), "{said}");
}
