//! The server on a thread of its own, for programs that have no async runtime.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::run::run;
use crate::state_file::StateFile;

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct BackgroundServer {
    local_addr: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Why a server did not start or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackgroundServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The file of the groups cannot be read or written, or is another one.
    #[error("{0}")]
    State(io::Error),
    /// The thread could not be started.
    #[error("cannot start the server's thread: {0}")]
    Thread(io::Error),
    /// The server could not go on.
    #[error("the server ended: {0}")]
    Serve(io::Error),
    /// The server's thread panicked.
    #[error("the server's thread panicked")]
    Panicked,
}

impl BackgroundServer {
    /// Starts a server that listens on `address` (port 0 takes any free one) once this returns.
    ///
    /// # Errors
    /// [`BackgroundServerError::Listen`], [`BackgroundServerError::State`] or [`BackgroundServerError::Thread`].
    pub fn start(address: SocketAddr, config: ServerConfig) -> Result<Self, BackgroundServerError> {
        if let Some(path) = &config.state_file {
            // A file that is of no use is told here, and not when the server is stopped.
            StateFile::open(path).map_err(BackgroundServerError::State)?;
        }
        let listen_error = |error| BackgroundServerError::Listen { address, error };
        let listener = std::net::TcpListener::bind(address).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let shutdown = CancellationToken::new();
        let until = shutdown.clone().cancelled_owned();
        // The runtime is made on its own thread, because an async caller may not drop one.
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { run(TcpListener::from_std(listener)?, config, until).await })
        };
        let thread = std::thread::Builder::new()
            .name("rollback-server".to_owned())
            .spawn(serve)
            .map_err(BackgroundServerError::Thread)?;
        Ok(Self { local_addr, shutdown, thread: Some(thread) })
    }

    /// The address it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether it still serves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it and waits until it has ended, at most about two seconds.
    ///
    /// # Errors
    /// [`BackgroundServerError::Serve`] or [`BackgroundServerError::Panicked`].
    pub fn stop(mut self) -> Result<(), BackgroundServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BackgroundServerError> {
        self.shutdown.cancel();
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(BackgroundServerError::Serve(error)),
            Some(Err(_)) => Err(BackgroundServerError::Panicked),
        }
    }
}

impl Drop for BackgroundServer {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the server did not end well");
        }
    }
}
