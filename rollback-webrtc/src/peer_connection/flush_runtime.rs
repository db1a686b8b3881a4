//! The async runtime that connections are given: tokio, woken more often (rule R2).

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::watched_socket::{Watch, WatchedSocket};

/// **Rule R2: flush after each burst.** The connection's loop in `webrtc` 0.21.1 writes relayed packets
/// before the core has produced them and reads them after writing; then it sleeps until the next
/// *timer*. So relayed packets and parts of the handshake wait until something else wakes the loop:
/// up to 600 ms. With this runtime the first [`FLUSHES`] sleeps after each real one end at once, so
/// each burst is followed by that many more passes of the loop, until it is told that the path chosen is
/// direct: nothing waits on such a one, and each pass costs a fifth of what a datagram does.
#[derive(Debug)]
pub(super) struct FlushRuntime {
    /// Sleeps answered at once since the last real one.
    flushed: AtomicU32,
    is_flushing: AtomicBool,
    /// Reads what passes the sockets.
    watch: Arc<Watch>,
}

impl FlushRuntime {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self { flushed: AtomicU32::new(0), is_flushing: AtomicBool::new(true), watch }
    }

    /// Closing wants none: it waits with a sleep of this runtime too, and would not wait at all.
    pub(super) fn set_flushing(&self, is_flushing: bool) {
        self.is_flushing.store(is_flushing, Ordering::Release);
    }
}

impl Runtime for FlushRuntime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let is_flush = duration > SHORT_SLEEP
            && self.is_flushing.load(Ordering::Acquire)
            && self.flushed.fetch_add(1, Ordering::AcqRel) < FLUSHES;
        if !is_flush {
            self.flushed.store(0, Ordering::Release);
            return TokioRuntime.sleep(duration);
        }
        // Ready at the second poll, so that packets that are there already come first.
        let mut was_polled = false;
        Box::pin(std::future::poll_fn(move |context| {
            if was_polled {
                return Poll::Ready(());
            }
            was_polled = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    // All else is tokio's, but for what is heard on its sockets. `spawn_reactor` keeps its default, which spawns here: the connection then
    // runs on the thread of its mailbox and ends with it.

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(WatchedSocket::new(socket, Arc::clone(&self.watch))))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }
}

/// Passes of the connection's loop after each burst: with three, neither the handshake nor relayed
/// packets wait for a timer.
const FLUSHES: u32 = 3;

/// Sleeps no longer than this are left alone: they end soon anyway.
const SHORT_SLEEP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::sync::mpsc;

    use super::*;
    use crate::peer_connection::certificate_watch::CertificateWatch;
    use crate::peer_connection::turn_watch::TurnWatch;

    /// Which of some sleeps in a row end as soon as what is there already was looked at.
    fn end_at_once(runtime: &FlushRuntime, duration: Duration) -> [bool; 8] {
        let mut context = Context::from_waker(Waker::noop());
        [(); 8].map(|()| {
            let mut sleep = runtime.sleep(duration);
            assert!(sleep.as_mut().poll(&mut context).is_pending(), "others come first");
            sleep.as_mut().poll(&mut context).is_ready()
        })
    }

    #[tokio::test]
    async fn each_burst_is_followed_by_three_more_passes_unless_it_is_told_otherwise() {
        let (troubles, refused) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let turn = TurnWatch::new(troubles, Arc::default());
        let watch = Watch { turn, certificates: CertificateWatch::new(refused) };
        let runtime = FlushRuntime::new(Arc::new(watch));
        let (second, flushed) = (Duration::from_secs(1), [true, true, true, false]);
        assert_eq!(end_at_once(&runtime, second).as_chunks().0, [flushed, flushed]);
        assert_eq!(end_at_once(&runtime, SHORT_SLEEP), [false; 8]);
        runtime.set_flushing(false);
        assert_eq!(end_at_once(&runtime, second), [false; 8]);
        runtime.set_flushing(true);
        assert_eq!(end_at_once(&runtime, second).as_chunks().0, [flushed, flushed]);
    }
}
