//! Writes a datagram from what its receiver lacks. `session/due.rs` decides when.

use alloc::vec::Vec;

use super::links::Links;
use crate::clock_sync::send_clock;
use crate::input_queue::InputQueue;
use crate::peer::Link;
use crate::wire::{
    self, Base, CLOCK_UNKNOWN, DATAGRAM_BYTES_MAX, DigestBlock, Hello, InputsHead, Kind, Want,
};
use crate::{Frame, PEERS_MAX, PeerId, PeerSet, Timestamp};

impl Links {
    /// The members whose inputs this peer lacks while others may have them: departing members, if others claim more than is held
    /// here, and silent members. With two peers there is no third one.
    #[inline]
    pub(super) fn find_lacking(&self, now: Timestamp) -> PeerSet {
        if self.links.len() == 1 { PeerSet::EMPTY } else { self.find_lacking_of_many(now) }
    }

    #[inline(never)]
    fn find_lacking_of_many(&self, now: Timestamp) -> PeerSet {
        let lacks = |link: &&Link| match self.membership.is_frozen(link.peer) {
            true => self.membership.claimed(link.peer) > self.queue.end(link.peer),
            false => {
                let silent = now.micros_since(link.heard_directly_at);
                silent >= self.period_micros * RELAY_AFTER_FRAMES && !self.done.contains(link.peer)
            }
        };
        let lacking = self.links.iter().filter(lacks).map(|link| link.peer).collect::<PeerSet>();
        lacking.and(self.membership.view().members)
    }

    /// Writes the next datagram that is due, and answers its receiver.
    #[inline]
    pub(crate) fn write_datagram(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<PeerId> {
        if !self.control.is_empty() || !self.hellos_due.is_empty() {
            return self.write_rare(now, bytes);
        }
        if self.inputs_due.is_empty() { None } else { self.write_next_inputs(now, bytes) }
    }

    #[inline(never)]
    fn write_rare(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<PeerId> {
        if let Some((to, message)) = self.control.pop_front() {
            let index = self.index_of(to)?;
            let link = self.links.get_mut(index)?;
            wire::start(Kind::Control, bytes);
            message.encode(bytes);
            wire::seal(&link.keys_out, wire::Bound::default(), bytes);
            link.count_sent(bytes.len());
            return Some(to);
        }
        let to = self.hellos_due.lowest()?;
        self.hellos_due.remove(to);
        let index = self.index_of(to)?;
        let hello = self.hello();
        let link = self.links.get_mut(index)?;
        link.hello_at = now;
        write_hello(&hello, link, bytes);
        link.count_sent(bytes.len());
        Some(to)
    }

    #[inline(never)]
    fn write_next_inputs(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<PeerId> {
        let to = self.inputs_due.lowest()?;
        self.inputs_due.remove(to);
        let index = self.index_of(to)?;
        write_inputs(self, index, now, bytes);
        Some(to)
    }
}

#[inline(never)]
fn write_hello(hello: &Hello, link: &Link, bytes: &mut Vec<u8>) {
    wire::start(Kind::Hello, bytes);
    hello.encode(link.handshake.remote.is_some(), bytes);
    wire::seal(&link.keys_out, wire::Bound::default(), bytes);
}

/// One datagram: the head, what this peer lacks, its own unacknowledged frames, and frames of third peers that the
/// receiver asked for.
fn write_inputs(links: &mut Links, index: usize, now: Timestamp, bytes: &mut Vec<u8>) {
    links.queue.note_changes(links.local);
    let Some(link) = links.links.get(index) else { return };
    // With two peers the receiver can tell what is confirmed from the rest.
    let has_two_peers = links.links.len() == 1;
    let (queue, own) = (&links.queue, links.local);
    let (first, end) = (link.acked, links.own_end());
    let ack = queue.end(link.peer);
    // One that has left needs to know of no frame beyond its own end, and could not tell which one a cut number means.
    let confirmed = queue.confirmed_end().min(end).min(ack);
    let head = InputsHead {
        ack,
        first,
        count: 0,
        clock: send_clock(now),
        confirmed: (!has_two_peers).then_some(confirmed),
        held_beyond_gap: queue.held_beyond_gap(link.peer),
        digest: (link.digests_due > 0).then(|| digest_block(links, link)),
    };
    wire::start(Kind::Inputs, bytes);
    head.encode(links.long, bytes);
    let lacking = links.lacking.without(link.peer);
    if !lacking.is_empty() {
        let wants = lacking.iter().map(|owner| Want { owner, end: queue.end(owner) });
        wire::put_wants(bytes, wants);
    }

    // The main run stops at the first frame that the receiver holds behind a gap.
    let gap_end = match link.held_beyond_gap {
        0 => end,
        held => first.plus(1 + held.trailing_zeros()).min(end),
    };
    let limit = limit_of(links, link, end, bytes.len());
    let budget = limit.saturating_sub(bytes.len());
    let (count, has_meta) = match wire::fits(queue, own, (first, gap_end), budget) {
        Some(count) => {
            let frames = (first, count);
            (count, wire::encode_frames(queue, own, frames, Base::Previous, bytes))
        }
        None => {
            let budget = share_of_oldest(link, end, budget);
            put_oldest(queue, own, (first, gap_end), budget, bytes)
        }
    };
    wire::finish_main_run(bytes, links.long, count, has_meta);
    let mut frames_sent = u64::from(count);
    if first.plus(count.into()) < end {
        frames_sent += put_newer_runs(links, link, (first.plus(count.into()), end), limit, bytes);
    }
    if !link.wants_of.is_empty() {
        put_wanted_runs(links, link, bytes);
    }
    if links.queue.has_hints() {
        let room = limit.saturating_sub(bytes.len());
        if wire::put_hints(&links.queue, own, room, bytes) {
            wire::mark_extra(bytes);
        }
    }
    let bound = Link::bound(links.membership.view().number, &head);
    wire::seal(&link.keys_out, bound, bytes);
    if let Some(link) = links.links.get_mut(index) {
        link.wants_of = PeerSet::EMPTY;
        link.sent_end = end;
        link.digests_due = link.digests_due.saturating_sub(1);
        link.counters.frames_sent += frames_sent;
        link.count_sent(bytes.len());
    }
}

/// How long the datagram may become.
fn limit_of(links: &Links, link: &Link, end: Frame, fixed: usize) -> usize {
    if end <= link.sent_end {
        // Nothing is new: what waits is more urgent than the room on the line.
        return DATAGRAM_BYTES_MAX;
    }
    let frames = if link.held_beyond_gap == 0 { 2 } else { 4 };
    let frame_bytes = wire::frame_bytes_max(&links.queue, links.local);
    let needed = fixed + frames * (frame_bytes + wire::EXTRA_RUN_HEAD_BYTES_MAX);
    USUAL_BYTES_MAX.max(needed).min(DATAGRAM_BYTES_MAX)
}

/// The share of the room that the oldest frames get where not all fit. They get half if they are known to be missing, or if nothing
/// is new. Otherwise they are under way and the newest frames get all; but the receiver can name only 32 missing frames, so now and
/// then the oldest get half all the same.
#[inline(never)]
fn share_of_oldest(link: &Link, end: Frame, budget: usize) -> usize {
    let is_missing = link.held_beyond_gap != 0 || end <= link.sent_end;
    let is_turn = link.counters.datagrams_sent.is_multiple_of(OLDEST_EVERY);
    if is_missing || is_turn { budget / 2 } else { 0 }
}

/// Appends the oldest frames that fit in this budget. If there is any, one goes in any case, or nobody would ever go on.
#[inline(never)]
fn put_oldest(
    queue: &InputQueue,
    own: PeerId,
    frames: (Frame, Frame),
    budget: usize,
    bytes: &mut Vec<u8>,
) -> (u8, bool) {
    let some = wire::encode_run(queue, own, frames, Base::Previous, budget, bytes);
    if some.0 > 0 || budget == 0 || frames.0 >= frames.1 {
        return some;
    }
    let (room, one) = (DATAGRAM_BYTES_MAX.saturating_sub(bytes.len()), frames.0.next());
    wire::encode_run(queue, own, (frames.0, one), Base::Previous, room, bytes)
}

/// Appends other frames that are missing between those that the receiver holds, and then the newest ones, where the main run does
/// not reach them. Answers how many.
#[inline(never)]
fn put_newer_runs(
    links: &Links,
    link: &Link,
    (sent, end): (Frame, Frame),
    limit: usize,
    bytes: &mut Vec<u8>,
) -> u64 {
    let (own, held) = (links.local, link.held_beyond_gap);
    let frame_bytes = wire::frame_bytes_max(&links.queue, own);
    let frames_in = |room: usize| u32::try_from(room / frame_bytes).unwrap_or(u32::MAX);
    let beyond = match held {
        0 => sent,
        held => link.acked.plus(33 - held.leading_zeros()).min(end).max(sent),
    };
    // Room for the newest frame is kept.
    let kept = frame_bytes + 2 * wire::EXTRA_RUN_HEAD_BYTES_MAX;
    let is_missing = |frame: Frame| {
        let bit = frame.since(link.acked.next());
        held.checked_shr(bit).is_some_and(|rest| rest & 1 == 0)
    };
    let (mut from, mut frames) = (sent, 0);
    for _ in 0..GAPS_MAX {
        let Some(gap) = from.until(beyond).find(|frame| is_missing(*frame)) else { break };
        let gap_end = gap.until(beyond).find(|frame| !is_missing(*frame)).unwrap_or(beyond);
        let room = frames_in(limit.saturating_sub(bytes.len() + kept));
        if room == 0 {
            break;
        }
        from = gap_end.min(gap.plus(room));
        frames += put_extra_run(links, own, (gap, from), bytes);
    }
    if beyond < end {
        let room = limit.saturating_sub(bytes.len() + wire::EXTRA_RUN_HEAD_BYTES_MAX);
        let newest = frames_in(room).max(1);
        frames += put_extra_run(links, own, (beyond.max(end.minus(newest)), end), bytes);
    }
    frames
}

/// Appends the runs of third peers that the receiver asked for.
#[inline(never)]
fn put_wanted_runs(links: &Links, link: &Link, bytes: &mut Vec<u8>) {
    // Whose turn it is comes first: a datagram may have no room for all.
    let sent = link.counters.datagrams_sent % PEERS_MAX as u64;
    let turn = usize::try_from(sent).unwrap_or_default();
    let wanted = PeerId::all(PEERS_MAX).zip(link.wants);
    for (owner, from) in wanted.clone().skip(turn).chain(wanted.take(turn)) {
        if link.wants_of.contains(owner) {
            put_extra_run(links, owner, (from, links.queue.end(owner)), bytes);
        }
    }
}

/// The last own report; in every other datagram the last one that the receiver has made too. A receiver that has no room for a
/// further report until an earlier one is agreed can compare that one.
#[inline(never)]
fn digest_block(links: &Links, link: &Link) -> DigestBlock {
    let last = links.reports.last();
    let report = match link.report {
        Some((theirs, _)) if link.digests_due % 2 == 1 => {
            links.reports.nearest(theirs.min(last.number))
        }
        _ => last,
    };
    let clock = link.clock.report();
    DigestBlock {
        report: report.number_on_wire(),
        end_agreed: links.end_agreed,
        digest: report.digest,
        clock_min: clock.map_or(CLOCK_UNKNOWN, |clock| clock.min(CLOCK_UNKNOWN - 1)),
    }
}

/// Appends a run of `owner` that can be read by itself, when it fits. Answers how many frames it has.
#[inline(never)]
fn put_extra_run(
    links: &Links,
    owner: PeerId,
    (first, end): (Frame, Frame),
    bytes: &mut Vec<u8>,
) -> u64 {
    let room = DATAGRAM_BYTES_MAX.saturating_sub(bytes.len());
    let Some(budget) = room.checked_sub(wire::EXTRA_RUN_HEAD_BYTES_MAX) else { return 0 };
    let link = links.link(owner);
    let confirmed = link.map_or(Frame::ZERO, |link| link.confirmed);
    let report = link.and_then(|link| link.report);
    let report = report.map(|(number, digest)| ((number & 0x7f) as u8, digest));
    // Frames below the floor are not kept; a member that lacks them cannot be in this view.
    let first = first.max(links.queue.floor());
    let at = wire::start_extra_run(bytes, owner, (confirmed, first), report);
    let (count, has_meta) =
        wire::encode_run(&links.queue, owner, (first, end), Base::Idle, budget, bytes);
    wire::finish_extra_run(bytes, at, count, has_meta);
    count.into()
}

/// How many frames a peer may be silent before others are asked for its inputs: at 20 % loss four datagrams in a row
/// are lost once in 600 frames.
const RELAY_AFTER_FRAMES: u64 = 4;

/// How long a datagram is at most that has a new frame to tell, but for what is passed on of others, and unless two frames alone
/// take more, or four where some are missing. What it repeats beyond that comes too seldom to be worth the room on a slow line; and 60
/// such datagrams a second stay within the smallest window of SCTP, four packets of 1,200 bytes, where a round trip takes
/// 0.3 s. One player's input of a few bytes never fills it.
const USUAL_BYTES_MAX: usize = 256;

/// Of so many datagrams one has the oldest frames as well, though nothing is known to be missing.
const OLDEST_EVERY: u64 = 4;

/// In how many places frames are sent again with one datagram, besides the oldest.
const GAPS_MAX: usize = 3;
