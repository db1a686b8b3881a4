//! What is judged of those who watch, when a simulation is over.

use alloc::format;
use alloc::string::String;
use core::fmt::Debug;

use super::fault_counts::FaultCounts;
use super::gallery::Gallery;
use super::judgement::Judgement;
use super::oracle::{Oracle, Violation};
use crate::recording::stream::StreamWriter;
use crate::{Event, Frame, Game, StableFrame};

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Each spectator holds the beginning of the one stream that the stable log makes, as far as its hosts have it.
    pub(super) fn check_watching(&self) -> Result<(), Violation> {
        let is_desync = |event: &Event| matches!(event, Event::Desync(_));
        // Then members hand out different states, and whoever watches is told; so it is where one's memory was hit after all had
        // compared their states for the last time.
        if self.counts.rays > 0 || self.nodes.iter().any(|node| node.events.iter().any(is_desync)) {
            return Ok(());
        }
        let Some(stream) = self.stream() else { return Ok(()) };
        for (index, watcher) in self.gallery.watchers.iter().enumerate() {
            let broken = |detail: String| {
                let at = watcher.spectator.current_frame();
                Violation::at(Oracle::Watching, at, format!("spectator {index}: {detail}"))
            };
            let (seen, ahead) = watcher.spectator.seen();
            if let Some(error) = &watcher.error {
                return Err(broken(error.clone()));
            }
            if !stream.starts_with(seen) {
                let same = seen.iter().zip(&stream).take_while(|(one, other)| one == other).count();
                return Err(broken(format!("{} bytes, {same} of them right", seen.len())));
            }
            if let Some(contradiction) = watcher.spectator.contradictions().first() {
                return Err(broken(format!("it found a {contradiction:?}")));
            }
            if ahead > PIECES_AHEAD_MAX {
                return Err(broken(format!("{ahead} pieces kept")));
            }
            if let Some(detail) = self.gallery.unserved(self.now, index) {
                return Err(broken(detail));
            }
        }
        Ok(())
    }

    /// The stream of the longest log, with the end where all agree on one.
    fn stream(&self) -> Option<alloc::vec::Vec<u8>> {
        let mut writer = StreamWriter::new(self.gallery.header()?).ok()?;
        let logs = self.nodes.iter().chain(self.former).map(|node| self.rows(node));
        for row in logs.max_by_key(|rows| rows.len()).unwrap_or_default() {
            writer.push(&StableFrame {
                frame: row.frame,
                inputs: &row.inputs,
                flags: &row.flags,
                items: &row.items,
                output: &row.output,
                state_hash: row.state_hash,
                keyframe: row.keyframe.as_deref(),
            });
        }
        if let Some(end) = self.gallery.any_agreed_end() {
            writer.finish(end);
        }
        Some(writer.bytes().to_vec())
    }
}

impl<G: Game<Error: Debug>> Gallery<G> {
    /// Adds what happened to those who watch.
    pub(super) fn count(&self, counts: &mut FaultCounts) {
        for watcher in &self.watchers {
            let shown = watcher.spectator.current_frame();
            let joined = watcher.joined_at.filter(|_| shown > Frame::ZERO);
            counts.spectators += u64::from(joined.is_some());
            counts.late_spectators += u64::from(joined.is_some_and(|at| at >= LATE));
            counts.relays += u64::from(watcher.was_relayed && shown > Frame::ZERO);
            counts.host_changes += watcher.spectator.host_changes();
            counts.watching_lost += watcher.lost();
        }
    }
}

/// A spectator keeps no more pieces beyond a gap than a mask has bits.
const PIECES_AHEAD_MAX: usize = 32;

/// Whoever joins from this frame on is late.
const LATE: Frame = Frame::new(60);
