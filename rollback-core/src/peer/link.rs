//! The protocol state between this peer and one other: what it has, what it said, when it was heard.

use super::{Handshake, Lateness};
use crate::clock_sync::ClockSync;
use crate::wire::{Applied, Bound, Digest, InputsHead, LinkKeys, Want};
use crate::{Frame, PEERS_MAX, PeerId, PeerSet, Timestamp};

/// One remote peer.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) keys_out: LinkKeys,
    pub(crate) keys_in: LinkKeys,
    pub(crate) handshake: Handshake,
    pub(crate) clock: ClockSync,
    /// It holds every frame of ours before this one.
    pub(crate) acked: Frame,
    /// The frames after the first gap that it holds as well.
    pub(crate) held_beyond_gap: u32,
    /// Every frame of ours before this one was sent to it at least once.
    pub(crate) sent_end: Frame,
    /// It said that it has confirmed every frame before this one.
    pub(crate) confirmed: Frame,
    /// Its last report, by number.
    pub(crate) report: Option<(u32, Digest)>,
    /// What it lacks of third peers, by slot; and of whom it lacks something.
    pub(crate) wants: [Frame; PEERS_MAX],
    pub(crate) wants_of: PeerSet,
    /// The newest view that it was seen in.
    pub(crate) seen_view: u8,
    /// When it was last heard, directly or through another.
    pub(crate) heard_at: Timestamp,
    pub(crate) heard_directly_at: Timestamp,
    pub(crate) is_interrupted: bool,
    /// When a hello was last sent.
    pub(crate) hello_at: Timestamp,
    /// How many more datagrams carry the current digest.
    pub(crate) digests_due: u8,
    /// Its frame when it sent its newest datagram, and when that was on our clock.
    progress: Option<(Frame, Timestamp)>,
    pub(crate) lateness: Lateness,
    /// Below the tick rate: the rate that it can hold, in thousandths of that, and when it said so.
    pub(crate) rate: Option<(u16, Timestamp)>,
    /// It has heard our goodbye.
    pub(crate) heard_goodbye: bool,
    /// It has said goodbye.
    pub(crate) has_said_goodbye: bool,
    /// It was given up and is to be let in again.
    pub(crate) returning: Option<Returning>,
    /// The last life in which it was expected and not let in.
    pub(crate) refused_life: Option<u8>,
    /// It was let in again and may lack frames before this one that all others have confirmed.
    pub(crate) lacks_up_to: Option<Frame>,
    pub(crate) counters: LinkCounters,
}

/// A peer that was given up and wants its slot again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Returning {
    /// Which life of the slot begins.
    pub(crate) incarnation: u8,
    /// Whether its former life is over here, so that it is listened to.
    pub(crate) is_open: bool,
    /// Whether its hello fits; unknown before that has come.
    pub(crate) fits: Option<bool>,
    /// It holds all inputs before this frame.
    pub(crate) position: Option<Frame>,
    /// Since when it is proposed to let it in.
    pub(crate) proposed_at: Option<Timestamp>,
}

/// What passed between this peer and another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkCounters {
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams received, whatever they held.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Datagrams dropped because their tag was wrong: damaged, or of another match, episode or view.
    pub tags_wrong: u64,
    /// Datagrams dropped although their tag was right: the sender breaks the protocol.
    pub malformed: u64,
    /// Frames of this peer's inputs that were sent to the other, again each time.
    pub frames_sent: u64,
    /// Frames of inputs that came from their owner and were new.
    pub frames_direct: u64,
    /// Frames of a third peer's inputs that came through this one and were new.
    pub frames_relayed: u64,
    /// Those of both that came after their frame had been stepped.
    pub frames_late: u64,
    /// Frames of inputs that were held already.
    pub frames_repeated: u64,
    /// Hints that were taken: of inputs that its players will probably give. Each may come many times.
    pub hints: u64,
    /// Runs that it passed on of players whose inputs no peer passes on to this one: this one's own, or nobody's.
    pub runs_refused: u64,
    /// Times that it gave hints for players whom it does not host.
    pub hints_refused: u64,
}

impl LinkCounters {
    /// How often the peer sent what no honest one sends, or what was damaged: all of it was refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.tags_wrong + self.malformed + self.runs_refused + self.hints_refused
    }
}

impl Link {
    pub(crate) fn new(peer: PeerId, keys_out: LinkKeys, keys_in: LinkKeys, now: Timestamp) -> Self {
        Self {
            peer,
            keys_out,
            keys_in,
            handshake: Handshake::default(),
            clock: ClockSync::default(),
            acked: Frame::ZERO,
            sent_end: Frame::ZERO,
            held_beyond_gap: 0,
            confirmed: Frame::ZERO,
            report: None,
            wants: [Frame::ZERO; PEERS_MAX],
            wants_of: PeerSet::EMPTY,
            seen_view: 0,
            heard_at: now,
            heard_directly_at: now,
            is_interrupted: false,
            hello_at: now,
            digests_due: 0,
            progress: None,
            lateness: Lateness::default(),
            rate: None,
            heard_goodbye: false,
            has_said_goodbye: false,
            returning: None,
            refused_life: None,
            lacks_up_to: None,
            counters: LinkCounters::default(),
        }
    }

    pub(crate) fn handle_heard(&mut self, now: Timestamp) {
        self.heard_at = now;
        self.heard_directly_at = now;
    }

    /// Takes what the head of an inputs datagram says. `own_end` is where our stream ends.
    pub(crate) fn handle_head(&mut self, head: &InputsHead, own_end: Frame) {
        if head.ack > self.acked && head.ack <= own_end {
            self.acked = head.ack;
            self.held_beyond_gap = head.held_beyond_gap;
        } else if head.ack == self.acked {
            self.held_beyond_gap |= head.held_beyond_gap;
        }
    }

    /// It has confirmed everything before `frame`, so it holds our frames before that, too.
    pub(crate) fn handle_confirmed(&mut self, frame: Frame, own_end: Frame) {
        self.confirmed = self.confirmed.max(frame);
        if frame > self.acked {
            self.acked = frame.min(own_end).max(self.acked);
            self.held_beyond_gap = 0;
        }
    }

    /// It was at `frame` when it sent the datagram that arrived at `now`.
    pub(crate) fn handle_progress(&mut self, now: Timestamp, frame: Frame) {
        let newer = self.progress.is_none_or(|(last, _)| frame > last);
        if let (true, Some(age)) = (newer, self.clock.last_age_micros()) {
            let sent = now.as_micros().saturating_sub(age);
            self.progress = Some((frame, Timestamp::from_micros(sent)));
        }
    }

    /// Where it is at `now`, in thousandths of a frame, if it ran on since its last datagram. A frame takes so many
    /// microseconds.
    pub(crate) fn progress_at(&self, now: Timestamp, period_micros: u64) -> Option<i64> {
        let (frame, at) = self.progress?;
        let since = now.micros_since(at).min(PROGRESS_MICROS_MAX);
        let ran_on = since * 1000 / period_micros.max(1);
        Some(i64::from(frame.index()) * 1000 + i64::try_from(ran_on).unwrap_or(i64::MAX))
    }

    /// The last life of it that is known here, and is over if it is expected in another.
    pub(crate) fn last_life(&self) -> Option<u8> {
        let life = self.handshake.remote.as_ref().map(|remote| remote.incarnation);
        life.max(self.refused_life)
    }

    /// It wants its slot again and holds everything before `frame`.
    pub(crate) fn handle_ready(&mut self, frame: Frame) {
        if let Some(returning) = &mut self.returning {
            returning.position = returning.position.max(Some(frame));
        }
    }

    /// It has made this report.
    pub(crate) fn handle_report(&mut self, number: u32, digest: Digest) {
        if self.report.is_none_or(|(last, _)| number >= last) {
            self.report = Some((number, digest));
        }
    }

    pub(crate) fn handle_want(&mut self, want: Want) {
        if let Some(slot) = self.wants.get_mut(want.owner.index()) {
            *slot = want.end;
            self.wants_of.insert(want.owner);
        }
    }

    pub(crate) fn count_sent(&mut self, bytes: usize) {
        self.counters.datagrams_sent += 1;
        self.counters.bytes_sent += bytes as u64;
    }

    pub(crate) fn count_applied(&mut self, applied: Applied, is_relayed: bool) {
        let new = match is_relayed {
            true => &mut self.counters.frames_relayed,
            false => &mut self.counters.frames_direct,
        };
        *new += u64::from(applied.new);
        self.counters.frames_late += u64::from(applied.late);
        self.counters.frames_repeated += u64::from(applied.known);
    }

    /// What the tag of a datagram binds beside its bytes.
    pub(crate) fn bound(view: u8, head: &InputsHead) -> Bound {
        let confirmed = head.confirmed.unwrap_or_default();
        Bound { view, first: head.first, ack: head.ack, confirmed }
    }
}

/// A peer that has not been heard for longer than this is not taken to have run on.
const PROGRESS_MICROS_MAX: u64 = 500_000;
