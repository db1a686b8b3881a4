//! The mesh as this peer sees it: takes datagrams of the other peers, and knows what each of them has and said. Steps no game.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::event::Events;
use super::membership::{Membership, Verdict};
use super::rates::Rates;
use crate::bytes::ByteReader;
use crate::desync::Reports;
use crate::input_queue::InputQueue;
use crate::peer::Link;
use crate::resync::Resync;
use crate::search::Search;
use crate::session::Event;
use crate::time::micros;
use crate::wire::{
    self, Base, Control, Goodbye, Hello, Inputs, InputsHead, Kind, LinkKeys, WireError,
};
use crate::{Facts, Frame, PeerId, PeerSet, SessionConfig, StateHash, Ticket, Timestamp};

/// The mesh as this peer sees it.
pub(crate) struct Links {
    pub(crate) local: PeerId,
    pub(crate) queue: InputQueue,
    pub(crate) links: Box<[Link]>,
    pub(crate) membership: Membership,
    pub(crate) reports: Reports,
    pub(crate) events: Events,
    // Boxed, since states seldom part.
    pub(crate) search: Option<Box<Search>>,
    pub(crate) resync: Option<Box<Resync>>,
    pub(crate) goodbye: Option<Goodbye>,
    /// Peers that said that they have left in order.
    pub(super) have_left: PeerSet,
    /// Peers that know that the episode is over.
    pub(super) done: PeerSet,
    /// Whether play has begun, so that inputs are sent.
    pub(crate) has_started: bool,
    /// Whether the last call to advance had to wait.
    pub(crate) is_waiting: bool,
    /// Whether the end is agreed, as far as this peer knows.
    pub(crate) end_agreed: bool,
    pub(crate) config: SessionConfig,
    /// The facts that this peer tells of itself, and the hash of its first state.
    pub(crate) facts: Facts,
    pub(crate) start: StateHash,
    /// Frame numbers take two bytes instead of one.
    pub(crate) long: bool,
    /// How long a frame takes, at the rate at which the members play.
    pub(crate) period_micros: u64,
    pub(super) rates: Rates,
    /// How long a peer must be silent until the application is told.
    pub(super) interrupted_micros: u64,
    /// No silence matters before this.
    pub(super) silence_due: Timestamp,
    /// Closed slots: no peer is let into them again.
    pub(super) closed_slots: PeerSet,
    pub(super) config_digest: u64,
    pub(super) ticket: Ticket,
    /// Whether a peer is expected back, or came back and still lacks inputs.
    pub(super) has_returning: bool,
    /// While this peer waits to be let in: every frame before this one was given to it from a recording.
    pub(crate) caught_up_to: Option<Frame>,
    /// Whether it skips these frames to a state that it was given. It is let in after that.
    pub(super) is_passing: bool,
    /// The first frame after the last state that all took over.
    pub(super) resynced: Frame,
    /// Peers that left in the frames given from the recording.
    pub(crate) left_in_rows: PeerSet,
    /// Members whose inputs this peer lacks, so that it asks the others for them.
    pub(super) lacking: PeerSet,
    /// All other peers, members or not; and those that may not have this one's hello.
    pub(super) remotes: PeerSet,
    pub(super) unheard_by: PeerSet,
    /// Peers that are owed an answer: to a goodbye; that the others go on without them; that all others agree on the state for which
    /// they search a difference.
    pub(super) goodbyes_owed: PeerSet,
    pub(super) evictions_owed: PeerSet,
    pub(super) agreements_owed: PeerSet,
    /// To whom a hello is due, and to whom a datagram of inputs.
    pub(super) hellos_due: PeerSet,
    pub(super) inputs_due: PeerSet,
    /// When this peer last said that it is ready to be let in.
    pub(super) ready_at: Timestamp,
    /// The first frame of this peer's new life, once it was let in.
    pub(crate) begins_at: Option<Frame>,
    /// The number of the report that the others dispute, as this peer was let in.
    pub(super) disputed: Option<u32>,
    /// The least number of frames between a claim that lets a peer in and the first frame of its new life.
    pub(super) lead: u32,
    pub(crate) control: VecDeque<(PeerId, Control)>,
    pub(super) verdict: Option<Verdict>,
    pub(super) stable: Frame,
    strangers: u64,
}

impl Links {
    pub(crate) fn new(
        config: &SessionConfig,
        ticket: &Ticket,
        (facts, start): (Facts, StateHash),
        now: Timestamp,
    ) -> Self {
        let mut queue = InputQueue::new(config, &ticket.roster);
        let late = config.late_peers().and(ticket.roster.peers());
        let mut membership = Membership::new(ticket.local, ticket.roster.peers().minus(late));
        for peer in late.iter() {
            queue.close(peer, Frame::ZERO);
            membership.freeze(peer);
        }
        let digest = config.digest();
        let local = ticket.local;
        let keys = |from, to| LinkKeys::new(ticket, digest, from, to);
        let remotes = ticket.roster.peers().without(local);
        let link = |peer| {
            let keys_out = keys((local, ticket.incarnation), peer);
            Link::new(peer, keys_out, keys((peer, 0), local), now)
        };
        Self {
            local,
            long: queue.capacity() > SHORT_HISTORY_MAX,
            queue,
            links: remotes.iter().map(link).collect(),
            membership,
            reports: Reports::new(config.report_interval_frames(), ticket.roster.peer_count()),
            events: Events::default(),
            search: None,
            resync: None,
            goodbye: None,
            have_left: PeerSet::EMPTY,
            done: PeerSet::EMPTY,
            has_started: false,
            is_waiting: false,
            end_agreed: false,
            config: config.clone(),
            facts,
            start,
            period_micros: micros(config.frame_duration()),
            rates: Rates::new(config.pace_min_percent()),
            interrupted_micros: micros(INTERRUPTED_AFTER),
            silence_due: Timestamp::ZERO,
            closed_slots: PeerSet::EMPTY,
            config_digest: digest,
            ticket: ticket.clone(),
            has_returning: false,
            caught_up_to: None,
            is_passing: false,
            resynced: Frame::ZERO,
            left_in_rows: PeerSet::EMPTY,
            lacking: PeerSet::EMPTY,
            remotes,
            unheard_by: remotes,
            goodbyes_owed: PeerSet::EMPTY,
            evictions_owed: PeerSet::EMPTY,
            agreements_owed: PeerSet::EMPTY,
            hellos_due: remotes,
            inputs_due: PeerSet::EMPTY,
            ready_at: Timestamp::ZERO,
            begins_at: None,
            disputed: None,
            lead: u32::from(config.tick_rate_hz()) / 2,
            control: VecDeque::new(),
            verdict: None,
            stable: Frame::ZERO,
            strangers: 0,
        }
    }

    /// What this peer says before play. It is seldom said, so it is not kept.
    pub(crate) fn hello(&self) -> Hello {
        Hello::new(&self.config, &self.ticket, self.facts.clone(), self.start)
    }

    pub(crate) fn link(&self, peer: PeerId) -> Option<&Link> {
        self.links.get(self.index_of(peer)?)
    }

    /// Where a peer's link is: they lie in order, and this peer has none.
    pub(super) fn index_of(&self, peer: PeerId) -> Option<usize> {
        let index = peer.index().checked_sub(usize::from(peer > self.local))?;
        self.links.get(index).filter(|link| link.peer == peer).map(|_| index)
    }

    /// Where the local stream ends.
    pub(crate) fn own_end(&self) -> Frame {
        self.queue.end(self.local)
    }

    /// The other members that still take part.
    pub(crate) fn others(&self) -> PeerSet {
        self.membership.view().members.without(self.local)
    }

    /// The other members that do not know yet that the episode is over.
    pub(crate) fn others_not_done(&self) -> PeerSet {
        self.others().minus(self.done)
    }

    /// The peers whose last report is awaited at the end of the episode. A peer that is done has seen all agree on the end. It may be
    /// gone, so no view without a silent member can be agreed with it any more; but where it agrees with this peer, silent members
    /// need not be awaited.
    pub(super) fn awaited_at_end(&self) -> PeerSet {
        let others = self.others_not_done();
        let is_known = self.done.iter().any(|peer| self.reports.agrees_on_last(peer));
        if is_known { others.minus(self.membership.frozen_members()) } else { others }
    }

    /// The verdict of the members on this peer or the view, once.
    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    pub(crate) fn strangers(&self) -> u64 {
        self.strangers
    }

    /// The peers whose inputs of the frame to be confirmed next are missing.
    #[inline(never)]
    pub(super) fn missing_at(&self, confirmed: Frame) -> PeerSet {
        let is_missing = |peer: &PeerId| {
            let closed = self.queue.closed(*peer);
            self.queue.end(*peer) <= confirmed && closed.is_none_or(|closed| closed > confirmed)
        };
        self.links.iter().map(|link| link.peer).filter(is_missing).collect()
    }

    /// The member that has confirmed and reported the least, as far as is known.
    #[inline(never)]
    pub(super) fn slowest(&self) -> PeerId {
        let others = self.links.iter().filter(|link| self.others().contains(link.peer));
        let slowest = others.min_by_key(|link| (link.confirmed, link.report.map(|r| r.0)));
        slowest.map_or(self.local, |link| link.peer)
    }

    /// Every frame before this one is confirmed by every member. Stands still while a departure is proposed.
    pub(crate) fn stable_end(&mut self) -> Frame {
        if self.membership.departing().is_empty() {
            let told = self.links.iter().filter(|link| self.others().contains(link.peer));
            let told = told.map(|link| match self.queue.closed(link.peer) {
                Some(closed) if link.confirmed >= closed => Frame::MAX,
                _ => link.confirmed,
            });
            let least = told.min().unwrap_or(Frame::MAX).min(self.queue.confirmed_end());
            let least = self.caught_up_to.map_or(least, |end| least.min(end));
            self.stable = self.stable.max(least);
        }
        self.stable
    }

    /// Takes a datagram. Whatever is wrong with it is counted, and it is dropped.
    pub(crate) fn handle_datagram(&mut self, now: Timestamp, from: PeerId, bytes: &[u8]) {
        let Some(index) = self.index_of(from) else {
            self.strangers += 1;
            return;
        };
        let is_returning = self.is_returning(from);
        let is_frozen = self.membership.is_frozen(from) && !is_returning;
        let Some(link) = self.links.get_mut(index) else { return };
        link.counters.datagrams_received += 1;
        link.counters.bytes_received += bytes.len() as u64;
        if is_frozen {
            self.evictions_owed.insert(from);
            return;
        }
        let read = match Kind::of(bytes) {
            Some(Kind::Hello) => self.handle_hello(index, now, bytes),
            // Inputs of one that is not let in yet, or to this one before it is, are sent again.
            Some(Kind::Inputs) if is_returning || self.caught_up_to.is_some() => return,
            Some(Kind::Inputs) => self.handle_inputs(index, now, bytes),
            Some(Kind::Control) => self.handle_control(index, now, bytes),
            None => Err(Refused::Tag),
        };
        let Some(link) = self.links.get_mut(index) else { return };
        match read {
            Ok(()) => {
                if core::mem::take(&mut link.is_interrupted) {
                    self.events.push(Event::Resumed { peer: from });
                }
            }
            Err(Refused::Tag) => link.counters.tags_wrong += 1,
            Err(Refused::Malformed(_)) => link.counters.malformed += 1,
        }
    }

    #[inline(never)]
    fn handle_hello(&mut self, index: usize, now: Timestamp, bytes: &[u8]) -> Result<(), Refused> {
        let link = self.links.get_mut(index).ok_or(Refused::Tag)?;
        if wire::is_next_hello(&link.keys_in, bytes) {
            // It plays the next episode already, so it has seen the end of this one agreed.
            self.done.insert(link.peer);
            link.handle_heard(now);
            return Ok(());
        }
        if !wire::is_sealed(&link.keys_in, wire::Bound::default(), bytes) {
            return Err(Refused::Tag);
        }
        let hello = Hello::decode(bytes.get(wire::HEAD_BYTES..).unwrap_or_default())?;
        if link.returning.is_some_and(|returning| returning.incarnation != hello.incarnation) {
            return Ok(());
        }
        link.handle_heard(now);
        match hello.heard {
            true => self.unheard_by.remove(link.peer),
            false => _ = self.hellos_due.insert(link.peer),
        }
        if link.handshake.remote.is_none() {
            let sender = (link.peer, hello.incarnation);
            link.keys_in = LinkKeys::new(&self.ticket, self.config_digest, sender, self.local);
            link.handshake.handle_hello(hello);
        }
        Ok(())
    }

    fn handle_inputs(&mut self, index: usize, now: Timestamp, bytes: &[u8]) -> Result<(), Refused> {
        let (own_end, width, peers) =
            (self.own_end(), self.queue.width(), self.ticket.roster.peer_count());
        let link = self.links.get(index).ok_or(Refused::Tag)?;
        let from = link.peer;
        let flags = wire::flags(bytes);
        let mut reader = ByteReader::new(bytes.get(wire::HEAD_BYTES..).unwrap_or_default());
        let ends = (own_end, self.queue.end(from));
        let head =
            InputsHead::decode(flags, &mut reader, self.long, ends).map_err(|_| Refused::Tag)?;
        let view = self.view_of(link, &head, bytes).ok_or(Refused::Tag)?;
        let players_of = |peer| self.queue.players_of(peer).len();
        let inputs = Inputs::decode(flags, &mut reader, &head, players_of, (from, width))?;
        let applied =
            wire::apply_run(&mut self.queue, from, &inputs.run, Base::Previous, Frame::MAX)?;

        let is_in_view = view == self.membership.view().number;
        let (mut newest, mut has_new) = (inputs.run.end(), applied.new > 0);
        if inputs.has_extras() {
            let (end, is_new) = self.take_extras(now, index, &inputs, is_in_view);
            (newest, has_new) = (newest.max(end), has_new | is_new);
        }
        let link = self.links.get_mut(index).ok_or(Refused::Tag)?;
        link.handle_heard(now);
        if !self.unheard_by.is_empty() {
            self.unheard_by.remove(from);
        }
        link.seen_view = view;
        link.count_applied(applied, false);
        link.clock.handle_sample(now, head.clock);
        link.handle_head(&head, own_end);
        if is_in_view {
            // With two peers the confirmed frame follows from what is held of both.
            let implied = (peers == 2).then(|| head.ack.min(newest));
            link.handle_confirmed(head.confirmed.or(implied).unwrap_or_default(), own_end);
        }
        if inputs.has_wants() {
            inputs.wants().for_each(|want| link.handle_want(want));
        }
        let delay = self.queue.input_delay_of(from);
        link.handle_progress(now, newest.minus(delay));
        if has_new {
            // In time is an input of the frame that is stepped next, or of a later one.
            link.lateness.note(self.queue.simulated().plus(delay).next().since(newest));
        }
        if let Some(block) = head.digest {
            if block.clock_min != wire::CLOCK_UNKNOWN {
                link.clock.handle_report(block.clock_min);
            }
            if block.end_agreed {
                self.done.insert(from);
            }
            let number = self.reports.handle_report(from, block.report, block.digest);
            link.handle_report(number, block.digest);
        }
        Ok(())
    }

    /// The view in which a datagram was sealed: the one in force, or one next to it.
    fn view_of(&self, link: &Link, head: &InputsHead, bytes: &[u8]) -> Option<u8> {
        let view = self.membership.view().number;
        let is_of = |view| wire::is_sealed(&link.keys_in, Link::bound(view, head), bytes);
        match is_of(view) {
            true => Some(view),
            false => [view.wrapping_sub(1), view.wrapping_add(1)].into_iter().find(|v| is_of(*v)),
        }
    }

    #[inline(never)]
    fn handle_control(
        &mut self,
        index: usize,
        now: Timestamp,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        let link = self.links.get_mut(index).ok_or(Refused::Tag)?;
        if !wire::is_sealed(&link.keys_in, wire::Bound::default(), bytes) {
            return Err(Refused::Tag);
        }
        let message = Control::decode(bytes.get(wire::HEAD_BYTES..).unwrap_or_default())?;
        link.handle_heard(now);
        let from = link.peer;
        match message {
            Control::Claim(claim) => {
                self.note_passed_by(index, &claim);
                if !self.has_gone_on_without(from, &claim) {
                    self.handle_claim(&claim)?;
                }
            }
            Control::Goodbye(goodbye) => self.handle_goodbye(index, goodbye),
            Control::GoodbyeHeard => link.heard_goodbye = true,
            Control::Ready { frame } => link.handle_ready(frame),
            Control::Rate { per_mille } => self.handle_rate(index, now, per_mille),
            Control::DesyncFindings(_) | Control::DesyncLeaves(_) | Control::DesyncPages(_) => {
                self.handle_search(from, message);
            }
            Control::Vote(_) | Control::Wanted { .. } | Control::Chunk(_) => {
                self.handle_dispute(from, message);
            }
        }
        Ok(())
    }

    /// The input delay with which nine inputs in ten would have reached every other member in time.
    pub(crate) fn recommended_input_delay(&self) -> Option<u32> {
        let others = self.others();
        let links = self.links.iter().filter(|link| others.contains(link.peer));
        links.filter_map(|link| link.lateness.nine_in_ten()).max()
    }
}

/// Why a datagram is dropped.
pub(super) enum Refused {
    Tag,
    Malformed(#[expect(dead_code, reason = "names the cause in a debugger")] WireError),
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Self::Malformed(error)
    }
}

/// A history of this many frames can be told apart by one byte of a frame number.
const SHORT_HISTORY_MAX: u32 = 128;

/// How long a peer must be silent until the application is told, unless it says otherwise.
const INTERRUPTED_AFTER: Duration = Duration::from_millis(500);

/// How many datagrams carry a digest: a lost one does not delay agreement, and the chain makes later ones cover it.
pub(crate) const DIGEST_REPEATS: u8 = 2;

#[cfg(test)]
mod tests;
