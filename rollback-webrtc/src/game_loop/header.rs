//! What the members agreed on before the first frame, and the recording that begins with it.

use rollback_core::recording::RecordingHeader;
use rollback_core::{Facts, Frame, Game, PeerId};

use super::GameLoop;
use crate::datagram_transport::DatagramTransport;
use crate::recording_file::{RecordError, RecordingFile};

impl<G: Game, T: DatagramTransport> GameLoop<G, T> {
    /// The header says what all members said of themselves, so the file begins when play does.
    pub(super) fn begin_recording(&mut self) -> Result<(), RecordError> {
        if self.has_header {
            return Ok(());
        }
        let Some(header) = self.header() else { return Ok(()) };
        self.has_header = true;
        self.returns.begin(&header);
        self.show.begin(&header);
        if let Some(path) = &self.setup.recording {
            self.recording = Some(RecordingFile::create(path, &header)?);
        }
        Ok(())
    }

    /// What the members agreed on before the first frame; one that came back is told.
    fn header(&mut self) -> Option<RecordingHeader> {
        if self.setup.rejoins {
            return self.returns.header();
        }
        if self.session.current_frame() == Frame::ZERO {
            return None;
        }
        let ticket = &self.setup.ticket;
        let peers = PeerId::all(ticket.roster.peer_count());
        let facts: Vec<Facts> =
            peers.map(|peer| self.session.facts_of(peer).cloned().unwrap_or_default()).collect();
        Some(RecordingHeader {
            session: ticket.session,
            episode: ticket.episode,
            seed: ticket.seed,
            config: self.setup.config.clone(),
            roster: ticket.roster.clone(),
            participants: self.setup.participants(&facts),
            must_match: self.setup.facts.must_match.clone(),
            may_differ: facts.into_iter().map(|facts| facts.may_differ).collect(),
            start_hash: self.session.start_hash(),
        })
    }
}
