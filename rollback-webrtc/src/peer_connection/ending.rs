//! How a connection ends: at once, or after another has taken its place.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Connection;
use crate::ice::TurnTrouble;
use crate::pair::Remote;

impl Connection {
    /// Sends no more datagrams, and takes what still comes until the peer has had the time to see the connection that has
    /// taken this one's place.
    pub(super) async fn retire(&mut self, mut remote: mpsc::Receiver<Remote>) {
        if let Some(sending) = self.sending.take() {
            sending.abort();
        }
        let taking = async {
            loop {
                // Nobody wants these now, but the tasks of the channels wait until they are taken.
                tokio::select! {
                    Some(_) = self.callbacks.recv() => {}
                    Some(_) = self.openings.recv() => {}
                    Some(_) = self.turn_troubles.recv() => {}
                    said = remote.recv() => if said.is_none() { return },
                }
            }
        };
        let _ = timeout(RETIREMENT, taking).await;
    }

    /// Ends the connection so that the peer sees it at once.
    pub(super) async fn close(mut self) {
        while let Ok(trouble) = self.turn_troubles.try_recv() {
            self.report_turn(trouble);
        }
        if let Ok(whose) = self.refusals.try_recv() {
            self.report_refusal(whose);
        }
        if !self.progress.is_reported && self.link.turn_is_silent() {
            self.report_turn(TurnTrouble::Silent);
        }
        // Tasks and callbacks hold channels, and a channel keeps its whole connection alive.
        self.channels.shutdown().await;
        self.bulk = None;
        self.callbacks.close();
        while self.callbacks.try_recv().is_ok() {}
        self.link.close().await;
    }
}

/// How long a connection takes what comes after another has taken its place: some round trips, and SCTP's timer twice, in
/// case that the last message that opens the other one is lost.
const RETIREMENT: Duration = Duration::from_secs(5);
