//! One that came back: it takes what was recorded so far from a member, and asks to be let in when it has stepped that.

use std::time::Duration;

use rollback_core::recording::{RecordingHeader, StreamReader};
use rollback_core::{Game, PeerId, Session, Timestamp};

use super::ReturnError;
use super::notice::{Notice, Refusal};
use super::states::Gathering;
use crate::datagram_transport::DatagramTransport;
use crate::episode_setup::EpisodeSetup;

/// What is known of the episode so far.
#[derive(Debug)]
pub(crate) struct CatchUp {
    life: u8,
    episode: u32,
    others: Vec<PeerId>,
    reader: StreamReader,
    gathering: Gathering,
    is_checked: bool,
    /// The place in `others` of the member that gives the log.
    source: usize,
    asked_at: Option<Timestamp>,
    heard_at: Option<Timestamp>,
    began: Option<Timestamp>,
    /// How many frames the log has there, and when that was heard.
    frames: Option<u32>,
    ready_since: Option<Timestamp>,
    ready_said_at: Option<Timestamp>,
    refused: Option<ReturnError>,
}

impl CatchUp {
    pub(crate) fn new(setup: &EpisodeSetup) -> Self {
        let ticket = &setup.ticket;
        Self {
            life: ticket.incarnation,
            episode: ticket.episode,
            others: ticket.roster.peers().without(ticket.local).iter().collect(),
            reader: StreamReader::default(),
            gathering: Gathering::new(ticket.episode),
            is_checked: false,
            source: 0,
            asked_at: None,
            heard_at: None,
            began: None,
            frames: None,
            ready_since: None,
            ready_said_at: None,
            refused: None,
        }
    }

    /// What the session makes of a state.
    pub(crate) fn note_state(&mut self, was_taken: bool) {
        self.gathering.note_looked_at(was_taken);
    }

    /// What was agreed on before the first frame, once it has come.
    pub(crate) fn header(&mut self) -> Option<RecordingHeader> {
        self.reader.header().ok().flatten().cloned()
    }

    /// Takes what a member says.
    pub(crate) fn handle(&mut self, now: Timestamp, from: PeerId, notice: &Notice<'_>) {
        match *notice {
            Notice::Piece { episode, offset, frames, bytes } => {
                let is_next = usize::try_from(offset) == Ok(self.reader.received());
                if episode == self.episode && is_next && Some(from) == self.source() {
                    self.heard_at = Some(now);
                    self.frames = Some(frames);
                    self.gathering.hear(now, from);
                    if !self.reader.extend(bytes) {
                        self.refused = Some(ReturnError::TooLong);
                    }
                }
            }
            Notice::Refused { episode, reason } if episode == self.episode => {
                self.refused = Some(match reason {
                    Refusal::Over => ReturnError::EpisodeOver { episode },
                    Refusal::TooLong => ReturnError::TooLong,
                });
            }
            Notice::State { .. } => {
                if Some(from) == self.source() {
                    self.heard_at = Some(now);
                }
                self.gathering.handle(now, from, notice);
            }
            _ => {}
        }
    }

    /// Asks for what is missing, gives the session what has come, and says when it is ready.
    pub(crate) fn proceed<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        setup: &EpisodeSetup,
        session: &mut Session<G>,
        transport: &mut T,
    ) -> Result<(), ReturnError> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        if self.others.iter().all(|peer| transport.has_left(*peer)) {
            return Err(ReturnError::MatchOver);
        }
        self.ask(now, transport);
        self.gather(now, setup, session, transport)?;
        self.feed(setup, session)?;
        if self.is_near(setup, session) {
            self.ready_since.get_or_insert(now);
        }
        let began = *self.began.get_or_insert(now);
        let heard = self.heard_at.unwrap_or(began);
        if now.since(heard) >= setup.start_timeout {
            return Err(ReturnError::NobodyAnswers { within: setup.start_timeout });
        }
        let Some(since) = self.ready_since else { return Ok(()) };
        let within = 2 * setup.config.departure_timeout() + ADMISSION_MAX;
        if now.since(since) >= within {
            return Err(ReturnError::NotLetIn { within });
        }
        if self.ready_said_at.is_none_or(|at| now.since(at) >= READY_EVERY) {
            self.ready_said_at = Some(now);
            let ready = Notice::Ready { life: self.life, episode: self.episode }.encode();
            for peer in &self.others {
                if !transport.has_left(*peer) {
                    transport.try_send_notice(*peer, &ready);
                }
            }
        }
        Ok(())
    }

    /// The members need to give nothing more.
    pub(crate) fn stop<T: DatagramTransport>(&self, transport: &mut T) {
        let stop = Notice::Stop { episode: self.episode }.encode();
        for peer in &self.others {
            transport.try_send_notice(*peer, &stop);
        }
    }

    fn source(&self) -> Option<PeerId> {
        self.others.get(self.source).copied()
    }

    /// Asks a member for the log, and another one when that one is silent.
    fn ask<T: DatagramTransport>(&mut self, now: Timestamp, transport: &mut T) {
        let said = self.asked_at.max(self.heard_at);
        if said.is_some_and(|at| now.since(at) < SOURCE_SILENT_MAX) {
            return;
        }
        let is_first = self.asked_at.is_none();
        for _ in 0..self.others.len() {
            if !is_first || self.source().is_some_and(|peer| transport.has_left(peer)) {
                self.source = (self.source + 1) % self.others.len();
            }
            if self.source().is_some_and(|peer| !transport.has_left(peer)) {
                break;
            }
        }
        self.asked_at = Some(now);
        let offset = u32::try_from(self.reader.received()).unwrap_or(u32::MAX);
        let send = Notice::Send { episode: self.episode, offset }.encode();
        if let Some(source) = self.source() {
            transport.try_send_notice(source, &send);
        }
    }

    /// Comes by a state, if there is so much to step that it may come before that is done.
    fn gather<G: Game, T: DatagramTransport>(
        &mut self,
        now: Timestamp,
        setup: &EpisodeSetup,
        session: &mut Session<G>,
        transport: &mut T,
    ) -> Result<(), ReturnError> {
        let Some(frames) = self.frames.filter(|_| self.is_checked) else { return Ok(()) };
        let left = frames.saturating_sub(session.current_frame().index());
        let is_worth_it = left > u32::from(setup.config.tick_rate_hz());
        // Whoever gives the log is there, and so is asked first.
        let mut others = self.others.clone();
        let first = self.source.min(others.len());
        others.rotate_left(first);
        let asked = (others.as_slice(), is_worth_it);
        Ok(self.gathering.proceed(now, asked, &mut self.reader, session, transport)?)
    }

    fn feed<G: Game>(
        &mut self,
        setup: &EpisodeSetup,
        session: &mut Session<G>,
    ) -> Result<(), ReturnError> {
        let Some(header) = self.reader.header()? else { return Ok(()) };
        if !self.is_checked {
            check(header, setup, session)?;
            self.is_checked = true;
        }
        let mut refused = None;
        loop {
            let taken = self.reader.next_row(|row, has_output| {
                match session.backfill(row, has_output) {
                    Ok(is_taken) => is_taken,
                    Err(error) => {
                        refused = Some(error);
                        false
                    }
                }
            })?;
            if let Some(error) = refused {
                return Err(ReturnError::Backfill(error));
            }
            if taken != Some(true) {
                return Ok(());
            }
        }
    }

    /// Whether what is left to step is so little that the members may wait for it.
    fn is_near<G: Game>(&self, setup: &EpisodeSetup, session: &Session<G>) -> bool {
        let Some(frames) = self.frames.filter(|_| self.is_checked) else { return false };
        let behind = frames.saturating_sub(session.current_frame().index());
        behind <= u32::from(setup.config.tick_rate_hz()) / 4
    }
}

/// Whether the log is of this episode, as it would be played here.
fn check<G: Game>(
    header: &RecordingHeader,
    setup: &EpisodeSetup,
    session: &Session<G>,
) -> Result<(), ReturnError> {
    let ticket = &setup.ticket;
    let mut fields = Vec::new();
    let mut compare = |name: &str, is_equal: bool| {
        if !is_equal {
            fields.push(name.to_owned());
        }
    };
    compare("session", header.session == ticket.session);
    compare("episode", header.episode == ticket.episode);
    compare("seed", header.seed == ticket.seed);
    compare("roster", header.roster == ticket.roster);
    for ((name, ours), (_, theirs)) in setup.config.fields().iter().zip(header.config.fields()) {
        compare(name, *ours == theirs);
    }
    let (ours, theirs) = (&setup.facts.must_match, &header.must_match);
    for (name, value) in ours {
        compare(name, theirs.iter().any(|fact| fact == &(name.clone(), value.clone())));
    }
    for (name, _) in theirs {
        compare(name, ours.iter().any(|(known, _)| known == name));
    }
    compare("hash of the state after reset", header.start_hash == session.start_hash());
    match fields.is_empty() {
        true => Ok(()),
        false => Err(ReturnError::Differs { fields }),
    }
}

/// When a member that gives nothing is left for another one: it says several times a second that there is nothing new.
const SOURCE_SILENT_MAX: Duration = Duration::from_secs(3);

/// How often the members are told that this peer is ready: one that came back itself in between has not heard it.
const READY_EVERY: Duration = Duration::from_millis(500);

/// How long the members may take to agree, beside the time in which they may lose another one.
const ADMISSION_MAX: Duration = Duration::from_secs(10);
