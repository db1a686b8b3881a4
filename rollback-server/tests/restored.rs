//! A server that was killed goes on with the groups that played: by what it had saved, and by its file.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

mod bench;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::{Begun, Bench, join, ready, refusal, sent_to, slot, token};
use rollback_server::{
    BackgroundServer, BackgroundServerError, Command, Coordinator, GroupSize, RestoreError, Rooms,
    SavedGroups, ServerConfig,
};
use rollback_signaling::{ErrorCode, Join, ServerMessage};

/// A group of three, of whom the last one came late and came back once, and the second one has left; and one who waits.
fn played() -> Bench {
    let mut bench = Bench::new(2, 4);
    for number in [1, 2, 3] {
        let _ = bench.enter(number);
    }
    let _ = bench.disconnect(3);
    let _ = bench.enter_with(4, Join { token: Some(token(3)), ..join(4) });
    let _ = bench.leave(2);
    let _ = bench.enter(5);
    bench
}

fn config() -> ServerConfig {
    let size = GroupSize::try_from(4).unwrap().beginning_with(2).unwrap();
    ServerConfig::new(Rooms::Any(size))
}

/// Kills the server, and starts another one with what was saved.
fn restarted(killed: &Bench) -> Bench {
    let saved = killed.coordinator.changed_groups().unwrap();
    let saved: SavedGroups = serde_json::from_slice(&serde_json::to_vec(&saved).unwrap()).unwrap();
    let coordinator = Coordinator::restored(config(), saved, Duration::ZERO).unwrap();
    Bench { coordinator, now: Duration::ZERO }
}

fn returning(number: u8, to: u8) -> Join {
    Join { token: Some(token(to)), ..join(number) }
}

#[test]
fn members_return_into_their_slots_and_new_processes_in_their_next_lives() {
    let mut server = restarted(&played());
    // The same process as before, and a new one.
    let back = server.enter_with(1, returning(1, 1));
    assert_eq!(ready(&back, 1), Some(Begun(1, vec![(0, 0), (2, 2), (3, 1)], 4)));
    let next = server.enter_with(6, returning(6, 3));
    assert_eq!(ready(&next, 6), Some(Begun(1, vec![(0, 0), (2, 3), (3, 1)], 4)));
    assert!(matches!(
        &sent_to(&next, 1)[..],
        [ServerMessage::MemberBack { member }] if (member.slot, member.life) == (2, 3)
    ));
    // Who was replaced, has left, or is nobody, gets no slot.
    let refused = [
        (7, returning(4, 3), ErrorCode::Replaced),
        (8, returning(8, 2), ErrorCode::UnknownToken),
        (9, returning(9, 9), ErrorCode::UnknownToken),
    ];
    for (number, join, code) in refused {
        let effects = server.enter_with(number, join);
        assert_eq!(refusal(&effects, number), Some(code));
    }
}

#[test]
fn a_slot_is_held_from_the_restart_on_and_then_the_group_is_saved_no_more() {
    let mut server = restarted(&played());
    assert_eq!(server.coordinator.changed_groups(), None);
    server.now = config().playing_slot_hold;
    let _ = server.run(Command::Tick);
    assert_eq!(server.coordinator.changed_groups(), Some(SavedGroups::default()));
    server.coordinator.note_saved();
    assert_eq!(server.coordinator.changed_groups(), None);
    assert_eq!((server.coordinator.status().members, slot(&server.enter(6), 6)), (0, 0));
}

#[test]
fn what_no_server_saves_is_refused() {
    let saved = serde_json::to_string(&played().coordinator.changed_groups().unwrap()).unwrap();
    let restore = |saved: &str, config: ServerConfig| {
        let saved = serde_json::from_str(saved).unwrap();
        Coordinator::restored(config, saved, Duration::ZERO).map(drop)
    };
    assert_eq!(restore(&saved, config()), Ok(()));
    let full = ServerConfig { groups_max: 0, ..config() };
    assert_eq!(restore(&saved, full), Err(RestoreError::TooMany { max: 0, got: 1 }));
    let of = |number| serde_json::to_string(&token(number)).unwrap();
    assert_eq!(restore(&saved.replace(&of(1), &of(3)), config()), Err(RestoreError::Tokens));
    let wrong =
        [("\"begins_with\":2", "\"begins_with\":0"), ("\"begins_with\":2", "\"begins_with\":5")];
    let late = [
        ("\"reserved_from\":4", "\"reserved_from\":1"),
        ("\"reserved_from\":4", "\"reserved_from\":5"),
    ];
    for (right, wrong) in wrong.into_iter().chain(late) {
        assert!(saved.contains(right));
        assert_eq!(restore(&saved.replace(right, wrong), config()), Err(RestoreError::Group));
    }
}

/// A folder that did not exist before, and goes in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("rollback-server-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// What a server that is to keep its groups in this file says when it ends.
fn end_with(file: &Path) -> Result<(), BackgroundServerError> {
    let config = ServerConfig { state_file: Some(file.to_owned()), ..config() };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    BackgroundServer::start(address, config)?.stop()
}

#[test]
fn a_file_that_cannot_be_read_or_written_or_is_another_is_named() {
    let folder = Folder::new("named");
    let said = |file: &Path| match end_with(file) {
        Err(BackgroundServerError::State(error)) => (error.kind(), error.to_string()),
        other => (ErrorKind::Other, format!("{other:?}")),
    };
    let nowhere = folder.0.join("nowhere/groups");
    let (kind, text) = said(&nowhere);
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.contains("nowhere/groups"), "{text}");
    let other = folder.0.join("other");
    for content in ["", "{}", "diary", r#"{"format":2,"saved":{"groups":[]}}"#] {
        std::fs::write(&other, content).unwrap();
        let (kind, text) = said(&other);
        assert_eq!(kind, ErrorKind::InvalidData);
        assert!(text.contains("other: this is no file of groups"), "{text}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), content, "it stays as it was");
    }
}

#[cfg(unix)]
#[test]
fn the_file_is_there_from_the_start_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("secret");
    let file = folder.0.join("groups");
    end_with(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    end_with(&file).unwrap();
}
