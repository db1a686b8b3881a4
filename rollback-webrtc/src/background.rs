//! A mesh on a background thread: how it is started, spoken with and ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollback_signaling::{Join, PROTOCOL_VERSION, Text, Token};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::background_thread::{BackgroundThread, CLOSE_TIMEOUT, End};
use crate::clock::Clock;
use crate::config::TransportConfig;
use crate::error::JoinError;
use crate::ice_servers::IceServers;
use crate::link::RoomLink;
use crate::lobby::Lobby;
use crate::mailbox::Mailbox;
use crate::mesh::{Mesh, MeshSetup};
use crate::own_addresses::OwnAddresses;
use crate::peer_connection::ConnectionSetup;
use crate::relay::RelaySetup;
use crate::signaling_client::SignalingClient;
use crate::tls::Trust;

/// A running mesh, and how to speak with it. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    pub(crate) mailbox: Arc<Mailbox>,
    /// Of those who watch, by their place.
    pub(crate) watchers: Arc<Mailbox>,
    pub(crate) lobby: Arc<Lobby>,
    close: CancellationToken,
    /// Whether the server is told nothing when this ends.
    stays: Arc<AtomicBool>,
    end: Arc<End>,
    /// Ends it also where it does not end by itself.
    _mesh: AbortOnDropHandle<()>,
    /// Goes after all else, since it may be the last mesh of its thread.
    _thread: Arc<BackgroundThread>,
}

impl Background {
    /// Checks everything that can be checked at once, and starts the mesh. With `watch` it is to be no member.
    pub(crate) fn start(
        link: &str,
        config: TransportConfig,
        watch: bool,
    ) -> Result<Self, JoinError> {
        let link: RoomLink = link.parse()?;
        let clock = Clock::start();
        let incarnation = getrandom::u64().map_err(JoinError::randomness)?;
        let seed = getrandom::u64().map_err(JoinError::randomness)?;
        let join = Join {
            protocol_version: PROTOCOL_VERSION,
            room: link.room().clone(),
            token: config.token.map(Token::try_from).transpose().map_err(JoinError::Token)?,
            name: config.name.map(TryInto::try_into).transpose().map_err(JoinError::Name)?,
            incarnation,
            settings: Text::try_from(config.settings).map_err(JoinError::Settings)?,
            watch,
        };
        let trust = Trust::new(config.trusted_certificates)?;
        let trust = Arc::new(trust);
        let accepts_offers = config.use_offered_ice_servers;
        let ice_servers = IceServers::new(&config.ice_servers, accepts_offers, Arc::clone(&trust))?;
        let ice_servers = Arc::new(ice_servers);
        let mailbox = Arc::new(Mailbox::new(clock, incarnation));
        let lobby = Arc::new(Lobby::new(clock));
        let watchers = Arc::new(Mailbox::new(clock, incarnation));
        mailbox.set_datagrams_per_second(config.datagrams_per_second);
        watchers.set_datagrams_per_second(config.datagrams_per_second);
        let bind = OwnAddresses::new(config.bind, link.is_loopback());
        let connection = |mailbox: &Arc<Mailbox>| ConnectionSetup {
            clock,
            mailbox: Arc::clone(mailbox),
            ice_servers: Arc::clone(&ice_servers),
            path_policy: config.path_policy,
            interrupted_after: config.interrupted_after,
            told_after: config.told_after,
            bind: bind.clone(),
        };
        let setup = MeshSetup {
            connection: connection(&mailbox),
            watching: connection(&watchers),
            lobby: Arc::clone(&lobby),
            conditions: config.link_conditions,
            relay: config.server_relay.then(|| RelaySetup {
                url: link.relay_url(),
                room: link.room().clone(),
                incarnation,
                proxy: config.proxy.clone(),
                trust: Arc::clone(&trust),
            }),
            link: link.url().to_owned(),
            connect_timeout: config.connect_timeout,
            seed,
        };
        let close = CancellationToken::new();
        let (to_server, outgoing) = mpsc::channel(SIGNALING_MESSAGES);
        let (incoming, from_server) = mpsc::channel(SIGNALING_MESSAGES);
        let stays = Arc::new(AtomicBool::new(false));
        let client = SignalingClient::new(
            (link, config.proxy, trust),
            join,
            seed,
            (incoming, outgoing),
            Arc::clone(&stays),
        );
        let mesh = Mesh::new(setup, to_server).run(client, from_server, close.clone());
        Self::spawn(mesh, (mailbox, watchers), lobby, (close, stays))
    }

    fn spawn(
        mesh: impl Future<Output = ()> + Send + 'static,
        (mailbox, watchers): (Arc<Mailbox>, Arc<Mailbox>),
        lobby: Arc<Lobby>,
        (close, stays): (CancellationToken, Arc<AtomicBool>),
    ) -> Result<Self, JoinError> {
        let end = Arc::new(End::default());
        let at_end = AtEnd {
            mailbox: Arc::clone(&mailbox),
            lobby: Arc::clone(&lobby),
            end: Arc::clone(&end),
        };
        let thread = BackgroundThread::shared().map_err(JoinError::Thread)?;
        let mesh = thread.spawn(async move {
            // Dropped after the mesh, also when that panics.
            let _at_end = at_end;
            mesh.await;
        });
        Ok(Self { mailbox, watchers, lobby, close, stays, end, _mesh: mesh, _thread: thread })
    }

    /// Closes all connections and waits until that is done, at most for `timeout`; says whether it
    /// is done.
    pub(crate) fn close(&mut self, timeout: Duration) -> bool {
        self.close.cancel();
        self.end.wait(timeout)
    }

    /// The same without telling the server that this member leaves.
    pub(crate) fn abandon(&mut self, timeout: Duration) -> bool {
        self.stays.store(true, Ordering::Release);
        self.close(timeout)
    }

    /// [`close`](Self::close) without blocking.
    pub(crate) async fn close_async(&mut self) {
        self.close.cancel();
        self.end.wait_async().await;
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.close(CLOSE_TIMEOUT) {
            tracing::warn!("the transport did not close within {CLOSE_TIMEOUT:?}");
        }
    }
}

/// Wakes everyone who waits for the mesh when it ends.
struct AtEnd {
    mailbox: Arc<Mailbox>,
    lobby: Arc<Lobby>,
    end: Arc<End>,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.mailbox.close();
        self.lobby.fail(JoinError::Ended);
        self.end.reach();
    }
}

/// Messages to or from the server that may wait. Connecting to seven others takes about eighty.
const SIGNALING_MESSAGES: usize = 256;
