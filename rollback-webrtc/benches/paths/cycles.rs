//! A pair that joins, connects, sends and leaves a hundred times in one process: nothing may be left.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_webrtc::DATAGRAM_BYTES_MAX;

use crate::ends::{End, OwnEnd, PATIENCE};
use crate::process::{descriptors, memory_kib, threads};

pub(crate) fn report() {
    println!(
        "\na pair joins, connects, sends and leaves: what the process takes after so many times"
    );
    println!("{:>6} {:>12} {:>12} {:>8}", "", "memory KiB", "descriptors", "threads");
    let rooms = Rooms::Any(GroupSize::try_from(2).expect("a pair"));
    let server = BackgroundServer::start((Ipv4Addr::LOCALHOST, 0).into(), ServerConfig::new(rooms));
    let server = Arc::new(server.expect("a server"));
    for cycle in 1..=CYCLES {
        let mut ends = OwnEnd::join(&server, 2);
        ends[0].send(1, b"hello");
        let received = ends[1].receive(&mut [0; DATAGRAM_BYTES_MAX], PATIENCE);
        assert_eq!(received, Some(5), "a datagram that arrives");
        drop(ends);
        if cycle % (CYCLES / 5) == 0 {
            thread::sleep(SETTLE);
            println!("{cycle:>6} {:>12} {:>12} {:>8}", memory_kib(), descriptors(), threads());
        }
    }
}

const CYCLES: usize = 100;

/// After it all that was closed is gone.
const SETTLE: Duration = Duration::from_millis(500);
