//! A way to a TURN server, by UDP, that can be told to refuse to renew what it has given so far, as some do when
//! credentials have ended.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running way.
pub(crate) struct StrictRelay {
    address: SocketAddr,
    refused: Arc<Mutex<HashSet<SocketAddr>>>,
    known: Arc<Mutex<HashSet<SocketAddr>>>,
    is_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StrictRelay {
    /// Before the server at this address.
    pub(crate) fn before(server: SocketAddr) -> Self {
        let socket = socket();
        let address = socket.local_addr().unwrap();
        let (refused, known) = (Arc::default(), Arc::default());
        let is_ended = Arc::<AtomicBool>::default();
        let (thread_refused, thread_known) = (Arc::clone(&refused), Arc::clone(&known));
        let thread_ended = Arc::clone(&is_ended);
        let thread = std::thread::spawn(move || {
            pass(&socket, server, &thread_refused, &thread_known, &thread_ended);
        });
        Self { address, refused, known, is_ended, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("turn:{}?transport=udp", self.address)
    }

    /// Renews nothing for the clients that there are now.
    pub(crate) fn refuse(&self) {
        self.refused.lock().unwrap().extend(self.known.lock().unwrap().iter());
    }
}

impl Drop for StrictRelay {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn pass(
    socket: &UdpSocket,
    server: SocketAddr,
    refused: &Mutex<HashSet<SocketAddr>>,
    known: &Mutex<HashSet<SocketAddr>>,
    is_ended: &AtomicBool,
) {
    let mut ways: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut buffer = [0; 2048];
    while !is_ended.load(Ordering::Acquire) {
        // Without waiting for each of them, so that one thread does for all.
        let mut was_idle = true;
        while let Ok((bytes, source)) = socket.recv_from(&mut buffer) {
            was_idle = false;
            known.lock().unwrap().insert(source);
            let datagram = &buffer[..bytes];
            let is_refresh = datagram.starts_with(&[0x00, 0x04]) && bytes >= 20;
            if is_refresh && refused.lock().unwrap().contains(&source) {
                let mut refusal = vec![0x01, 0x14, 0, 8];
                refusal.extend(&datagram[4..20]);
                refusal.extend([0, 0x09, 0, 4, 0, 0, 4, 1]);
                let _ = socket.send_to(&refusal, source);
                continue;
            }
            let way = ways.entry(source).or_insert_with(self::socket);
            let _ = way.send_to(datagram, server);
        }
        for (source, way) in &ways {
            while let Ok((bytes, _)) = way.recv_from(&mut buffer) {
                was_idle = false;
                let _ = socket.send_to(&buffer[..bytes], source);
            }
        }
        if was_idle {
            std::thread::park_timeout(Duration::from_micros(500));
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}
