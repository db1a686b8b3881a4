//! Puts a datagram together from what its receiver lacks. Decides nothing else.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::links::Links;
use crate::clock_sync::send_clock;
use crate::input_queue::InputQueue;
use crate::peer::Link;
use crate::search::{LeafMessage, Search};
use crate::wire::{
    self, Base, CLOCK_UNKNOWN, Control, DATAGRAM_BYTES_MAX, DigestBlock, Hello, InputsHead, Kind,
    Want,
};
use crate::{Frame, PEERS_MAX, PeerId, PeerSet, Timestamp};

impl Links {
    /// The members of whom this peer lacks inputs that others may have: of departing ones what others claim, and of silent
    /// ones what is new. Of two peers neither lacks a third one's.
    pub(super) fn find_lacking(&self, now: Timestamp) -> PeerSet {
        if self.links.len() == 1 {
            return PeerSet::EMPTY;
        }
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
        let is_any_due =
            !self.control.is_empty() || !self.hellos_due.or(self.inputs_due).is_empty();
        if is_any_due { self.write_due_datagram(now, bytes) } else { None }
    }

    #[inline(never)]
    fn write_due_datagram(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<PeerId> {
        if !self.control.is_empty()
            && let Some((to, message)) = self.control.pop_front()
        {
            let index = self.index_of(to)?;
            let link = self.links.get_mut(index)?;
            wire::start(Kind::Control, bytes);
            message.encode(bytes);
            wire::seal(&link.keys_out, wire::Bound::default(), bytes);
            link.count_sent(bytes.len());
            return Some(to);
        }
        if let Some(to) = self.hellos_due.lowest() {
            self.hellos_due.remove(to);
            let index = self.index_of(to)?;
            let link = self.links.get_mut(index)?;
            link.hello_at = now;
            write_hello(&self.hello, link, bytes);
            link.count_sent(bytes.len());
            return Some(to);
        }
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
    let head = InputsHead {
        ack: queue.end(link.peer),
        first,
        count: 0,
        clock: send_clock(now),
        confirmed: (!has_two_peers).then(|| queue.confirmed_end().min(end)),
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

    let fixed = bytes.len();
    // The main run stops at the first frame that the receiver holds behind a gap.
    let gap_end = match link.held_beyond_gap {
        0 => end,
        held => first.plus(1 + held.trailing_zeros()).min(end),
    };
    let frame_bytes = wire::frame_bytes_max(queue, own);
    let limit = match end > link.sent_end {
        true => USUAL_BYTES_MAX.max(fixed + 2 * frame_bytes + wire::EXTRA_RUN_HEAD_BYTES_MAX),
        false => DATAGRAM_BYTES_MAX,
    };
    let limit = limit.min(DATAGRAM_BYTES_MAX);
    let budget = limit.saturating_sub(fixed);
    let (mut count, mut has_meta) =
        wire::encode_run(queue, own, (first, gap_end), Base::Previous, budget, bytes);
    if u32::from(count) < gap_end.since(first) {
        bytes.truncate(fixed);
        (count, has_meta) = put_oldest(queue, own, (first, gap_end), budget / 2, bytes);
    }
    wire::finish_main_run(bytes, links.long, count, has_meta);

    // What is newest goes along even when not all before it does.
    let sent = first.plus(count.into());
    let beyond = link.acked.plus(33 - link.held_beyond_gap.leading_zeros()).min(end);
    let rest = if link.held_beyond_gap == 0 { sent } else { beyond.max(sent) };
    if rest < end {
        let room = limit.saturating_sub(bytes.len() + wire::EXTRA_RUN_HEAD_BYTES_MAX);
        let newest = u32::try_from(room / frame_bytes).unwrap_or(u32::MAX).max(1);
        put_extra_run(links, own, (rest.max(end.minus(newest)), end), bytes);
    }
    if !link.wants_of.is_empty() {
        put_wanted_runs(links, link, bytes);
    }
    if links.queue.has_hints() {
        let room = DATAGRAM_BYTES_MAX.saturating_sub(bytes.len());
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
        link.count_sent(bytes.len());
    }
}

/// Appends the oldest of the frames that do not all fit, in this budget: the other half of the room is for the newest. One frame
/// goes in any case, or nobody would ever go on.
#[inline(never)]
fn put_oldest(
    queue: &InputQueue,
    own: PeerId,
    frames: (Frame, Frame),
    budget: usize,
    bytes: &mut Vec<u8>,
) -> (u8, bool) {
    let some = wire::encode_run(queue, own, frames, Base::Previous, budget, bytes);
    if some.0 > 0 {
        return some;
    }
    let (room, one) = (DATAGRAM_BYTES_MAX.saturating_sub(bytes.len()), frames.0.next());
    wire::encode_run(queue, own, (frames.0, one), Base::Previous, room, bytes)
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

/// The last own report, in turn with the last one that the receiver has made as well: a receiver that may make no
/// further one until an earlier one is agreed can compare that.
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

/// Appends a run of `owner` that can be read by itself, when it fits.
#[inline(never)]
fn put_extra_run(links: &Links, owner: PeerId, (first, end): (Frame, Frame), bytes: &mut Vec<u8>) {
    let room = DATAGRAM_BYTES_MAX.saturating_sub(bytes.len());
    let Some(budget) = room.checked_sub(wire::EXTRA_RUN_HEAD_BYTES_MAX) else { return };
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
}

/// How many frames a peer may be silent before others are asked for its inputs: at 20 % loss four datagrams in a row
/// are lost once in 600 frames.
const RELAY_AFTER_FRAMES: u64 = 4;

/// How long a datagram is at most that has a new frame to tell, unless two frames alone take more. What it repeats beyond
/// that comes too seldom to be worth the room on a slow line; and 60 such datagrams a second stay within the smallest
/// window of SCTP, four packets of 1,200 bytes, where a round trip takes 0.3 s. Short inputs never fill it.
const USUAL_BYTES_MAX: usize = 256;

/// What the search for a desync has to tell `peer`.
pub(crate) fn search_messages(
    search: Option<&Search>,
    peer: PeerId,
    control: &mut VecDeque<(PeerId, Control)>,
) {
    let Some(search) = search else { return };
    let hashes = search.hashes.clone();
    control.push_back((peer, Control::DesyncHashes { agreed: search.agreed, hashes }));
    if let Some(LeafMessage { frame, total, start, digests }) = search.leaf_message() {
        control.push_back((peer, Control::DesyncLeaves { frame, total, start, digests }));
    }
    control.extend(search.page_message().map(|pages| (peer, Control::DesyncPages(pages))));
}
