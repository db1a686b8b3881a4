//! The connections of one who watches.

use std::time::Duration;

use crate::background::Background;
use crate::config::TransportConfig;
use crate::error::JoinError;
use crate::lobby::RoomMember;
use crate::transport::{Joining, Transport};

/// Connections to two members of a room that plays, of whom it is none. When one of them goes, it connects to another.
#[derive(Debug)]
pub struct WatchTransport(pub(super) Transport);

/// A room about to be watched. Dropping it goes away.
#[derive(Debug)]
pub struct JoiningWatch(Joining);

impl WatchTransport {
    /// Starts going to the room of a link such as `ws://127.0.0.1:8080/kitchen`, to watch the newest group there whose
    /// members have come. Where nobody plays yet, it is tried again until
    /// [`connect_timeout`](TransportConfig::connect_timeout) is over.
    ///
    /// # Errors
    /// [`JoinError`], when the link or the configuration is wrong.
    pub fn join(link: &str, config: TransportConfig) -> Result<JoiningWatch, JoinError> {
        Ok(JoiningWatch(Joining::new(Background::start(link, config, true)?)))
    }

    /// Goes to a room and waits until it can be watched.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join_blocking(link: &str, config: TransportConfig) -> Result<Self, JoinError> {
        Self::join(link, config)?.0.complete_blocking().map(Self)
    }

    /// All members, in the order of their slots.
    #[must_use]
    pub fn members(&self) -> &[RoomMember] {
        &self.0.room().members
    }

    /// The number of the match.
    #[must_use]
    pub fn session_id(&self) -> u64 {
        self.0.room().session_id
    }

    /// To how many members there is a connection now.
    #[must_use]
    pub fn hosts(&self) -> usize {
        let members = self.members().iter();
        members.filter(|member| self.0.stats(member.peer).is_connected).count()
    }

    /// Goes away and closes all connections, as [`Transport::close`] does.
    pub fn close(self) -> bool {
        self.0.close()
    }
}

impl JoiningWatch {
    /// Waits until the room can be watched. `Ok(None)` when the time is over: then it can be called again.
    ///
    /// # Errors
    /// [`JoinError`]; then calling it again makes no sense.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<WatchTransport>, JoinError> {
        Ok(self.0.wait(timeout)?.map(WatchTransport))
    }
}
