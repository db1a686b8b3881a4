//! What is left behind: nothing. And what a caller sees who does something wrong.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{link, local, mesh, server, wait_until};
use rollback_server::{BackgroundServer, Rooms, ServerConfig};
use rollback_signaling::ErrorCode;
use rollback_webrtc::{
    AsyncTransport, DATAGRAM_BYTES_MAX, JoinError, LinkError, Transport, TransportConfig,
    TransportEvent,
};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// One test, because threads and files are counted for the whole process.
#[test]
fn nothing_is_left_of_twenty_meshes_and_callers_see_what_is_wrong() {
    twenty_meshes_leave_no_thread_and_no_file();
    eight_members_share_one_thread_and_one_that_ends_leaves_the_others_alone();
    wrong_links_and_configurations_are_refused_at_once();
    a_server_that_is_not_there_is_reported_in_time();
    a_refusal_of_the_server_is_passed_on();
    joining_can_be_given_up();
    async_callers_get_the_same();
}

fn twenty_meshes_leave_no_thread_and_no_file() {
    let server = server(2);
    let cycle = |number: usize| {
        let transports = mesh(&server, &format!("cycle{number}"), vec![local(), local()]);
        transports.into_iter().for_each(|transport| assert!(transport.close()));
    };
    cycle(100);
    let (threads_before, files_before) = (threads(), open_files());
    (0..20).for_each(cycle);
    wait_until("the server has closed its sockets", || open_files() <= files_before);
    assert_eq!(threads(), threads_before);
}

fn eight_members_share_one_thread_and_one_that_ends_leaves_the_others_alone() {
    let server = server(8);
    let threads_before = threads();
    let mut members = mesh(&server, "eight", vec![local(); 8]);
    assert_eq!(threads(), threads_before + 1);
    // One that ends in order, and one whose game takes nothing of what the others send it.
    assert!(members.remove(3).close());
    let idle = members.remove(5);
    let (sender, receiver) = (&members[0], &members[1]);
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    for _ in 0..1000 {
        sender.try_send(idle.room().local, b"to the idle one").unwrap();
        sender.try_send(receiver.room().local, b"datagram").unwrap();
        assert!(receiver.wait(Duration::from_secs(5)), "a datagram comes");
        while receiver.try_receive(&mut buffer).is_some() {}
        while receiver.poll_event().is_some() {}
    }
    drop(idle);
    drop(members);
    assert_eq!(threads(), threads_before);
}

fn wrong_links_and_configurations_are_refused_at_once() {
    let refused = |link: &str, config: TransportConfig| Transport::join(link, config).unwrap_err();
    let link = "ws://127.0.0.1:1/kitchen";
    let wrong_link = refused("http://127.0.0.1:1/kitchen", local());
    assert!(matches!(wrong_link, JoinError::Link(LinkError::Scheme { .. })));
    let wrong_name = refused(link, TransportConfig { name: Some(String::new()), ..local() });
    assert!(matches!(wrong_name, JoinError::Name(_)));
    let wrong_token = refused(link, TransportConfig { token: Some("x".into()), ..local() });
    assert!(matches!(wrong_token, JoinError::Token(_)));
    let wrong_settings = refused(link, TransportConfig { settings: "x".repeat(257), ..local() });
    assert!(matches!(wrong_settings, JoinError::Settings(_)));
}

fn a_server_that_is_not_there_is_reported_in_time() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let link = format!("ws://{}/kitchen", listener.local_addr().unwrap());
    drop(listener);
    let config = TransportConfig { connect_timeout: Duration::from_millis(300), ..local() };
    let started = Instant::now();
    let error = Transport::join_blocking(&link, config).unwrap_err();
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

fn a_refusal_of_the_server_is_passed_on() {
    let any = "127.0.0.1:0".parse().unwrap();
    let rooms = Rooms::Fixed([("kitchen".parse().unwrap(), 2.try_into().unwrap())].into());
    let server = BackgroundServer::start(any, ServerConfig::new(rooms)).unwrap();
    let error = Transport::join_blocking(&link(&server, "hall"), local()).unwrap_err();
    assert!(matches!(error, JoinError::Refused { code: ErrorCode::UnknownRoom, .. }), "{error}");
    let waiting = Transport::join(&link(&server, "kitchen"), local()).unwrap();
    wait_until("the first member waits", || waiting.progress().members == 1);
    let other = TransportConfig { settings: "other".into(), ..local() };
    let error = Transport::join_blocking(&link(&server, "kitchen"), other).unwrap_err();
    assert!(matches!(error, JoinError::Refused { code: ErrorCode::SettingsDiffer, .. }), "{error}");
}

fn joining_can_be_given_up() {
    let server = server(2);
    let mut joining = Transport::join(&link(&server, "alone"), local()).unwrap();
    assert!(joining.wait(Duration::from_millis(50)).unwrap().is_none());
    wait_until("the member waits", || joining.progress().expected == 2);
    drop(joining);
    // Its slot is free at once: the next two are a group.
    let both = mesh(&server, "alone", vec![local(), local()]);
    assert_eq!(both.len(), 2);
}

fn async_callers_get_the_same() {
    let server = server(2);
    let link = link(&server, "async");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (left, right) = tokio::join!(
            AsyncTransport::join(&link, local()),
            AsyncTransport::join(&link, local())
        );
        let (left, right) = (left.unwrap(), right.unwrap());
        let (left_peer, right_peer) = (left.get().room().local, right.get().room().local);
        assert_eq!(left_peer.slot() + right_peer.slot(), 1);
        let connected = TransportEvent::PeerConnected { peer: right_peer };
        while left.next_event().await != Some(connected) {}
        left.get().try_send(right_peer, b"datagram").unwrap();
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let received = right.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..received.len], b"datagram");
        // More than the window, so that sending has to wait for the other to take some.
        let sending = async {
            for number in 0..200u8 {
                left.send_bulk(right_peer, &[number]).await.unwrap();
            }
        };
        let receiving = async {
            for number in 0..200u8 {
                let (from, message) = right.receive_bulk().await.unwrap();
                assert_eq!((from, &message[..]), (left_peer, &[number][..]));
            }
        };
        tokio::join!(sending, receiving);
        left.close().await;
        let left_event = TransportEvent::PeerLeft { peer: left_peer };
        while right.next_event().await != Some(left_event) {}
        // Dropped inside a runtime, which must not matter.
        drop(right);
    });
}
