//! The relay of the server, as the mesh sees it: started with the match, and a way for all pairs.

use std::sync::Arc;

use rollback_core::PeerId;
use rollback_signaling::{Token, WATCHER_SLOTS};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Mesh;
use crate::neighbours::Neighbours;
use crate::relay::{Hearing, RelayClient, RelayEvent, RelaySetup};
use crate::stats::TransportEvent;

/// The relay's client, started or not, and what it says.
pub(super) struct Relaying {
    /// `None` when there is to be no relay.
    setup: Option<RelaySetup>,
    hearing: watch::Sender<Hearing>,
    /// Of the present client: what a former one says goes nowhere.
    events: Option<mpsc::Receiver<RelayEvent>>,
    /// Ends the client when dropped.
    stop: CancellationToken,
}

impl Relaying {
    pub(super) fn new(setup: Option<RelaySetup>) -> Self {
        let (hearing, _) = watch::channel(Hearing::all());
        Self { setup, hearing, events: None, stop: CancellationToken::new() }
    }

    /// Stops the client, and answers what the next one needs: how it is stopped, and where it tells what happens.
    fn renew(&mut self) -> (CancellationToken, mpsc::Sender<RelayEvent>) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        let (sender, events) = mpsc::channel(RELAY_EVENTS);
        self.events = Some(events);
        (self.stop.clone(), sender)
    }

    /// Waits for what the client says next.
    pub(super) async fn next(&mut self) -> RelayEvent {
        if let Some(events) = &mut self.events {
            match events.recv().await {
                Some(event) => return event,
                // It has ended, and has said why.
                None => self.events = None,
            }
        }
        std::future::pending().await
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
        self.handle_relay(RelayEvent::Lost);
        self.start_relay(token);
    }

    /// Opens the relay socket of this member, unless that is not wanted.
    pub(super) fn start_relay(&mut self, token: Token) {
        let Some(setup) = self.relaying.setup.clone() else { return };
        let (stop, events) = self.relaying.renew();
        let mailboxes =
            (Arc::clone(&self.members.setup.mailbox), Arc::clone(&self.watchers.setup.mailbox));
        let client = RelayClient::new(
            (setup, token),
            mailboxes,
            events,
            self.relaying.hearing.subscribe(),
            (self.members.setup.clock, self.seeds.next()),
        );
        tokio::spawn(client.run(stop));
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
            RelayEvent::Refused(trouble) => {
                self.mailbox.report(TransportEvent::RelayRefused { trouble });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_former_client_says_does_not_count() {
        let mut relaying = Relaying::new(None);
        let (stop, former) = relaying.renew();
        former.send(RelayEvent::Here { slot: 1 }).await.unwrap();
        let (_stop, present) = relaying.renew();
        assert!(stop.is_cancelled());
        assert!(former.send(RelayEvent::Lost).await.is_err());
        present.send(RelayEvent::Gone { slot: 1 }).await.unwrap();
        assert_eq!(relaying.next().await, RelayEvent::Gone { slot: 1 });
    }
}
