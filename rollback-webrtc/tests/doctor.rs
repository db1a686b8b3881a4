//! What an examination says of ways that work, and of what is in the way of those that do not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::coturn::{Coturn, PASSWORD, USER};
use common::{link, local, server};
use rollback_server::{
    BackgroundServer, EmbeddedTurn, GroupSize, IceOffer, Rooms, ServerConfig, TurnAccess,
};
use rollback_webrtc::doctor::{Diagnosis, Finding, Outcome, Part, examine};
use rollback_webrtc::{
    IceServer, JoinError, PathPolicy, ProxyChoice, Transport, TransportConfig, TransportEvent,
};

/// An examination never takes longer.
const TIME_MAX: Duration = Duration::from_secs(15);

fn examined(link: &str, config: TransportConfig) -> Diagnosis {
    let started = Instant::now();
    let diagnosis = examine(link, config).unwrap();
    eprintln!("{diagnosis}\n{}\n", diagnosis.verdict().text);
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
    diagnosis
}

fn named<'all>(diagnosis: &'all Diagnosis, name: &str) -> &'all Finding {
    let found = diagnosis.findings.iter().find(|finding| finding.name.contains(name));
    found.unwrap_or_else(|| panic!("there is no {name} in {diagnosis}"))
}

fn assert_good(diagnosis: &Diagnosis, name: &str) {
    let finding = named(diagnosis, name);
    assert_eq!(finding.outcome, Outcome::Good, "{diagnosis}");
    if finding.part == Part::Way && name != "address" {
        let trip = finding.trip.unwrap();
        assert!(trip.sent == 50 && trip.received >= 40, "{trip:?}");
        assert!(trip.median.unwrap() <= trip.slowest.unwrap());
    }
}

fn assert_bad(diagnosis: &Diagnosis, name: &str, reason: &str) {
    let finding = named(diagnosis, name);
    assert_eq!(finding.outcome, Outcome::Bad, "{diagnosis}");
    assert!(finding.text.contains(reason), "{}", finding.text);
}

/// A server that offers these.
fn offering(ice: IceOffer) -> BackgroundServer {
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let config = ServerConfig { ice, ..ServerConfig::new(rooms) };
    BackgroundServer::start("127.0.0.1:0".parse().unwrap(), config).unwrap()
}

fn with_turn() -> BackgroundServer {
    let embedded =
        Some(EmbeddedTurn { port: 0, listen: None, public_address: None, relay_ports: None });
    offering(IceOffer { embedded, ..IceOffer::none() })
}

#[test]
fn a_healthy_server_is_called_so_and_members_notice_nothing() {
    let server = with_turn();
    let link = link(&server, "kitchen");
    let waiting = Transport::join(&link, local()).unwrap();
    common::wait_until("one waits", || waiting.progress().members == 1);
    let diagnosis = examined(&link, local());
    for name in ["tcp", "room", "version", "clock", "direct", "address", "turn:", "the server"] {
        assert_good(&diagnosis, name);
    }
    assert!(named(&diagnosis, "room").text.contains("for 2 members; 1 wait, 0 groups play"));
    assert!(named(&diagnosis, "address").text.contains("no NAT"));
    assert_eq!(named(&diagnosis, "engine").part, Part::Machine);
    let verdict = diagnosis.verdict();
    assert!(verdict.can_play && verdict.text.contains("else by turn:127.0.0.1"), "{verdict:?}");
    assert_eq!(waiting.progress().members, 1, "it took no slot");

    let diagnosis =
        examined(&link, TransportConfig { path_policy: PathPolicy::RelayOnly, ..local() });
    assert!(diagnosis.findings.iter().all(|finding| finding.name != "direct"));
    assert!(diagnosis.verdict().text.contains("never directly: by turn:"));
}

#[test]
fn all_ways_of_a_real_relay_are_tried() {
    let (server, coturn) = (server(2), Coturn::with_user());
    let known = |url| IceServer::turn(url, USER, PASSWORD);
    let config = TransportConfig {
        ice_servers: vec![
            known(coturn.udp_url()),
            known(coturn.tcp_url()),
            known(coturn.tls_url()),
        ],
        trusted_certificates: vec![coturn.authority.clone()],
        ..local()
    };
    let diagnosis = examined(&link(&server, "kitchen"), config);
    for name in ["transport=udp", "transport=tcp", "turns:localhost", "the server"] {
        assert_good(&diagnosis, name);
    }
}

#[test]
fn what_is_wrong_with_a_relay_is_said_in_words() {
    let coturn = Coturn::with_secret("north", "");
    // The server makes credentials of another secret.
    let server = offering(IceOffer {
        turn_urls: vec![coturn.udp_url(), coturn.tcp_url()],
        turn_access: Some(TurnAccess::Secret(b"south".to_vec())),
        ..IceOffer::none()
    });
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("turn:{}", silent.local_addr().unwrap());
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let nobody = format!("turn:{nobody}?transport=tcp");
    let config = TransportConfig {
        ice_servers: vec![
            IceServer::turn(silent.clone(), "ada", "x"),
            IceServer::turn(nobody.clone(), "ada", "x"),
            IceServer::turn(coturn.tls_url(), "ada", "x"),
        ],
        ..local()
    };
    let diagnosis = examined(&link(&server, "kitchen"), config);
    assert_bad(&diagnosis, &coturn.udp_url(), "refuses: 401 (unauthorized)");
    assert_bad(&diagnosis, &coturn.tcp_url(), "refuses: 401 (unauthorized)");
    assert_bad(&diagnosis, &silent, "UDP to port");
    assert_bad(&diagnosis, &nobody, "no connection to the TURN server");
    assert_bad(&diagnosis, "turns:", "no TLS with the TURN server");
    let verdict = diagnosis.verdict();
    assert!(verdict.can_play && verdict.text.contains("else by the server"), "{verdict:?}");
}

#[test]
fn without_udp_and_without_a_relay_there_is_no_way() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let config = ServerConfig { relay: false, ..ServerConfig::new(rooms) };
    let server = BackgroundServer::start("127.0.0.1:0".parse().unwrap(), config).unwrap();
    let config = TransportConfig {
        ice_servers: vec![IceServer::stun(format!("stun:{}", silent.local_addr().unwrap()))],
        path_policy: PathPolicy::All,
        ..local()
    };
    let diagnosis = examined(&link(&server, "kitchen"), config.clone());
    assert_bad(&diagnosis, "address", "is not answered within 2 s");
    assert_eq!(named(&diagnosis, "the server").outcome, Outcome::Note);
    let verdict = diagnosis.verdict();
    assert!(verdict.can_play && verdict.only_local, "{verdict:?}");
    let expected = "fit to play, only on this network: no relay works; UDP to 127.0.0.1:";
    assert!(verdict.text.starts_with(expected), "{verdict:?}");

    // The same server is not of this network when it is reached through a proxy.
    let (port, proxying) = passing_on(server.local_addr());
    let proxy = ProxyChoice::Through(format!("http://127.0.0.1:{port}").parse().unwrap());
    let far = TransportConfig { proxy, ..config.clone() };
    let verdict = examined("ws://play.invalid/kitchen", far).verdict();
    assert!(!verdict.can_play && verdict.only_local, "{verdict:?}");
    assert!(verdict.text.starts_with("not fit to play over this link, only on"), "{verdict:?}");
    proxying.join().unwrap();

    let relayed = TransportConfig { path_policy: PathPolicy::RelayOnly, ..config };
    let verdict = examined(&link(&server, "kitchen"), relayed).verdict();
    assert!(!verdict.can_play && verdict.text.contains("no way"), "{verdict:?}");
}

#[test]
fn what_is_wrong_with_the_link_is_said() {
    let rooms = [("hall".parse().unwrap(), GroupSize::try_from(2).unwrap())].into();
    let server = BackgroundServer::start(
        "127.0.0.1:0".parse().unwrap(),
        ServerConfig::new(Rooms::Fixed(rooms)),
    )
    .unwrap();
    let unknown = examined(&link(&server, "kitchen"), local());
    assert_bad(&unknown, "room", "this server has no room of that name");
    assert!(!unknown.verdict().can_play);
    assert_good(&unknown, "direct");

    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let refused = examined(&format!("ws://{nobody}/kitchen"), local());
    assert_bad(&refused, "tcp", "refused");
    let nowhere = examined("ws://nowhere.invalid/kitchen", local());
    assert_eq!(named(&nowhere, "name").outcome, Outcome::Bad);
    let plain = examined(&link(&server, "hall").replace("ws:", "wss:"), local());
    assert!(!plain.verdict().can_play);

    assert!(matches!(examine("http://h/kitchen", local()), Err(JoinError::Link(_))));
    let config = TransportConfig { ice_servers: vec![IceServer::stun("nonsense")], ..local() };
    assert!(matches!(examine("ws://h/kitchen", config), Err(JoinError::IceServer(_))));
}

/// Answers each connection with these bytes and reads on until the other end is done.
fn answering(answer: Vec<u8>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let answer = match key {
            Some(key) if answer.starts_with(b"\x81") => {
                let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(
                    key.trim().as_bytes(),
                );
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                [head.as_bytes(), &answer].concat()
            }
            _ => answer,
        };
        let _ = stream.write_all(&answer);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    (port, serving)
}

/// A proxy for one connection, which leads to this server whatever is asked for.
fn passing_on(server: SocketAddr) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxying = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut far = TcpStream::connect(server).unwrap();
        let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let upward = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_near, &mut to_far);
            let _ = to_far.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(Shutdown::Both);
        upward.join().unwrap();
    });
    (port, proxying)
}

/// One text of a WebSocket server.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [[0x81, 126].as_slice(), &length, text.as_bytes()].concat()
}

#[test]
fn a_server_that_talks_nonsense_is_survived() {
    let offer = r#"{"kind":"ice_servers","servers":[{"url":"turn:127.0.0.1:9","username":"u","credential":"c"},{"url":"http:x"}],"valid_secs":1}"#;
    let members = r#"{"kind":"joined","slot":9,"token":"6d0c000102030405060708090a0b0c0d","members":[],"expected":0}"#;
    let error = r#"{"kind":"error","code":"rate_limited","message":"ask later"}"#;
    let older = r#"{"kind":"error","code":"bad_message","message":"unknown variant"}"#;
    let nonsense = [
        (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(), "it answers 200 OK"),
        (Vec::new(), "no answer within 4 s"),
        (text("{}"), "does not speak this protocol"),
        (text(&"[".repeat(9000)), "does not speak this protocol"),
        (text(members), "does not speak this protocol"),
        (text(error), "ask later"),
        (text(older), "older release"),
        ([0x81, 127, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec(), ""),
        ([text(offer), vec![0x88, 0]].concat(), "without an answer"),
    ];
    let examinations: Vec<_> = { nonsense.into_iter() }
        .map(|(answer, reason)| {
            std::thread::spawn(move || {
                let (port, serving) = answering(answer);
                let diagnosis = examined(&format!("ws://127.0.0.1:{port}/kitchen"), local());
                assert_bad(&diagnosis, "room", reason);
                assert!(!diagnosis.verdict().can_play);
                serving.join().unwrap();
            })
        })
        .collect();
    for examination in examinations {
        examination.join().unwrap();
    }
}

#[test]
fn a_proxy_that_refuses_is_told_with_its_answer() {
    let (port, serving) = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_vec());
    let proxy = ProxyChoice::Through(format!("http://127.0.0.1:{port}").parse().unwrap());
    let diagnosis = examined("ws://play.invalid/kitchen", TransportConfig { proxy, ..local() });
    assert_bad(&diagnosis, "proxy", "407 Proxy Authentication Required");
    serving.join().unwrap();
}

#[test]
fn an_examination_is_no_event_for_those_who_play() {
    let server = with_turn();
    let transports = common::mesh(&server, "kitchen", vec![local(), local()]);
    for transport in &transports {
        while transport.poll_event().is_some() {}
    }
    let diagnosis = examined(&link(&server, "kitchen"), local());
    assert!(named(&diagnosis, "room").text.contains("0 wait, 1 group plays"));
    for transport in &transports {
        while let Some(event) = transport.poll_event() {
            // A path may be found, and proved, late; nothing else happens.
            let is_usual = matches!(
                event,
                TransportEvent::PathChosen { .. } | TransportEvent::PeerProved { .. }
            );
            assert!(is_usual, "{event:?}");
        }
    }
}
