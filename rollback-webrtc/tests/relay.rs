//! The relay of the server and the switching between it and real WebRTC connections.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::faulty_path::FaultyPath;
use common::{
    join_all, link, local, others, paced, peer, server, wait_connected, wait_event, wait_until,
};
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_webrtc::{
    DATAGRAM_BYTES_MAX, Path, PathPolicy, PeerStats, ProxyChoice, RelayTrouble, Transport,
    TransportConfig, TransportEvent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Two members over a bad network.
fn join_two(path: &FaultyPath, room: &str) -> Vec<Transport> {
    join_all(&path.link(room), vec![local(), local()])
}

fn stats(transports: &[Transport]) -> [PeerStats; 2] {
    [transports[0].stats(peer(1)), transports[1].stats(peer(0))]
}

fn is_direct(stats: &PeerStats) -> bool {
    matches!(stats.path, Some(Path::WebRtc { .. }))
}

/// Answers how often each has switched so far: on a busy computer they may have begun over the relay.
fn wait_direct(transports: &[Transport]) -> [u64; 2] {
    wait_until("both are on WebRTC", || stats(transports).iter().all(is_direct));
    switches(transports)
}

fn switches(transports: &[Transport]) -> [u64; 2] {
    stats(transports).map(|stats| stats.switches)
}

fn wait_relayed(transports: &[Transport]) {
    wait_until("both are on the relay", || {
        stats(transports).iter().all(|stats| stats.path == Some(Path::Server))
    });
}

/// What happened since the last call, as far as it concerns the way to the other.
fn events(transport: &Transport) -> Vec<TransportEvent> {
    std::iter::from_fn(|| transport.poll_event()).collect()
}

/// One member's game: it sends numbered datagrams at 60 a second, and writes down when each of the
/// other's came for the first time.
struct Played {
    sent: u64,
    arrivals: Vec<(Duration, u64)>,
}

impl Played {
    /// The longest time in which nothing came, after the first datagram.
    fn longest_gap(&self, until: Duration) -> Duration {
        let times = self.arrivals.iter().map(|(at, _)| *at).chain([until]);
        let times: Vec<_> = times.collect();
        times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(until)
    }
}

/// Both members play for a while.
fn play(
    transports: &[Transport],
    length: Duration,
    mut on_frame: impl FnMut(Duration),
) -> [Played; 2] {
    let mut played = [0, 1].map(|_| Played { sent: 0, arrivals: Vec::new() });
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    paced(transports, length, |started, is_due| {
        if is_due {
            on_frame(started.elapsed());
            for (transport, played) in transports.iter().zip(&mut played) {
                let to = others(transport)[0];
                transport.try_send(to, &played.sent.to_le_bytes()).unwrap();
                played.sent += 1;
            }
        }
        for (transport, played) in transports.iter().zip(&mut played) {
            while transport.try_receive(&mut buffer).is_some() {
                let number = u64::from_le_bytes(buffer[..8].try_into().unwrap());
                played.arrivals.push((started.elapsed(), number));
            }
        }
    });
    played
}

#[test]
fn play_goes_on_over_the_relay_when_the_direct_path_is_cut_for_good() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "cut");
    let before = wait_direct(&transports);
    transports.iter().for_each(|transport| drop(events(transport)));
    let length = Duration::from_secs(6);
    let played = play(&transports, length, |now| {
        path.faults.is_cut.store(now >= Duration::from_secs(1), Ordering::Relaxed);
    });
    assert_eq!(switches(&transports), before.map(|before| before + 1));
    for ((transport, played), stats) in transports.iter().zip(&played).zip(stats(&transports)) {
        let gap = played.longest_gap(length);
        assert!(gap < Duration::from_millis(1500), "{gap:?}");
        assert_eq!(stats.path, Some(Path::Server));
        // Nothing arrives twice, and what was sent in the gap is all that is missing.
        let mut numbers: Vec<u64> = played.arrivals.iter().map(|(_, number)| *number).collect();
        let arrived = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), arrived, "a datagram came twice");
        assert!(
            arrived + 100 > usize::try_from(played.sent).unwrap(),
            "{arrived} of {}",
            played.sent
        );
        assert!(stats.server_relay.datagrams_received > 180, "{stats:?}");
        let other = others(transport)[0];
        let happened = events(transport);
        let chosen = TransportEvent::PathChosen { peer: other, path: Path::Server };
        assert_eq!(happened.iter().filter(|event| **event == chosen).count(), 1);
        assert!(!happened.contains(&TransportEvent::PeerDisconnected { peer: other }));
    }
}

#[test]
fn a_path_that_is_back_is_taken_once_and_stays() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "back");
    let before = wait_direct(&transports);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    wait_relayed(&transports);
    // Long enough for the connection to be replaced.
    play(&transports, Duration::from_secs(4), |_| {});
    path.faults.is_cut.store(false, Ordering::Relaxed);
    wait_direct(&transports);
    play(&transports, Duration::from_secs(4), |_| {});
    assert!(stats(&transports).iter().all(is_direct));
    assert_eq!(switches(&transports), before.map(|before| before + 2), "there and back");
}

/// As when SCTP stands still on a path that is well.
#[test]
fn a_connection_that_carries_nothing_is_left_and_replaced_though_ice_is_well() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "mute");
    let before = wait_direct(&transports);
    let attempts = stats(&transports).map(|stats| stats.attempts);
    path.faults.channels_are_mute.store(true, Ordering::Relaxed);
    wait_relayed(&transports);
    for played in play(&transports, Duration::from_secs(4), |_| {}) {
        assert!(played.arrivals.len() > 180, "{} of 240 arrived", played.arrivals.len());
    }
    path.faults.channels_are_mute.store(false, Ordering::Relaxed);
    wait_direct(&transports);
    assert_eq!(switches(&transports), before.map(|before| before + 2), "there and back");
    for (stats, before) in stats(&transports).iter().zip(attempts) {
        assert!(stats.attempts > before, "{stats:?}");
    }
}

#[test]
fn a_path_that_comes_and_goes_does_not_carry_datagrams_to_and_fro() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "flap");
    let before = wait_direct(&transports);
    let length = Duration::from_secs(9);
    let played = play(&transports, length, |now| {
        // Cut for 1.2 s of each 1.8 s.
        let is_cut = now.as_millis() % 1800 < 1200;
        path.faults.is_cut.store(is_cut, Ordering::Relaxed);
    });
    for ((played, stats), before) in played.iter().zip(stats(&transports)).zip(before) {
        assert!(stats.switches <= before + 3, "{before} and then {}", stats.switches);
        let gap = played.longest_gap(length);
        assert!(gap < Duration::from_millis(1500), "{gap:?}");
    }
}

#[test]
fn a_path_that_is_dead_one_way_is_left_by_both() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "oneway");
    wait_direct(&transports);
    let length = Duration::from_secs(5);
    let played = play(&transports, length, |now| {
        path.faults.is_cut_to_lower.store(now >= Duration::from_secs(1), Ordering::Relaxed);
    });
    for played in &played {
        let gap = played.longest_gap(length);
        assert!(gap < Duration::from_millis(1500), "{gap:?}");
    }
    for stats in stats(&transports) {
        assert_eq!(stats.path, Some(Path::Server));
    }
}

#[test]
fn a_relay_that_breaks_disturbs_nobody_and_comes_back() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "broken");
    let before = wait_direct(&transports);
    let length = Duration::from_secs(3);
    let played = play(&transports, length, |now| {
        path.faults.relay_is_cut.store(now >= Duration::from_secs(1), Ordering::Relaxed);
    });
    for (played, stats) in played.iter().zip(stats(&transports)) {
        let gap = played.longest_gap(length);
        assert!(gap < Duration::from_millis(300), "{gap:?}");
        assert!(is_direct(&stats), "{:?}", stats.path);
    }
    assert_eq!(switches(&transports), before);
    path.faults.relay_is_cut.store(false, Ordering::Relaxed);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    wait_relayed(&transports);
}

#[test]
fn where_nothing_passes_directly_members_play_over_the_relay_from_the_start() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.is_cut.store(true, Ordering::Relaxed);
    let transports = join_two(&path, "never");
    let started = Instant::now();
    wait_connected(&transports);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let played = play(&transports, Duration::from_secs(2), |_| {});
    for (played, stats) in played.iter().zip(stats(&transports)) {
        assert_eq!(stats.path.unwrap().to_string(), "relayed by the server, websocket");
        let arrived = played.arrivals.len();
        assert!(arrived + 20 > usize::try_from(played.sent).unwrap(), "{arrived}");
        assert_eq!(stats.direct.datagrams_sent, 0);
    }
}

#[test]
fn bulk_messages_take_the_relay_too_and_none_is_lost_on_the_way_there_and_back() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "bulk");
    wait_direct(&transports);
    let mut sent = 0;
    let mut got = Vec::new();
    let mut pass = |transports: &[Transport], count: u32, is_over: &dyn Fn() -> bool| {
        wait_until("bulk has arrived", || {
            while sent < count
                && transports[0].try_send_bulk(peer(1), &sent.to_le_bytes().repeat(1000)).is_ok()
            {
                sent += 1;
            }
            got.extend(std::iter::from_fn(|| transports[1].try_receive_bulk()));
            got.len() == count as usize && is_over()
        });
        got.len()
    };
    pass(&transports, 50, &|| true);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    pass(&transports, 250, &|| true);
    wait_relayed(&transports);
    pass(&transports, 300, &|| true);
    path.faults.is_cut.store(false, Ordering::Relaxed);
    pass(&transports, 350, &|| stats(&transports).iter().all(is_direct));
    let numbers: Vec<u32> = got
        .iter()
        .map(|(_, message)| u32::from_le_bytes(message[..4].try_into().unwrap()))
        .collect();
    assert_eq!(numbers, (0..350).collect::<Vec<u32>>());
    for stats in stats(&transports) {
        assert_eq!(stats.violations, 0);
    }
}

#[test]
fn for_privacy_nothing_goes_directly_and_without_a_relay_nothing_goes_at_all() {
    let server = server(2);
    let hidden = || TransportConfig { path_policy: PathPolicy::RelayOnly, ..local() };
    let transports = join_all(&link(&server, "hidden"), vec![hidden(), local()]);
    wait_connected(&transports);
    play(&transports, Duration::from_secs(2), |_| {});
    for stats in stats(&transports) {
        assert_eq!(stats.path, Some(Path::Server));
        assert_eq!((stats.direct.datagrams_sent, stats.turn.datagrams_sent), (0, 0));
    }

    let alone = TransportConfig { server_relay: false, ..hidden() };
    let transports = join_all(&link(&server, "alone"), vec![alone, local()]);
    play(&transports, Duration::from_secs(2), |_| {});
    for stats in stats(&transports) {
        assert!(!stats.is_connected);
    }
}

#[test]
fn a_server_without_a_relay_is_one_like_before() {
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig { relay: false, ..ServerConfig::new(rooms) };
    let server = BackgroundServer::start(address, config).unwrap();
    let transports = join_all(&link(&server, "plain"), vec![local(), local()]);
    wait_direct(&transports);
    let trouble = RelayTrouble::Status { status: 404 };
    wait_event(&transports[0], TransportEvent::RelayRefused { trouble });
}

#[test]
fn a_relay_that_is_refused_is_told_once_and_asked_for_again() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.relay_is_forbidden.store(true, Ordering::Relaxed);
    let transports = join_two(&path, "forbidden");
    wait_direct(&transports);
    let trouble = RelayTrouble::Status { status: 403 };
    assert!(!trouble.is_final());
    for transport in &transports {
        wait_event(transport, TransportEvent::RelayRefused { trouble });
    }
    path.faults.relay_is_forbidden.store(false, Ordering::Relaxed);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    wait_relayed(&transports);
    for transport in &transports {
        let is_told = |event: &TransportEvent| matches!(event, TransportEvent::RelayRefused { .. });
        assert!(!events(transport).iter().any(is_told), "once");
    }
}

/// An HTTP proxy for which every name is the server, and which counts what it was asked for.
fn proxy_to(server: SocketAddr) -> (ProxyChoice, Arc<AtomicUsize>, Arc<AtomicBool>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (count, stop) = (Arc::clone(&asked), Arc::clone(&is_over));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut look = tokio::time::interval(Duration::from_millis(50));
            while !stop.load(Ordering::Relaxed) {
                let mut stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = look.tick() => continue,
                };
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    assert!(head.starts_with(b"CONNECT play.example.org:80 HTTP/1.1\r\n"));
                    count.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(b"HTTP/1.1 200 ok\r\n\r\n").await.unwrap();
                    let mut server = TcpStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
    });
    (ProxyChoice::Through(url), asked, is_over)
}

#[test]
fn signaling_and_relay_work_through_an_http_proxy() {
    let server = server(2);
    let (proxy, asked, is_over) = proxy_to(server.local_addr());
    let hidden =
        || TransportConfig { proxy: proxy.clone(), path_policy: PathPolicy::RelayOnly, ..local() };
    let transports = join_all("ws://play.example.org/kitchen", vec![hidden(), hidden()]);
    wait_connected(&transports);
    let played = play(&transports, Duration::from_secs(1), |_| {});
    for played in &played {
        assert!(played.arrivals.len() > 40, "{}", played.arrivals.len());
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "two sockets of each member");
    is_over.store(true, Ordering::Relaxed);
}
