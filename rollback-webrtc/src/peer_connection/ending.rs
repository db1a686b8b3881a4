//! How a connection ends: at once, or after another has taken its place.

use std::time::Duration;

use tokio::time::timeout;

use super::Connection;
use crate::ice::TurnTrouble;

impl Connection {
    /// Sends no more datagrams, and takes what still comes until the peer has had the time to see the connection that has
    /// taken this one's place.
    pub(super) async fn retire(&mut self) {
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
                    else => return,
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

/// How long a connection takes what comes after another has taken its place: some round trips.
const RETIREMENT: Duration = Duration::from_secs(2);
