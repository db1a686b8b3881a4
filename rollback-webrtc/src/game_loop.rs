//! Plays one episode: hands datagrams to the session and back, keeps time, and records.

mod error;
mod header;
mod seats;
mod ways;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use rollback_core::{
    Advance, Event, Frame, Game, InputError, InputFlags, Output, PEERS_MAX, PeerId, PeerSet,
    PlayerHandle, Predictor, Session, SessionError, Stall, Timestamp,
};

pub use self::error::LoopError;
use self::seats::Seats;
use crate::conduct::Conduct;
use crate::datagram_transport::{AsyncDatagramTransport, DATAGRAM_BYTES_MAX, DatagramTransport};
use crate::episode_setup::EpisodeSetup;
use crate::health::{Health, HealthCheck};
use crate::recording_file::RecordingFile;
use crate::returning::Returns;
use crate::stats::InputsPassed;
use crate::watching::Show;

/// One episode on a transport, for an ordinary synchronous loop.
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use rollback_core::*;
/// # #[derive(Clone, Default)] struct Duel { x: [i32; 2] }
/// # impl Game for Duel {
/// #     type Input = i8; type Snapshot = Self; type Error = Infallible;
/// #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
/// #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
/// #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> { Ok(Outcome::Running) }
/// #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> { hasher.write_i32s(&slot.x); Ok(()) }
/// # }
/// # fn pressed_keys() -> i8 { 0 }
/// # fn draw(_: &Duel) {}
/// use rollback_webrtc::{EpisodeSetup, GameLoop, Transport, TransportConfig};
///
/// let config = SessionConfig::builder().players(2).tick_rate_hz(60).input_delay_frames(2).build()?;
/// let transport = Transport::join_blocking("wss://play.example.org/duel", TransportConfig::default())?;
/// let setup = EpisodeSetup::of_room(transport.room(), config)?;
/// let mut game = Duel::default();
/// let mut episode = GameLoop::new(transport, setup, &game)?;
/// let end = loop {
///     episode.set_local_input(&pressed_keys())?;
///     if let Advance::Ended(end) = episode.advance_frame(&mut game)? { break end }
///     draw(&game);
///     episode.sleep_until_next_frame();
/// };
/// println!("{end:?}");
/// let transport = episode.finish(&mut game)?;   // stays until the others have heard the end
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GameLoop<G: Game, T> {
    session: Session<G>,
    transport: T,
    setup: EpisodeSetup,
    recording: Option<RecordingFile>,
    returns: Returns,
    conduct: Conduct,
    health: HealthCheck,
    /// While the ways to the others are checked: when to look again.
    held_until: Timestamp,
    show: Show,
    seats: Seats,
    /// Whether what the members agreed on before the first frame is known and written.
    has_header: bool,
    events: VecDeque<Event>,
    buffer: [u8; DATAGRAM_BYTES_MAX],
    /// The inputs of which the transport knows, by the slot of the peer.
    inputs_noted: [InputsPassed; PEERS_MAX],
    /// When the first call to advance was.
    advanced_at: Option<Timestamp>,
    /// When this member began to go.
    lingering_since: Option<Timestamp>,
}

impl<G: Game, T: DatagramTransport> GameLoop<G, T> {
    /// Starts an episode for `game`, which must just have been reset with the ticket's seed; or comes back into it, if the
    /// setup says so. One that comes back is advanced like any other: it steps what was recorded as fast as it is called
    /// until it [is let in](Self::is_catching_up).
    ///
    /// # Errors
    /// When configuration, ticket and game do not fit each other.
    pub fn new(
        transport: T,
        setup: EpisodeSetup,
        game: &G,
    ) -> Result<Self, SessionError<G::Error>> {
        let (now, mut transport) = (transport.now(), transport);
        let others = PeerId::all(setup.ticket.roster.peer_count());
        others
            .filter(|peer| *peer != setup.ticket.local)
            .for_each(|peer| transport.begin_check(peer));
        let facts = setup.facts();
        let start = if setup.rejoins { Session::rejoin } else { Session::new };
        Ok(Self {
            session: start(&setup.config, &setup.ticket, facts, game, now)?,
            returns: Returns::new(&setup),
            conduct: Conduct::new(now, &setup.config),
            health: HealthCheck::new(setup.rejoins),
            held_until: now,
            show: Show::new(&setup.ticket),
            seats: Seats::new(&setup),
            transport,
            setup,
            recording: None,
            has_header: false,
            events: VecDeque::new(),
            buffer: [0; DATAGRAM_BYTES_MAX],
            inputs_noted: [InputsPassed::default(); PEERS_MAX],
            advanced_at: None,
            lingering_since: None,
        })
    }

    /// Guesses with `predictor` in place of `RepeatLast`.
    #[must_use]
    pub fn with_predictor(mut self, predictor: Box<dyn Predictor + Send>) -> Self {
        self.session = self.session.with_predictor(predictor);
        self
    }

    /// Shows the game so many frames ahead of the one that is played ([`Session::with_run_ahead`]).
    #[must_use]
    pub fn with_run_ahead(mut self, frames: u32) -> Self {
        self.session = self.session.with_run_ahead(frames);
        self
    }

    /// Says that a member's game is silent after so long ([`Session::with_interrupted_after`]).
    #[must_use]
    pub fn with_interrupted_after(mut self, silence: Duration) -> Self {
        self.session = self.session.with_interrupted_after(silence);
        self
    }

    /// Begins only when the ways to the others are as good as that. By default they must work in both directions.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health.health = health;
        self
    }

    /// Changes how long the others may take to begin. Without effect once play has begun.
    pub fn set_start_timeout(&mut self, timeout: Duration) {
        self.setup.start_timeout = timeout;
    }

    /// The players that this member hosts, in order; each needs an input for every frame.
    pub fn local_players(&self) -> impl Iterator<Item = PlayerHandle> + '_ {
        self.setup.ticket.roster.players_of(self.session.local())
    }

    /// Gives the input of the only local player, or of the first one.
    ///
    /// # Errors
    /// Never for a peer that hosts a player, as all do.
    pub fn set_local_input(&mut self, input: &G::Input) -> Result<Option<Frame>, InputError> {
        let player = self.local_players().next();
        match player {
            Some(player) => self.set_local_input_of(player, input),
            None => Ok(None),
        }
    }

    /// Gives the input of one of several local players. It takes effect at the frame that is answered, after the
    /// player's input delay; `None` when that frame has its input already, as while the session waits.
    ///
    /// # Errors
    /// When the player is hosted elsewhere.
    pub fn set_local_input_of(
        &mut self,
        player: PlayerHandle,
        input: &G::Input,
    ) -> Result<Option<Frame>, InputError> {
        self.session.set_local_input(player, input)
    }

    /// The same for an input that is bytes already, with flags beside it.
    ///
    /// # Errors
    /// When the player is hosted elsewhere or the bytes have another width than the configuration says.
    pub fn set_local_input_bytes(
        &mut self,
        player: PlayerHandle,
        input: &[u8],
        flags: InputFlags,
    ) -> Result<Option<Frame>, InputError> {
        self.session.set_local_input_bytes(player, input, flags)
    }

    /// Takes what has arrived, steps a frame, and sends what is due.
    ///
    /// # Errors
    /// When the game fails, the members cannot play together or do not begin in time, an input is missing, or the
    /// recording cannot be written. [`finish`](Self::finish) is right after each of them.
    pub fn advance_frame(&mut self, game: &mut G) -> Result<Advance, LoopError<G::Error>> {
        self.receive();
        let now = self.transport.now();
        if self.transport.is_replaced() {
            return Err(LoopError::Replaced);
        }
        self.conduct.judge(now, &mut self.session, &mut self.transport);
        let began = *self.advanced_at.get_or_insert(now);
        if let Some(peers) = self.waits_for_ways(now)? {
            self.session.handle_timeout(now);
            self.handle_outputs(now)?;
            self.held_until = now.plus(LOOK_AGAIN);
            return Ok(Advance::Stalled(Stall::Handshaking(peers)));
        }
        let advance = self.session.advance_frame(now, game);
        self.handle_outputs(now)?;
        let Self { returns, setup, session, transport, .. } = self;
        let returned = returns.proceed(now, setup, session, transport);
        let advance = advance?;
        returned?;
        match advance {
            Advance::Stalled(Stall::Handshaking(peers))
                if !peers.is_empty() && now.since(began) >= self.setup.start_timeout =>
            {
                Err(self.not_started(peers))
            }
            advance => Ok(advance),
        }
    }

    /// Waits until the next frame is due, and takes what arrives meanwhile.
    pub fn sleep_until_next_frame(&mut self) {
        while !self.wait_for_next_frame(Duration::MAX) {}
    }

    /// Waits until the next frame is due, but not longer than `timeout`. Answers whether it is due.
    pub fn wait_for_next_frame(&mut self, timeout: Duration) -> bool {
        let deadline = self.transport.now().plus(timeout);
        loop {
            let now = self.transport.now();
            let due = self.session.next_frame_at().max(self.held_until);
            if now >= due || now >= deadline {
                return now >= due;
            }
            if self.transport.wait(due.min(deadline).since(now)) {
                self.receive();
            }
        }
    }

    /// The next event of the session that was not taken yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The session, to be asked how it goes.
    pub fn session(&self) -> &Session<G> {
        &self.session
    }

    /// The transport, to be asked how it goes.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The session, for its settings: input delays, pauses, hints. Advancing it is for the loop.
    pub fn session_mut(&mut self) -> &mut Session<G> {
        &mut self.session
    }

    /// Whether this member has come back and is not let in yet.
    pub fn is_catching_up(&self) -> bool {
        self.returns.is_catching_up()
    }

    /// The members that nobody sat at in the last stable frame, but for those that are [late](Self::late): all members
    /// know the same of the last frame.
    pub fn absent(&self) -> PeerSet {
        self.seats.absent()
    }

    /// Those that come late and had not come by the last stable frame: all members know the same of the last one.
    pub fn late(&self) -> PeerSet {
        self.seats.late()
    }

    /// How many who watch are fed by this member.
    pub fn watchers(&self) -> usize {
        self.show.watchers()
    }

    /// Proposes that the episode ends for all, for a reason that the application numbers.
    pub fn propose_end(&mut self, code: u16) -> bool {
        self.session.propose_end(code)
    }

    /// Leaves in order; the others play on if enough of them are left.
    pub fn leave(&mut self) -> Frame {
        self.session.leave()
    }

    /// Takes what has arrived and sends what is due without stepping a frame: to be called, a frame apart, while the
    /// others are told of an end or a failure. Answers whether that is done. Before play has begun there is nothing
    /// to tell: then it is done after the configured time to linger, or when the others are late.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub fn linger(&mut self, game: &mut G) -> Result<bool, LoopError<G::Error>> {
        let now = self.transport.now();
        let since = *self.lingering_since.get_or_insert(now);
        match self.advance_frame(game) {
            Err(LoopError::Record(error)) => Err(LoopError::Record(error)),
            Err(
                LoopError::NotStarted { .. }
                | LoopError::Unhealthy { .. }
                | LoopError::Return(_)
                | LoopError::Replaced,
            ) => Ok(true),
            // Nobody counts on one that is not let in.
            Ok(_) if self.is_catching_up() => Ok(true),
            Ok(Advance::Stalled(Stall::Handshaking(_))) => {
                Ok(now.since(since) >= self.setup.config.linger())
            }
            // What failed has been said before; now it is told to the others.
            Ok(_) | Err(LoopError::Advance(_)) => {
                Ok(self.session.is_finished() && self.show.is_seen(now))
            }
        }
    }

    /// Stays until the others have heard the end, or for the configured time, and gives the transport back for the
    /// next episode. Leaves in order when the episode is not over.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub fn finish(mut self, game: &mut G) -> Result<T, LoopError<G::Error>> {
        self.leave_unless_over();
        while !self.linger(game)? {
            self.sleep_until_next_frame();
        }
        Ok(self.transport)
    }

    /// Gives the transport back without waiting for anybody.
    pub fn into_transport(self) -> T {
        self.transport
    }

    fn leave_unless_over(&mut self) {
        if self.session.end().is_none() {
            self.session.leave();
        }
    }

    fn receive(&mut self) {
        while let Some(received) = self.transport.try_receive(&mut self.buffer) {
            let bytes = self.buffer.get(..received.len).unwrap_or_default();
            self.session.handle_datagram(received.arrived_at, received.peer, bytes);
            self.note_inputs(received.peer);
        }
        let now = self.transport.now();
        self.returns.hear(now, &mut self.session, &mut self.transport);
    }

    /// Tells the transport what inputs have passed between this member and another since the last call.
    fn note_inputs(&mut self, peer: PeerId) {
        let Some(counters) = self.session.link_counters(peer) else { return };
        let Some(noted) = self.inputs_noted.get_mut(peer.index()) else { return };
        let passed = InputsPassed::of(&counters);
        let before = std::mem::replace(noted, passed);
        if passed != before {
            self.transport.note_inputs(peer, passed.since(before));
        }
    }

    fn handle_outputs(&mut self, now: Timestamp) -> Result<(), LoopError<G::Error>> {
        self.begin_recording()?;
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Datagram { to, bytes } => {
                    // The session keeps within the limit, and whatever is lost it sends again.
                    let _ = self.transport.try_send(to, bytes);
                }
                Output::Event(event) => {
                    self.returns.note(&event, &mut self.transport);
                    if self.events.len() == EVENTS_MAX {
                        self.events.pop_front();
                    }
                    self.events.push_back(event);
                }
                Output::Stable(frame) => {
                    self.returns.push(&frame);
                    self.show.push(&frame);
                    self.seats.note(frame.flags, &self.setup.ticket.roster);
                    if let Some(recording) = &mut self.recording {
                        recording.push(&frame)?;
                    }
                }
            }
        }
        PeerId::all(self.setup.ticket.roster.peer_count()).for_each(|peer| self.note_inputs(peer));
        if let Some(recording) = &mut self.recording {
            recording.agreed(self.session.agreed())?;
            if let Some(end) = self.session.end() {
                let completed = self.setup.completed_episodes + u32::from(end.cause.is_completed());
                recording.finish(end, self.session.end_hash(), completed)?;
            }
        }
        if let Some(end) = self.session.end() {
            self.show.finish(now, end);
        }
        self.show.serve(now, &mut self.transport);
        Ok(())
    }
}

/// The same for async programs, on whatever runtime they have: only the waiting differs.
///
/// ```no_run
/// # use rollback_core::*;
/// # async fn play<G: Game>(game: &mut G, config: SessionConfig) -> Result<(), Box<dyn std::error::Error>>
/// # where G::Input: Default, G::Error: std::error::Error + 'static {
/// use rollback_webrtc::{AsyncTransport, EpisodeSetup, GameLoop, TransportConfig};
///
/// let link = "wss://play.example.org/duel";
/// let transport = AsyncTransport::join(link, TransportConfig::default()).await?;
/// let setup = EpisodeSetup::of_room(transport.get().room(), config)?;
/// let mut episode = GameLoop::new(transport, setup, game)?;
/// loop {
///     episode.set_local_input(&G::Input::default())?;
///     if let Advance::Ended(_) = episode.advance_frame(game)? { break }
///     episode.until_next_frame().await;
/// }
/// let transport = episode.finish_async(game).await?;
/// # Ok(()) }
/// ```
impl<G: Game, T: AsyncDatagramTransport> GameLoop<G, T> {
    /// Waits until the next frame is due, and takes what arrives meanwhile, as
    /// [`sleep_until_next_frame`](Self::sleep_until_next_frame) does without blocking the thread.
    pub async fn until_next_frame(&mut self) {
        loop {
            let now = self.transport.now();
            let due = self.session.next_frame_at().max(self.held_until);
            if now >= due {
                return;
            }
            if self.transport.wait_async(due.since(now)).await {
                self.receive();
            }
        }
    }

    /// [`finish`](Self::finish) without blocking the thread.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub async fn finish_async(mut self, game: &mut G) -> Result<T, LoopError<G::Error>> {
        self.leave_unless_over();
        while !self.linger(game)? {
            self.until_next_frame().await;
        }
        Ok(self.transport)
    }
}

impl<G: Game, T> fmt::Debug for GameLoop<G, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GameLoop").field("session", &self.session).finish_non_exhaustive()
    }
}

/// How often it is looked whether the ways to the others are good enough.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The oldest events that nobody takes go after so many.
const EVENTS_MAX: usize = 1024;
