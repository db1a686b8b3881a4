//! The other end of a connection is a page in Chromium, which `make system` installs: an implementation of WebRTC that
//! is not ours. It sends back what it gets.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_core::PeerId;
use rollback_signaling::AttemptId;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{AttemptEvent, Connection, ConnectionSetup, Opening};
use crate::clock::Clock;
use crate::datagram_transport::{DATAGRAM_BYTES_MAX, SendOutcome};
use crate::ice::PathPolicy;
use crate::ice_servers::IceServers;
use crate::mailbox::Mailbox;
use crate::own_addresses::OwnAddresses;
use crate::pair::{ConnectionEvent, Remote};
use crate::route::Way;
use crate::stats::{ShutOut, TransportEvent};

/// A browser that shows the page; it ends when dropped.
struct Browser {
    process: Child,
    /// Where it keeps what it knows.
    folder: PathBuf,
}

impl Browser {
    fn open(port: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("chromium-{}-{port}", std::process::id()));
        let page = format!(
            "file://{}/src/peer_connection/chromium/page.html#{port}",
            env!("CARGO_MANIFEST_DIR")
        );
        let spawned = Command::new("chromium")
            // It refuses to run as root within its sandbox, as tests in a container do; the page is our own.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-sync", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-extensions", "--no-pings"])
            // Nothing but this computer is spoken with, and candidates have addresses in place of names.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg("--allow-loopback-in-peer-connection")
            .arg("--disable-features=WebRtcHideLocalIpsWithMdns")
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match spawned {
            Ok(process) => Self { process, folder },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("chromium is not installed, and this test needs it: run `make system`")
            }
            Err(error) => panic!("chromium does not start: {error}"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Its other processes may still be writing; what is left then is in the folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What the page and the connection say to each other, until datagrams have come back.
struct Meeting {
    page: WebSocketStream<TcpStream>,
    /// To the connection.
    remote: mpsc::Sender<Remote>,
    events: mpsc::Receiver<AttemptEvent>,
    mailbox: Arc<Mailbox>,
    /// What the page says of the channel that it has accepted.
    accepted: Option<Value>,
    is_offerer: bool,
    is_open: bool,
}

impl Meeting {
    async fn tell(&mut self, message: Value) {
        self.page.send(Message::text(message.to_string())).await.unwrap();
    }

    /// What the page says next.
    async fn heard(page: &mut WebSocketStream<TcpStream>) -> Value {
        let message = page.next().await.unwrap().unwrap();
        let said: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert!(said.get("failed").is_none(), "{said}");
        said
    }

    /// Passes on what there is until the connection is open and the page has its channel.
    async fn open(&mut self) {
        while !self.is_open || self.accepted.is_none() {
            tokio::select! {
                event = self.events.recv() => match event.unwrap().event {
                    ConnectionEvent::Description(sdp) => {
                        let kind = if self.is_offerer { "offer" } else { "answer" };
                        self.tell(json!({ kind: sdp })).await;
                    }
                    ConnectionEvent::Candidate(candidate) => {
                        self.tell(json!({ "candidate": candidate })).await;
                    }
                    ConnectionEvent::Opened => self.is_open = true,
                    _ => {}
                },
                said = Self::heard(&mut self.page) => {
                    let text = |name: &str| Some(said.get(name)?.as_str()?.to_owned());
                    let remote = match (text("sdp"), text("candidate")) {
                        (Some(answer), _) => Some(Remote::Answer(answer)),
                        (_, Some(candidate)) => Some(Remote::Candidate(candidate)),
                        _ => None,
                    };
                    match remote {
                        Some(remote) => self.remote.send(remote).await.unwrap(),
                        None => self.accepted = said.get("accepted").cloned(),
                    }
                }
            }
        }
    }

    /// Lets the page send messages of one byte more than a datagram has, until it is shut out for them.
    async fn send_oversized(&mut self, peer: PeerId) {
        while self.mailbox.stats(peer).shut_out.is_none() {
            self.tell(json!({ "oversized": DATAGRAM_BYTES_MAX + 1 })).await;
            let _ = self.mailbox.wait_async(Duration::from_millis(20)).await;
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            while let Some(received) = self.mailbox.try_receive(&mut buffer) {
                assert_ne!(buffer[..received.len], [OVERSIZED; DATAGRAM_BYTES_MAX][..received.len]);
            }
        }
        let stats = self.mailbox.stats(peer);
        assert!(stats.violations > 1, "each is counted: {stats:?}");
        let told = std::iter::from_fn(|| self.mailbox.poll_event());
        let why = ShutOut::Malformed;
        assert!(told.into_iter().any(|event| event == TransportEvent::PeerShutOut { peer, why }));
    }

    /// Sends a datagram again and again until it comes back: some may be lost.
    async fn echo(&self, peer: PeerId, datagram: &[u8]) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let sent = self.mailbox.try_send(peer, datagram).unwrap();
            assert_ne!(sent, SendOutcome::NotConnected);
            let _ = self.mailbox.wait_async(Duration::from_millis(200)).await;
            while let Some(received) = self.mailbox.try_receive(&mut buffer) {
                if &buffer[..received.len] == datagram {
                    return;
                }
            }
        }
    }
}

/// Connects to a page in a browser and sends datagrams there and back.
async fn meet(is_offerer: bool) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let _browser = Browser::open(listener.local_addr().unwrap().port());
    let accepting = timeout(PATIENCE, listener.accept());
    let (stream, _) = accepting.await.expect("the page is shown").unwrap();
    let mut page = tokio_tungstenite::accept_async(stream).await.unwrap();

    let clock = Clock::start();
    let mailbox = Arc::new(Mailbox::new(clock, 1));
    let setup = Arc::new(ConnectionSetup {
        clock,
        mailbox: Arc::clone(&mailbox),
        ice_servers: Arc::new(IceServers::of(Vec::new(), Arc::default())),
        path_policy: PathPolicy::All,
        interrupted_after: Duration::from_secs(2),
        told_after: Duration::from_secs(2),
        bind: OwnAddresses::new(vec![Ipv4Addr::LOCALHOST.into()], false),
    });
    let (told, events) = mpsc::channel(256);
    let (to_connection, remote) = mpsc::channel(256);
    let peer = PeerId::new(u8::from(is_offerer)).unwrap();
    let mut early = Vec::new();
    let offer = match is_offerer {
        true => None,
        false => {
            page.send(Message::text(r#"{"begin":true}"#)).await.unwrap();
            loop {
                let said = Meeting::heard(&mut page).await;
                if let Some(offer) = said.get("sdp") {
                    break Some(offer.as_str().unwrap().to_owned());
                }
                early.push(said["candidate"].as_str().unwrap().to_owned());
            }
        }
    };
    let opening = Opening::of(offer);
    let running = Connection::run(peer, AttemptId::new(1), opening, setup, remote, told);
    let running = tokio::spawn(running);
    for candidate in early {
        to_connection.send(Remote::Candidate(candidate)).await.unwrap();
    }
    let accepted = None;
    let mut meeting = Meeting {
        page,
        remote: to_connection,
        events,
        mailbox: Arc::clone(&mailbox),
        accepted,
        is_offerer,
        is_open: false,
    };
    meeting.open().await;
    // As this side made it: unordered, and old ones are dropped (rule R5).
    assert_eq!(meeting.accepted, Some(json!([false, 60])));
    mailbox.choose(peer, Some(Way::WebRtc));
    let _waking = mailbox.start_waking();
    for (number, bytes) in
        (0..=u8::MAX).zip((1..DATAGRAM_BYTES_MAX).step_by(7).chain([DATAGRAM_BYTES_MAX]))
    {
        meeting.echo(peer, &vec![number; bytes]).await;
    }
    let stats = mailbox.stats(peer);
    // What the page sends comes on its own channel: on this side's it would be a violation (rule R1).
    assert_eq!(stats.violations, 0, "{stats:?}");
    assert!(stats.datagrams_received >= 150, "{stats:?}");
    meeting.send_oversized(peer).await;
    drop(meeting);
    timeout(PATIENCE, running).await.expect("the connection ends").unwrap();
}

#[tokio::test]
async fn a_browser_that_answers_sends_datagrams_back() {
    timeout(PATIENCE, meet(true)).await.expect("datagrams come back");
}

#[tokio::test]
async fn a_browser_that_offers_sends_datagrams_back() {
    timeout(PATIENCE, meet(false)).await.expect("datagrams come back");
}

/// What fills messages that are too long.
const OVERSIZED: u8 = 0xee;

/// Longest time that anything here may take; a browser starts slowly on a busy computer.
const PATIENCE: Duration = Duration::from_secs(60);
