//! The relay of the server, as the mesh sees it: started with the match, and a way for all pairs.

use std::sync::Arc;

use rollback_core::PeerId;
use rollback_signaling::{Token, WATCHER_SLOTS};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Mesh;
use crate::neighbours::Neighbours;
use crate::relay::{Hearing, RelayClient, RelayEvent, RelaySetup};

/// The relay's client, started or not, and what it says.
pub(super) struct Relaying {
    /// `None` when there is to be no relay.
    setup: Option<RelaySetup>,
    hearing: watch::Sender<Hearing>,
    events: mpsc::Receiver<RelayEvent>,
    /// For the client. Kept, so that the channel is never closed.
    events_sender: mpsc::Sender<RelayEvent>,
    /// Ends the client when dropped.
    stop: CancellationToken,
}

impl Relaying {
    pub(super) fn new(setup: Option<RelaySetup>) -> Self {
        let (events_sender, events) = mpsc::channel(RELAY_EVENTS);
        let (hearing, _) = watch::channel(Hearing::all());
        Self { setup, hearing, events, events_sender, stop: CancellationToken::new() }
    }

    /// Waits for what the client says next.
    pub(super) async fn next(&mut self) -> RelayEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Writes down whether somebody is heard over WebRTC, for the client to pass on.
    pub(super) fn note_heard(&self, slot: u8, is_heard: bool) {
        self.hearing.send_modify(|hearing| hearing.set(slot, is_heard));
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Mesh {
    /// The same with another token, in place of the one that there was.
    pub(super) fn restart_relay(&mut self, token: Token) {
        let former = std::mem::take(&mut self.relaying.stop);
        former.cancel();
        self.handle_relay(RelayEvent::Lost);
        self.start_relay(token);
    }

    /// Opens the relay socket of this member, unless that is not wanted.
    pub(super) fn start_relay(&mut self, token: Token) {
        let Some(setup) = self.relaying.setup.clone() else { return };
        let mailboxes =
            (Arc::clone(&self.members.setup.mailbox), Arc::clone(&self.watchers.setup.mailbox));
        let client = RelayClient::new(
            (setup, token),
            mailboxes,
            self.relaying.events_sender.clone(),
            self.relaying.hearing.subscribe(),
            (self.members.setup.clock, self.seeds.next()),
        );
        tokio::spawn(client.run(self.relaying.stop.clone()));
    }

    pub(super) fn handle_relay(&mut self, event: RelayEvent) {
        let now = self.now();
        match event {
            RelayEvent::Here { slot } => {
                self.with_neighbours(slot, |neighbours, peer| {
                    neighbours.handle_server(now, peer, true);
                });
            }
            RelayEvent::Gone { slot } => {
                self.with_neighbours(slot, |neighbours, peer| {
                    neighbours.handle_server(now, peer, false);
                });
            }
            RelayEvent::Heard { slot, is_heard } => {
                self.with_neighbours(slot, |neighbours, peer| {
                    neighbours.with_route(peer, |route| route.handle_heard(now, is_heard));
                });
            }
            RelayEvent::Lost => {
                self.members.handle_server_lost(now);
                self.watchers.handle_server_lost(now);
            }
        }
    }

    fn with_neighbours(&mut self, slot: u8, change: impl FnOnce(&mut Neighbours, PeerId)) {
        let (neighbours, number) = match slot.checked_sub(WATCHER_SLOTS) {
            None => (&mut self.members, slot),
            Some(place) => (&mut self.watchers, place),
        };
        if let Some(peer) = PeerId::new(number) {
            change(neighbours, peer);
        }
    }
}

/// Events of the relay that may wait for the mesh; the relay waits when they are more.
const RELAY_EVENTS: usize = 64;
