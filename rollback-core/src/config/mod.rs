//! The configuration: what all members must have equal before the first frame. It is checked when it is built and valid from then on.

mod error;
mod field;
mod on_desync;
mod silence;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::error::{ConfigDecodeError, ConfigError};
use self::field::{exact, millis, or, unless};
pub use self::on_desync::{OnDesync, ResyncFrom};
pub use self::silence::Silence;
use crate::bytes::{ByteReader, PutBytes};
use crate::hash::keyed_hash;
use crate::input::INPUT_WIDTH_MAX;
use crate::roster::{PEERS_MAX, PLAYERS_MAX};
use crate::{PeerSet, PlayerHandle};

/// How a match is played. All members must have the same; the handshake names the first field that differs.
///
/// ```
/// use rollback_core::SessionConfig;
///
/// let config = SessionConfig::builder().players(2).tick_rate_hz(60).input_delay_frames(2).build()?;
/// assert_eq!(config.prediction_window_frames(), 8);
/// # Ok::<(), rollback_core::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionConfig {
    players: u8,
    input_width: u16,
    tick_rate_hz: u16,
    input_delays: Box<[u8]>,
    prediction_window: u8,
    report_interval: u8,
    idle_input: Box<[u8]>,
    members_min: u8,
    departure_timeout_ms: u32,
    linger_ms: u32,
    silence: Silence,
    late_peers: PeerSet,
    on_desync: OnDesync,
    pace_min_percent: u8,
}

impl SessionConfig {
    /// Starts from the defaults: 2 players, 60 Hz, no input delay, a prediction window of 8 frames.
    #[must_use]
    pub fn builder() -> SessionConfigBuilder {
        SessionConfigBuilder::default()
    }

    /// How many players the simulation has.
    #[must_use]
    pub fn players(&self) -> usize {
        self.players.into()
    }

    /// How many bytes one input takes.
    #[must_use]
    pub fn input_width(&self) -> usize {
        self.input_width.into()
    }

    /// Frames a second.
    #[must_use]
    pub fn tick_rate_hz(&self) -> u16 {
        self.tick_rate_hz
    }

    /// How long a frame lasts.
    #[must_use]
    pub fn frame_duration(&self) -> Duration {
        Duration::from_secs(1) / u32::from(self.tick_rate_hz)
    }

    /// How many frames later a player's input takes effect.
    #[must_use]
    pub fn input_delay_frames(&self, player: PlayerHandle) -> u32 {
        self.input_delays.get(player.index()).copied().unwrap_or_default().into()
    }

    /// How many frames may be simulated beyond the confirmed one; 0 is lockstep.
    #[must_use]
    pub fn prediction_window_frames(&self) -> u32 {
        self.prediction_window.into()
    }

    /// Every how many frames the members compare the hashes of their states.
    #[must_use]
    pub fn report_interval_frames(&self) -> u32 {
        self.report_interval.into()
    }

    /// The input that is filled in for a player whose peer has left.
    #[must_use]
    pub fn idle_input(&self) -> &[u8] {
        &self.idle_input
    }

    /// The episode ends when fewer members than this are left.
    #[must_use]
    pub fn members_min(&self) -> usize {
        self.members_min.into()
    }

    /// How long a peer may be silent before the others propose to go on without it.
    #[must_use]
    pub fn departure_timeout(&self) -> Duration {
        Duration::from_millis(self.departure_timeout_ms.into())
    }

    /// How long a peer stays after the end for those that have not heard of it.
    #[must_use]
    pub fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.into())
    }

    /// What becomes of a peer that is silent for as long as the departure timeout.
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.silence
    }

    /// Slots for whose peers nobody waits at the start.
    #[must_use]
    pub fn late_peers(&self) -> PeerSet {
        self.late_peers
    }

    /// The same with other such slots, as a later episode has when some have come.
    #[must_use]
    pub fn with_late_peers(self, peers: PeerSet) -> Self {
        Self { late_peers: peers, ..self }
    }

    /// What follows when the members' states differ.
    #[must_use]
    pub fn on_desync(&self) -> OnDesync {
        self.on_desync
    }

    /// The lowest rate at which all play for the sake of one that is slow, in percent of the tick rate.
    #[must_use]
    pub fn pace_min_percent(&self) -> u8 {
        self.pace_min_percent
    }

    /// The longest input delay of any player.
    #[must_use]
    pub fn input_delay_max(&self) -> u32 {
        self.input_delays.iter().copied().max().unwrap_or_default().into()
    }

    /// How many frames of inputs are kept: a power of two.
    ///
    /// Inputs are kept from the last agreed report until now: two members may be a window apart each way, their
    /// inputs a delay ahead, and a report may take some intervals to be agreed. Another member may know so many intervals
    /// later that it was.
    #[must_use]
    pub fn history_frames(&self) -> usize {
        let window = usize::from(self.prediction_window);
        let delay = self.input_delay_max() as usize;
        let reports = self.reports_pending_frames();
        (2 * window + 2 * delay + 2 * reports + 16).next_power_of_two()
    }

    /// How many frames the reports may span that wait for agreement.
    pub(crate) fn reports_pending_frames(&self) -> usize {
        REPORTS_PENDING_MAX * usize::from(self.report_interval)
    }

    /// A digest of every field that must be equal on all members.
    #[must_use]
    pub fn digest(&self) -> u64 {
        keyed_hash(&self.encode(), 0)
    }

    /// Every field in a fixed order, named, as the handshake sends and the recording keeps it. Those after `linger_ms` are
    /// empty where they say what holds unless it is said.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, Vec<u8>); 14] {
        [
            ("players", vec![self.players]),
            ("input_width", self.input_width.to_le_bytes().into()),
            ("tick_rate_hz", self.tick_rate_hz.to_le_bytes().into()),
            ("input_delay_frames", self.input_delays.to_vec()),
            ("prediction_window_frames", vec![self.prediction_window]),
            ("report_interval_frames", vec![self.report_interval]),
            ("idle_input", self.idle_input.to_vec()),
            ("members_min", vec![self.members_min]),
            ("departure_timeout_ms", self.departure_timeout_ms.to_le_bytes().into()),
            ("linger_ms", self.linger_ms.to_le_bytes().into()),
            ("silence", unless(0, self.silence.code())),
            ("late_peers", unless(0, self.late_peers.bits())),
            ("on_desync", self.on_desync.encode()),
            ("pace_min_percent", unless(PACE_MIN_PERCENT, self.pace_min_percent)),
        ]
    }

    /// The fields as bytes, each behind its length. Empty ones at the end are left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let fields = self.fields();
        let count =
            fields.iter().rposition(|(_, field)| !field.is_empty()).map_or(0, |last| last + 1);
        for (_, field) in fields.into_iter().take(count) {
            bytes.put_u16(u16::try_from(field.len()).unwrap_or(u16::MAX));
            bytes.put(&field);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, and checks every field as [`SessionConfigBuilder::build`] does.
    ///
    /// # Errors
    /// When the bytes end too early or too late, or a field has another width or is out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigDecodeError> {
        let mut reader = ByteReader::new(bytes);
        let mut fields = 0;
        let mut field = || -> Result<&[u8], ConfigDecodeError> {
            fields += 1;
            if fields > FIELDS_ALWAYS && reader.remaining() == 0 {
                return Ok(&[]);
            }
            let length = reader.u16()?;
            Ok(reader.take(length.into())?)
        };
        let builder = SessionConfigBuilder {
            players: u8::from_le_bytes(exact("players", field()?)?).into(),
            input_width: u16::from_le_bytes(exact("input_width", field()?)?).into(),
            tick_rate_hz: u16::from_le_bytes(exact("tick_rate_hz", field()?)?),
            input_delay: 0,
            input_delays: PlayerHandle::all(PLAYERS_MAX).zip(field()?.iter().copied()).collect(),
            prediction_window: u8::from_le_bytes(exact("prediction_window_frames", field()?)?),
            report_interval: u8::from_le_bytes(exact("report_interval_frames", field()?)?),
            idle_input: field()?.to_vec(),
            members_min: u8::from_le_bytes(exact("members_min", field()?)?).into(),
            departure_timeout: millis(exact("departure_timeout_ms", field()?)?),
            linger: millis(exact("linger_ms", field()?)?),
            silence: Silence::from_code(or("silence", field()?, 0)?)?,
            late_peers: PeerSet::from_bits(or("late_peers", field()?, 0)?),
            on_desync: OnDesync::decode(field()?).ok_or(ConfigDecodeError::NotAsEncoded)?,
            pace_min_percent: or("pace_min_percent", field()?, PACE_MIN_PERCENT)?,
        };
        let config = builder.build()?;
        // What the builder fills in (a delay or an idle input left out) is never left out here.
        if config.encode() != bytes {
            return Err(ConfigDecodeError::NotAsEncoded);
        }
        Ok(config)
    }
}

/// Collects the fields of a [`SessionConfig`].
#[derive(Clone, Debug)]
pub struct SessionConfigBuilder {
    players: usize,
    input_width: usize,
    tick_rate_hz: u16,
    input_delay: u8,
    input_delays: Vec<(PlayerHandle, u8)>,
    prediction_window: u8,
    report_interval: u8,
    idle_input: Vec<u8>,
    members_min: usize,
    departure_timeout: Duration,
    linger: Duration,
    silence: Silence,
    late_peers: PeerSet,
    on_desync: OnDesync,
    pace_min_percent: u8,
}

impl Default for SessionConfigBuilder {
    fn default() -> Self {
        Self {
            players: 2,
            input_width: 1,
            tick_rate_hz: 60,
            input_delay: 0,
            input_delays: Vec::new(),
            prediction_window: 8,
            report_interval: 10,
            idle_input: Vec::new(),
            members_min: 1,
            departure_timeout: Duration::from_secs(5),
            linger: Duration::from_secs(3),
            silence: Silence::Depart,
            late_peers: PeerSet::EMPTY,
            on_desync: OnDesync::End,
            pace_min_percent: PACE_MIN_PERCENT,
        }
    }
}

impl SessionConfigBuilder {
    /// How many players the simulation has: 1 to 64.
    #[must_use]
    pub fn players(mut self, players: usize) -> Self {
        self.players = players;
        self
    }

    /// How many bytes one input takes: 1 to 512, `Input::WIDTH` of the game's input.
    #[must_use]
    pub fn input_width(mut self, bytes: usize) -> Self {
        self.input_width = bytes;
        self
    }

    /// Frames a second: 1 to 1000.
    #[must_use]
    pub fn tick_rate_hz(mut self, hz: u16) -> Self {
        self.tick_rate_hz = hz;
        self
    }

    /// How many frames later every player's input takes effect: 0 to 30. Said after a single player's delay, it holds
    /// for that one, too.
    #[must_use]
    pub fn input_delay_frames(mut self, frames: u8) -> Self {
        self.input_delays.clear();
        self.input_delay = frames;
        self
    }

    /// The same for one player alone.
    #[must_use]
    pub fn input_delay_frames_of(mut self, player: PlayerHandle, frames: u8) -> Self {
        self.input_delays.push((player, frames));
        self
    }

    /// How many frames may be simulated beyond the confirmed one: 0 (lockstep) to 128.
    #[must_use]
    pub fn prediction_window_frames(mut self, frames: u8) -> Self {
        self.prediction_window = frames;
        self
    }

    /// Every how many frames state hashes are compared: 1 to 60.
    #[must_use]
    pub fn report_interval_frames(mut self, frames: u8) -> Self {
        self.report_interval = frames;
        self
    }

    /// The input filled in for a player whose peer has left; all zero bytes unless given.
    #[must_use]
    pub fn idle_input(mut self, bytes: &[u8]) -> Self {
        self.idle_input = bytes.to_vec();
        self
    }

    /// End the episode when fewer members than this are left; 1 plays on to the last.
    #[must_use]
    pub fn members_min(mut self, members: usize) -> Self {
        self.members_min = members;
        self
    }

    /// How long a peer may be silent before the others propose to go on without it: 100 ms to 10 min.
    #[must_use]
    pub fn departure_timeout(mut self, timeout: Duration) -> Self {
        self.departure_timeout = timeout;
        self
    }

    /// How long a peer stays after the end for those that have not heard of it: up to 1 min.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// What becomes of a peer that is silent for as long as the departure timeout; unless said, the others go on without it,
    /// and it may come back.
    #[must_use]
    pub fn silence(mut self, silence: Silence) -> Self {
        self.silence = silence;
        self
    }

    /// Slots for whose peers nobody waits at the start: their players are idle from frame 0 on, until such a peer comes, as
    /// one comes [back](crate::Session::rejoin), in life 1 of its slot. None unless said.
    #[must_use]
    pub fn late_peers(mut self, peers: PeerSet) -> Self {
        self.late_peers = peers;
        self
    }

    /// What follows when the members' states differ; the episode ends unless said otherwise.
    #[must_use]
    pub fn on_desync(mut self, policy: OnDesync) -> Self {
        self.on_desync = policy;
        self
    }

    /// The lowest rate at which all play for the sake of one whose machine is slow, in percent of the tick rate: 1 to 100; 50
    /// unless said, and at 100 nobody goes slower for another. One that cannot hold even that is waited for.
    #[must_use]
    pub fn pace_min_percent(mut self, percent: u8) -> Self {
        self.pace_min_percent = percent;
        self
    }

    /// The configuration, when every field is in range.
    ///
    /// # Errors
    /// Names the first field that is not.
    pub fn build(self) -> Result<SessionConfig, ConfigError> {
        check("players", self.players, 1, PLAYERS_MAX)?;
        check("input_width", self.input_width, 1, INPUT_WIDTH_MAX)?;
        check("tick_rate_hz", self.tick_rate_hz.into(), 1, 1000)?;
        check("prediction_window_frames", self.prediction_window.into(), 0, WINDOW_MAX)?;
        check("report_interval_frames", self.report_interval.into(), 1, REPORT_INTERVAL_MAX)?;
        check("members_min", self.members_min, 1, PEERS_MAX)?;
        check("pace_min_percent", self.pace_min_percent.into(), 1, 100)?;
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        check("departure_timeout_ms", millis(self.departure_timeout) as usize, 100, 600_000)?;
        check("linger_ms", millis(self.linger) as usize, 0, 60_000)?;
        let mut input_delays = vec![self.input_delay; self.players];
        for (player, frames) in self.input_delays {
            let delay = input_delays.get_mut(player.index());
            *delay.ok_or(ConfigError::NoSuchPlayer { player })? = frames;
        }
        for delay in &input_delays {
            check("input_delay_frames", usize::from(*delay), 0, DELAY_MAX)?;
        }
        let idle_input = match self.idle_input.len() {
            0 => vec![0; self.input_width],
            width if width == self.input_width => self.idle_input,
            got => return Err(ConfigError::IdleWidth { expected: self.input_width, got }),
        };
        Ok(SessionConfig {
            players: u8::try_from(self.players).unwrap_or(u8::MAX),
            input_width: u16::try_from(self.input_width).unwrap_or(u16::MAX),
            tick_rate_hz: self.tick_rate_hz,
            input_delays: input_delays.into(),
            prediction_window: self.prediction_window,
            report_interval: self.report_interval,
            idle_input: idle_input.into(),
            members_min: u8::try_from(self.members_min).unwrap_or(u8::MAX),
            departure_timeout_ms: millis(self.departure_timeout),
            linger_ms: millis(self.linger),
            silence: self.silence,
            late_peers: self.late_peers,
            on_desync: self.on_desync,
            pace_min_percent: self.pace_min_percent,
        })
    }
}

fn check(field: &'static str, got: usize, min: usize, max: usize) -> Result<(), ConfigError> {
    if got < min || got > max {
        return Err(ConfigError::OutOfRange { field, min, max, got });
    }
    Ok(())
}

/// Slower than half of its speed, a game is another game: then it is better that one sees who is waited for.
const PACE_MIN_PERCENT: u8 = 50;

/// How many fields are always written: those that recordings had before there were others.
const FIELDS_ALWAYS: usize = 10;

/// The longest prediction window.
pub const WINDOW_MAX: usize = 128;

/// The longest input delay: half a second at 60 Hz.
pub const DELAY_MAX: usize = 30;

/// The longest report interval, so that a desync is replayed within a bounded history.
pub const REPORT_INTERVAL_MAX: usize = 60;

/// How many reports may wait for agreement before a session stalls.
pub(crate) const REPORTS_PENDING_MAX: usize = 4;

#[cfg(test)]
mod tests;
