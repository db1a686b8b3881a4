//! The TURN server with clients that speak to it.

use tokio::time::timeout;
use turn::client::{Client, ClientConfig};

use super::*;
use crate::ice::GUEST;

const SECRET: &[u8] = b"north";

async fn server() -> TurnServer {
    let config = EmbeddedTurn { port: 0, listen: None, public_address: None, relay_ports: None };
    TurnServer::start(config, Ipv4Addr::LOCALHOST.into(), SECRET.to_vec()).await.unwrap()
}

async fn client(server: &TurnServer, who: &str, valid: u64) -> Client {
    let conn = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = format!("127.0.0.1:{}", server.port);
    let username = format!("{}:{who}", unix_secs() + valid);
    let config = ClientConfig {
        stun_serv_addr: address.clone(),
        turn_serv_addr: address,
        password: turn_password(SECRET, &username),
        username,
        realm: REALM.to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn,
        vnet: None,
    };
    let client = Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    client
}

/// Whether a datagram gets through a relay to a socket, and one back.
async fn is_relayed(relay: &impl Conn, peer: &UdpSocket) -> bool {
    let mut buffer = [0; 1500];
    // Fails when the port is gone.
    let _ = relay.send_to(b"there", peer.local_addr().unwrap()).await;
    let there = timeout(WAITED, peer.recv_from(&mut buffer)).await;
    let Ok(Ok((_, from))) = there else { return false };
    peer.send_to(b"back", from).await.unwrap();
    matches!(timeout(WAITED, relay.recv_from(&mut buffer)).await, Ok(Ok((4, _))))
}

/// Whether the port ends in some seconds.
async fn ends(server: &TurnServer, port: u16) -> bool {
    let is_gone = async {
        while server.members.is_live(port) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(5 * WAITED, is_gone).await.is_ok()
}

#[tokio::test]
async fn who_has_left_relays_nothing_more_and_others_go_on() {
    let server = server().await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for who in ["a-0", "a-1"] {
        server.members().admit(who);
    }
    let clients = [client(&server, "a-0", 60).await, client(&server, "a-1", 60).await];
    let [leaver, other] =
        [clients[0].allocate().await.unwrap(), clients[1].allocate().await.unwrap()];
    assert!(is_relayed(&leaver, &peer).await && is_relayed(&other, &peer).await);
    server.members().dismiss("a-0", Duration::ZERO);
    assert!(ends(&server, leaver.local_addr().unwrap().port()).await);
    assert!(!is_relayed(&leaver, &peer).await);
    assert!(is_relayed(&other, &peer).await);
    server.close().await;
}

#[tokio::test]
async fn a_guest_has_its_ports_for_the_time_of_its_credentials() {
    let server = server().await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let guest = client(&server, &format!("{GUEST}7"), 2).await;
    let relay = guest.allocate().await.unwrap();
    assert!(is_relayed(&relay, &peer).await);
    assert!(ends(&server, relay.local_addr().unwrap().port()).await);
    assert!(!is_relayed(&relay, &peer).await);
    server.close().await;
}

/// For what comes at once if it comes.
const WAITED: Duration = Duration::from_secs(1);
