//! A stream to a server of the test, which is hostile as well.

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

/// A message of channel data, unpadded.
const CHANNEL_DATA: [u8; 7] = [0x40, 0x00, 0, 3, b'a', b'b', b'c'];

struct Bench {
    listener: TcpListener,
    client: UdpSocket,
    stream: TurnStream,
    troubles: mpsc::Receiver<TurnTrouble>,
}

async fn bench(tls: Option<Arc<ClientConfig>>, rank: u8, best: &Arc<BestRelay>) -> Bench {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = StreamServer { host: "localhost".to_owned(), port, tls, rank };
    let (sender, troubles) = mpsc::channel(8);
    let stream = TurnStream::open(server, true, Arc::clone(best), sender).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    client.connect(stream.address()).await.unwrap();
    Bench { listener, client, stream, troubles }
}

#[tokio::test]
async fn datagrams_pass_both_ways_padded_in_the_stream_only() {
    let bench = bench(None, 0, &Arc::default()).await;
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    bench.client.send(b"no message of TURN").await.unwrap();
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    let (mut server, _) = bench.listener.accept().await.unwrap();
    let mut received = [0xff; 16];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, *b"\x40\0\0\x03abc\0\x40\0\0\x03abc\0");

    server.write_all(b"\x40\0\0\x03xyz\0\x40\0\0\x01").await.unwrap();
    let mut datagram = [0; 64];
    assert_eq!(bench.client.recv(&mut datagram).await.unwrap(), 7);
    assert_eq!(datagram[..7], *b"\x40\0\0\x03xyz");
    server.write_all(b"q\0\0\0").await.unwrap();
    assert_eq!(bench.client.recv(&mut datagram).await.unwrap(), 5);
}

#[tokio::test]
async fn each_sender_has_a_stream_and_no_stream_outlives_the_socket() {
    let bench = bench(None, 0, &Arc::default()).await;
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    let (mut first, _) = bench.listener.accept().await.unwrap();
    other.send_to(&CHANNEL_DATA, bench.stream.address()).await.unwrap();
    let (mut second, _) = bench.listener.accept().await.unwrap();
    drop(bench.stream);
    for server in [&mut first, &mut second] {
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 8);
    }
}

#[tokio::test]
async fn a_hostile_server_ends_its_stream_and_nothing_else() {
    let mut bench = bench(None, 0, &Arc::default()).await;
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    let (mut server, _) = bench.listener.accept().await.unwrap();
    server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert_eq!(bench.troubles.recv().await, Some(TurnTrouble::Lost));
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    other.send_to(&CHANNEL_DATA, bench.stream.address()).await.unwrap();
    assert!(bench.listener.accept().await.is_ok());
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_reported() {
    let mut bench = bench(None, 0, &Arc::default()).await;
    drop(bench.listener);
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    assert_eq!(bench.troubles.recv().await, Some(TurnTrouble::Unreachable));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_reported() {
    let config = crate::tls::client_config(rustls::RootCertStore::empty()).unwrap();
    let mut bench = bench(Some(config), 0, &Arc::default()).await;
    bench.client.send(&CHANNEL_DATA).await.unwrap();
    let (mut server, _) = bench.listener.accept().await.unwrap();
    server.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
    assert_eq!(bench.troubles.recv().await, Some(TurnTrouble::Tls));
}

#[tokio::test]
async fn a_stream_gives_better_ways_their_time_and_is_not_made_when_one_works() {
    let best: Arc<BestRelay> = Arc::default();
    let started = Instant::now();
    let waiting = bench(None, 1, &best).await;
    waiting.client.send(&CHANNEL_DATA).await.unwrap();
    waiting.listener.accept().await.unwrap();
    assert!(started.elapsed() >= RANK_DELAY);

    best.note(0);
    let needless = bench(None, 1, &best).await;
    needless.client.send(&CHANNEL_DATA).await.unwrap();
    let accepted = timeout(RANK_DELAY * 3, needless.listener.accept()).await;
    assert!(accepted.is_err(), "a stream was made beside a better way");
}
