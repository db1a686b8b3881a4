//! One of the two computers: a session, a socket and a clock, and the loop that joins them. All that a transport has to do for
//! `rollback-core` is here.

use std::error::Error;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rollback_core::recording::{RecordingHeader, RecordingWriter};
use rollback_core::{
    Advance, End, Event, Facts, Frame, Output, PeerId, PlayerHandle, Roster, Session,
    SessionConfig, Stall, Ticket, Timestamp,
};

use crate::tug::Tug;

/// What one computer plays with.
pub(crate) struct Computer {
    session: Session<Tug>,
    tug: Tug,
    recording: RecordingWriter,
    player: PlayerHandle,
    socket: UdpSocket,
    other: PeerId,
    other_address: SocketAddr,
    started: Instant,
}

/// What came of a game.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Played {
    pub(crate) end: End,
    pub(crate) tug: Tug,
    pub(crate) rollbacks: u64,
    /// The recording, byte for byte the same on both computers.
    pub(crate) recording: Vec<u8>,
}

impl Computer {
    /// The computer of peer 0 or 1. Both must be given the same number for the match, and never the same one again.
    pub(crate) fn new(
        local: u8,
        match_number: u64,
        socket: UdpSocket,
        other_address: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let config = SessionConfig::builder().players(2).input_delay_frames(1).build()?;
        let roster = Roster::one_player_each(2)?;
        let local = PeerId::new(local).filter(|local| roster.peers().contains(*local));
        let local = local.ok_or("a peer is 0 or 1")?;
        let player = roster.players_of(local).next().ok_or("each peer has a player")?;
        let other = roster.peers().without(local).lowest().ok_or("there are two peers")?;
        let ticket =
            Ticket { session: match_number, episode: 0, seed: 1, roster, local, incarnation: 0 };
        let tug = Tug::default();
        let session = Session::new(&config, &ticket, Facts::default(), &tug, Timestamp::ZERO)?;
        let recording = RecordingWriter::new(&header(&session, config, ticket))?;
        let started = Instant::now();
        Ok(Self { session, tug, recording, player, socket, other, other_address, started })
    }

    /// Plays until both know how it ended. `pull` says what the player does in a frame.
    pub(crate) fn play(mut self, pull: impl Fn(Frame) -> u8) -> Result<Played, Box<dyn Error>> {
        let mut ended = None;
        while !self.session.is_finished() {
            self.receive_until_next_frame()?;
            let pulled = pull(self.session.current_frame());
            self.session.set_local_input(self.player, &pulled)?;
            match self.session.advance_frame(self.now(), &mut self.tug)? {
                Advance::Ended(end) => ended = Some(end),
                Advance::Stalled(Stall::Handshaking(_)) if self.started.elapsed() > PATIENCE => {
                    return Err(format!("nobody answers at {}", self.other_address).into());
                }
                Advance::Stepped { .. } | Advance::Held { .. } | Advance::Stalled(_) => {}
            }
            self.send()?;
        }
        let end = ended.ok_or("a session that is finished has ended")?;
        if let Some(hash) = self.session.end_hash() {
            self.recording.set_end_hash(hash);
        }
        self.recording.finish(end, end.cause.is_completed().into())?;
        let rollbacks = self.session.counters().rollback.rollbacks;
        let recording = self.recording.take_bytes();
        Ok(Played { end, tug: self.tug, rollbacks, recording })
    }

    /// Datagrams may be lost, repeated or overtake each other; the session sees to that. It must only be told the truth about
    /// who sent them, as far as that can be known.
    fn receive_until_next_frame(&mut self) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let left = self.session.next_frame_at().since(self.now());
            if left.is_zero() {
                return Ok(());
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) if from == self.other_address => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.session.handle_datagram(self.now(), self.other, bytes);
                }
                // A stranger, or the time is up.
                Ok(_) => {}
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        let now = self.now();
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Datagram { bytes, .. } => {
                    match self.socket.send_to(bytes, self.other_address) {
                        // What is lost is sent again.
                        Ok(_) => {}
                        Err(error) if is_passing(error.kind()) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Output::Event(Event::Desync(desync)) => println!("{desync:?}"),
                Output::Event(_) => {}
                Output::Stable(frame) => self.recording.push(&frame)?,
            }
        }
        // Frames are given out to be written when their states are known to be equal; until then the writer keeps them.
        self.recording.agreed(self.session.agreed());
        Ok(())
    }

    fn now(&self) -> Timestamp {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(micros)
    }
}

/// What a recording says before its first frame. `must_match` and `may_differ` are what the members said of their programs
/// and machines: here nobody says anything ([`Facts`]).
fn header(session: &Session<Tug>, config: SessionConfig, ticket: Ticket) -> RecordingHeader {
    RecordingHeader {
        session: ticket.session,
        episode: ticket.episode,
        seed: ticket.seed,
        config,
        participants: vec!["left".into(), "right".into()],
        must_match: vec![],
        may_differ: vec![vec![]; ticket.roster.peer_count()],
        start_hash: session.start_hash(),
        roster: ticket.roster,
    }
}

/// Errors of a socket that another datagram may not meet: no time left, nobody there yet, no room, no network for a moment.
fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
    )
}

/// Longer than any datagram of a session, which has at most 1,100 bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// How long the other computer may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
