//! Signaling and relay through a real HTTP proxy that wants a password: tinyproxy, which `make system` installs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

mod common;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use common::{join_all, local, others, receive, server, wait_connected, wait_until};
use rollback_webrtc::doctor::{Outcome, examine};
use rollback_webrtc::{JoinError, Path, PathPolicy, ProxyChoice, Transport, TransportConfig};

/// A proxy; it ends when dropped.
struct Tinyproxy {
    process: Child,
    port: u16,
    config: std::path::PathBuf,
}

impl Tinyproxy {
    fn start() -> Self {
        let port = free_port();
        let config = std::env::temp_dir().join(format!("tinyproxy-{}.conf", std::process::id()));
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth ada lace\nLogLevel Error\n\
             MaxClients 50\nTimeout 600\n"
        );
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = spawned else { panic!("there is no tinyproxy here: run make system") };
        let proxy = Self { process, port, config };
        wait_until("the proxy listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).is_ok()
        });
        proxy
    }

    fn choice(&self, who: &str) -> ProxyChoice {
        ProxyChoice::Through(format!("http://{who}127.0.0.1:{}", self.port).parse().unwrap())
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::fs::remove_file(&self.config).unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_real_proxy_is_passed_with_its_password_only() {
    let server = server(2);
    let proxy = Tinyproxy::start();
    // An address of this computer that is not taken for one, so that the proxy is asked.
    let link = format!("ws://0.0.0.0:{}/kitchen", server.local_addr().port());
    let through = |who: &str| TransportConfig {
        proxy: proxy.choice(who),
        path_policy: PathPolicy::RelayOnly,
        connect_timeout: std::time::Duration::from_secs(2),
        ..local()
    };
    match Transport::join_blocking(&link, through("ada:wrong@")) {
        Err(JoinError::Unreachable { .. }) => {}
        other => panic!("expected that the proxy refuses, got {other:?}"),
    }
    let found = |who: &str| {
        let diagnosis = examine(&link, through(who)).unwrap();
        eprintln!("{diagnosis}\n");
        let of =
            |name: &str| { diagnosis.findings.iter() }.find(|found| found.name == name).cloned();
        (of("proxy").unwrap(), of("the server"))
    };
    let (proxy_found, _) = found("ada:wrong@");
    assert_eq!(proxy_found.outcome, Outcome::Bad);
    assert!(proxy_found.text.contains(" 40"), "{}", proxy_found.text);
    let (proxy_found, relay) = found("ada:lace@");
    assert_eq!((proxy_found.outcome, relay.unwrap().outcome), (Outcome::Good, Outcome::Good));
    let transports = join_all(&link, vec![through("ada:lace@"), through("ada:lace@")]);
    wait_connected(&transports);
    for transport in &transports {
        let other = others(transport).into_iter().next().unwrap();
        assert_eq!(transport.stats(other).path, Some(Path::Server));
        transport.try_send(other, b"hello").unwrap();
    }
    for transport in &transports {
        assert_eq!(receive(transport).1, b"hello");
    }
}
