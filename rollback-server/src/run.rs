//! The whole server as one future, for `main`, tests and embedders alike.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::config::ServerConfig;
use crate::http::{Door, ECHOES_MAX, PromptListener, Reached, TlsListener, router};
use crate::offers::Offers;
use crate::relay::Relay;

/// Serves on `listener` until `shutdown` is ready; then tells every client and closes all sockets,
/// which takes at most two seconds.
///
/// # Errors
/// The listener's error, when it cannot accept connections any more, and that of [`ServerConfig::state_file`].
pub async fn run(
    listener: TcpListener,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let offers = Offers::start(&config.ice, listener.local_addr()?.ip()).await?;
    let (app, requests) = mpsc::channel(REQUESTS_MAX);
    let stop = CancellationToken::new();
    let relay = config.relay.then(|| Arc::new(Relay::new(config.connections_max)));
    let door = Door {
        app,
        relay: relay.clone(),
        echoes: Arc::new(Semaphore::new(ECHOES_MAX)),
        sockets: TaskTracker::new(),
        abort: CancellationToken::new(),
    };
    let (sockets, abort) = (door.sockets.clone(), door.abort.clone());
    // Dropping this future ends every task it started, as a shutdown would.
    let _stop_on_drop = stop.clone().drop_guard();
    let _abort_on_drop = abort.clone().drop_guard();

    let certificate = config.certificate.clone();
    let app = App::new(config, relay, offers)?;
    let app = tokio::spawn(app.serve(requests, stop.clone()));
    let listener = PromptListener(listener);
    let stop_when_told = {
        let stop = stop.clone();
        async move {
            tokio::select! {
                () = shutdown => stop.cancel(),
                () = stop.cancelled() => {}
            }
        }
    };
    let result = match certificate {
        None => serve(listener, door, stop_when_told).await,
        Some(certificate) => match TlsListener::start(listener, &certificate) {
            Ok(listener) => serve(listener, door, stop_when_told).await,
            Err(error) => Err(error),
        },
    };

    stop.cancel();
    let _ = app.await;
    sockets.close();
    if timeout(GOODBYE_TIMEOUT, sockets.wait()).await.is_err() {
        abort.cancel();
        let _ = timeout(GOODBYE_TIMEOUT, sockets.wait()).await;
    }
    result
}

async fn serve<L>(
    listener: L,
    door: Door,
    until: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: Listener<Addr: Debug>,
    Reached: for<'a> Connected<IncomingStream<'a, L>>,
{
    let service = router(door).into_make_service_with_connect_info::<Reached>();
    axum::serve(listener, service).with_graceful_shutdown(until).await
}

/// Requests that may wait for the app. More make the sockets wait, and with them their senders.
const REQUESTS_MAX: usize = 1024;

/// How long clients may take to read the goodbye, and how long aborted sockets may take to end.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
