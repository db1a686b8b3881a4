//! Real processes of the example, on this computer: they play, one is killed and comes back, and all recorded the same.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rollback_arena::summary::Summary;
use rollback_arena::verify::verify;
use rollback_core::Frame;
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("rollback-arena-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The recordings of a player, the first life's first.
    fn recordings(&self, player: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.0.join(player)) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "rbk"))
            .collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A process that does not outlive its test.
struct Player(Child);

impl Player {
    fn start(server: &BackgroundServer, folder: &Folder, name: &str, options: &[&str]) -> Self {
        let own = folder.0.join(name);
        fs::create_dir_all(&own).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_arena"))
            .args(["play", &format!("ws://{}/arena", server.local_addr()), "--bind", "127.0.0.1"])
            .args(["--name", name, "--folder"])
            .arg(&own)
            .arg("--token-file")
            .arg(own.join("token"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn finish(mut self) -> Summary {
        let mut stdout = self.0.stdout.take().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut said).unwrap();
        assert!(self.0.wait().unwrap().success());
        serde_json::from_str(said.trim()).unwrap()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server() -> BackgroundServer {
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    BackgroundServer::start(address, ServerConfig::new(rooms)).unwrap()
}

fn assert_equal_and_verified(one: &Path, other: &Path, frames: u32) {
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap());
    assert_eq!(verify(one).unwrap(), Frame::new(frames));
}

#[test]
fn two_play_two_episodes_and_record_the_same() {
    let (server, folder) = (server(), Folder::new("two"));
    // Else a busy computer begins over the server, after 0.3 s.
    let options = ["--episodes", "2", "--frames", "120", "--no-server-relay"];
    let players = ["anna", "bela"].map(|name| Player::start(&server, &folder, name, &options));
    for summary in players.map(Player::finish) {
        assert_eq!(summary.episodes.iter().map(|one| one.frames).collect::<Vec<_>>(), [120, 120]);
        assert!(summary.paths[0].path.starts_with("direct"), "{summary:?}");
    }
    let (anna, bela) = (folder.recordings("anna"), folder.recordings("bela"));
    assert_eq!((anna.len(), bela.len()), (2, 2));
    for (one, other) in anna.iter().zip(&bela) {
        assert_equal_and_verified(one, other, 120);
    }
    assert!(!folder.0.join("anna/token").exists(), "who has left in order does not come back");
}

#[test]
fn one_that_was_killed_comes_back_with_the_same_command() {
    let (server, folder) = (server(), Folder::new("killed"));
    let options = ["--frames", "600"];
    let other = Player::start(&server, &folder, "anna", &options);
    let killed = Player::start(&server, &folder, "bela", &options);
    let deadline = Instant::now() + Duration::from_secs(30);
    // A block of the recording is on the disk.
    let has_played = |file: &PathBuf| fs::metadata(file).is_ok_and(|data| data.len() > 600);
    while !folder.recordings("bela").iter().any(has_played) {
        assert!(Instant::now() < deadline, "no play began");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    drop(killed);
    let back = Player::start(&server, &folder, "bela", &options).finish();
    let other = other.finish();
    assert_eq!((back.life, other.life), (1, 0));
    let (anna, bela) = (folder.recordings("anna"), folder.recordings("bela"));
    assert_equal_and_verified(anna.first().unwrap(), bela.last().unwrap(), 600);
    let whole = fs::read(anna.first().unwrap()).unwrap();
    assert!(whole.starts_with(&fs::read(bela.first().unwrap()).unwrap()));
}

#[test]
fn a_recording_of_something_else_is_not_verified() {
    let folder = Folder::new("wrong");
    let file = folder.0.join("wrong.rbk");
    fs::write(&file, b"not a recording").unwrap();
    let verified = Command::new(env!("CARGO_BIN_EXE_arena")).arg("verify").arg(&file).output();
    let verified = verified.unwrap();
    assert!(!verified.status.success());
    assert!(verified.stdout.starts_with(b"WRONG "));
}
