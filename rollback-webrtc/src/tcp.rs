//! The one way to open a TCP connection to a name. What goes through it is small and urgent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

/// Connects to the first address of a name that answers. Each has a time of its own, and the next one is tried
/// meanwhile, so that one that is silent delays the others little (RFC 8305). At most `send_buffer_bytes` wait in the
/// system's buffer.
///
/// # Errors
/// Why the last of them could not be reached.
pub(crate) async fn connect(
    (host, port): (&str, u16),
    send_buffer_bytes: u32,
) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    connect_any(in_turns(addresses.collect()), send_buffer_bytes).await
}

async fn connect_any(addresses: Vec<SocketAddr>, send_buffer_bytes: u32) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut last = io::Error::other("the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            tries.push(connect_to(address, send_buffer_bytes));
        } else if tries.is_empty() {
            return Err(last);
        }
        let has_more = waiting.len() > 0;
        tokio::select! {
            Some(tried) = tries.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = sleep(NEXT_AFTER), if has_more => {}
        }
    }
}

async fn connect_to(address: SocketAddr, send_buffer_bytes: u32) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(send_buffer_bytes)?;
    // A system that refuses holds more of what is old; that is all.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(CONNECT_MAX, socket.connect(address)).await.map_err(late)?
}

/// Both families take turns, beginning with that of the first, for where one leads nowhere.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == begins_with_4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    while let Some(address) = first.next().or_else(|| second.next()) {
        turns.push(address);
        turns.extend(second.next());
    }
    turns
}

/// How long an address has for itself before the next one is tried beside it.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// How long an address may take: a lost packet or two, which TCP repeats after one second and two more.
const CONNECT_MAX: Duration = Duration::from_secs(4);

/// What the system may hold of what was not even sent once, where it can be told: when nothing gets through, datagrams
/// are to wait where old ones are dropped (rule R5).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn families_take_turns() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let [a, b, c] = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let [d, e] = ["192.0.2.1:1", "192.0.2.2:1"].map(address);
        assert_eq!(in_turns(vec![a, b, c, d]), [a, d, b, c]);
        assert_eq!(in_turns(vec![d, a, b, c]), [d, a, b, c]);
        assert_eq!(in_turns(vec![d, e]), [d, e]);
        assert!(in_turns(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_answers_is_found_behind_one_that_does_not() {
        // A listener whose queue is full answers no more.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
        let silent = silent.listen(1).unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut waiting = Vec::new();
        while let Ok(stream) =
            timeout(NEXT_AFTER, TcpStream::connect(silent.local_addr().unwrap())).await
        {
            waiting.push(stream.unwrap());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let addresses = vec![silent.local_addr().unwrap(), listener.local_addr().unwrap()];
        let found = timeout(CONNECT_MAX / 2, connect_any(addresses, 4096)).await.unwrap().unwrap();
        assert_eq!(found.peer_addr().unwrap(), listener.local_addr().unwrap());
        let refused = vec![SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), port))];
        let error = connect_any(refused, 4096).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect_any(Vec::new(), 4096).await.is_err());
    }
}
