//! Members whom nothing but TLS to the server reaches each other by: signaling and all datagrams go through `wss://`.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use common::folder::Folder;
use common::{PATIENCE, join_all, local, others, receive, wait_connected};
use rollback_server::{
    BackgroundServer, Certificate, CertificateError, GroupSize, Rooms, ServerConfig,
};
use rollback_webrtc::{JoinError, Path, PathPolicy, Transport, TransportConfig};

/// A server whose certificate, for `localhost`, it signed itself; and that certificate.
fn secure_server(folder: &Folder) -> (BackgroundServer, Vec<u8>) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (folder.file("chain.pem"), folder.file("key.pem"));
    std::fs::write(&chain, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let certificate = Some(Certificate::from_files(&chain, &key).unwrap());
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let config = ServerConfig { certificate, ..ServerConfig::new(rooms) };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (BackgroundServer::start(address, config).unwrap(), signed.cert.der().to_vec())
}

#[test]
fn members_play_through_the_server_by_tls_beside_clients_that_speak_none() {
    let folder = Folder::new("tls");
    let (server, certificate) = secure_server(&folder);
    let mute: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    let mut plain = TcpStream::connect(server.local_addr()).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let link = format!("wss://localhost:{}/room", server.local_addr().port());
    let config = || TransportConfig {
        path_policy: PathPolicy::RelayOnly,
        trusted_certificates: vec![certificate.clone()],
        ..local()
    };
    let transports = join_all(&link, vec![config(), config()]);
    wait_connected(&transports);
    for (from, to) in [(0, 1), (1, 0)] {
        let other = others(&transports[from])[0];
        assert_eq!(transports[from].stats(other).path, Some(Path::Server));
        transports[from].try_send(other, b"safe").unwrap();
        assert_eq!(receive(&transports[to]), (transports[from].room().local, b"safe".to_vec()));
    }
    // Who speaks no TLS is told so, in TLS, and hears no more.
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let end = plain.read_to_end(&mut answer);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    drop(mute);
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let folder = Folder::new("untrusted");
    let (server, _) = secure_server(&folder);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let config = TransportConfig {
        trusted_certificates: vec![other.cert.der().to_vec()],
        connect_timeout: Duration::from_secs(2),
        ..local()
    };
    let link = format!("wss://localhost:{}/room", server.local_addr().port());
    match Transport::join_blocking(&link, config) {
        Err(JoinError::Unreachable { reason, .. }) => {
            assert!(reason.contains("certificate"), "{reason}");
        }
        other => panic!("expected to be refused, got {other:?}"),
    }
}

#[test]
fn files_that_are_no_certificate_and_its_key_are_named() {
    let folder = Folder::new("files");
    let (chain, key) = (folder.file("chain.pem"), folder.file("key.pem"));
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let named = |what: &str| match Certificate::from_files(&chain, &key) {
        Err(error) => assert!(error.to_string().contains(what), "{error}"),
        Ok(_) => panic!("expected an error about {what}"),
    };
    named("chain.pem");
    std::fs::write(&chain, signed.cert.pem()).unwrap();
    named("key.pem");
    std::fs::write(&key, "no key").unwrap();
    named("key.pem");
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let mismatch = Certificate::from_files(&chain, &key);
    assert!(matches!(mismatch, Err(CertificateError::Refused(_))));
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    assert!(Certificate::from_files(&chain, &key).is_ok());
}
