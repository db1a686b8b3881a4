//! `rollback-core` on a plain UDP socket, without rooms, NATs, threads or an async runtime. In two terminals:
//!
//! ```text
//! cargo run -p rollback-udp -- 0 127.0.0.1:7000 127.0.0.1:7001 42 left.rbk
//! cargo run -p rollback-udp -- 1 127.0.0.1:7001 127.0.0.1:7000 42 right.rbk
//! ```
//!
//! The arguments are: which peer this is, the own address, the other's address, a number for the match, and where to write the
//! recording. The two files are equal.

mod computer;
mod tug;

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;

use computer::Computer;
use rollback_core::Frame;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [local, own, other, match_number, path] = arguments.as_slice() else {
        return Err("expected: PEER OWN_ADDRESS OTHER_ADDRESS MATCH_NUMBER RECORDING".into());
    };
    let local = local.parse()?;
    let computer =
        Computer::new(local, match_number.parse()?, UdpSocket::bind(own)?, other.parse()?)?;
    let played = computer.play(|frame| pull(local, frame))?;
    println!("{:?}, {:?}, {} rollbacks", played.end, played.tug, played.rollbacks);
    File::create_new(path)?.write_all(&played.recording)?;
    Ok(())
}

/// What a player does: in place of keys, so that the example needs no window.
fn pull(local: u8, frame: Frame) -> u8 {
    let beat = [7, 11].get(usize::from(local)).copied().unwrap_or(13);
    if (frame.index() / beat).is_multiple_of(2) { 9 } else { 2 }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use rollback_core::recording::Recording;
    use rollback_core::{EndCause, Replay, SyncTest, Verdict};

    use super::*;
    use crate::tug::Tug;

    #[test]
    fn two_computers_end_in_the_same_state_with_the_same_recording() {
        let sockets = [0, 1].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let [one, other] = sockets;
        let play = |local, socket, to| {
            let computer = Computer::new(local, 42, socket, to).unwrap();
            thread::spawn(move || computer.play(|frame| pull(local, frame)).unwrap())
        };
        let threads = [play(0, one, addresses[1]), play(1, other, addresses[0])];
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        assert_eq!(one.end.cause, EndCause::Finished);
        assert_eq!((&one.end, &one.tug), (&other.end, &other.tug));
        assert_ne!(one.tug.rope, 0);

        assert_eq!(one.recording, other.recording);
        let recording = Recording::decode(&one.recording).unwrap();
        let verdict = Replay::new(&recording, Tug::default()).unwrap().verify().unwrap();
        let frames = one.end.frame;
        assert!(matches!(verdict, Verdict::Verified { frames: proved, .. } if proved == frames));
    }

    #[test]
    fn the_game_comes_back_to_what_it_was() {
        let inputs = |frame, player: rollback_core::PlayerHandle| {
            pull(u8::try_from(player.index()).unwrap(), frame)
        };
        let report = SyncTest::new(2).frames(1_000).run(&mut Tug::default(), inputs).unwrap();
        assert!(report.ended, "{report:?}");
    }
}
