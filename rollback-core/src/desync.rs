//! Keeps the reports of all members (digests of their inputs and states) and compares them. Does not hash a state.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use core::num::NonZeroU32;

use crate::config::REPORTS_PENDING_MAX;
use crate::resync::NUMBERS_APART;
use crate::wire::Digest;
use crate::{Chain, Frame, PeerId, PeerSet, StateHash};

/// The twin chains, of inputs and of states, and the reports of all members.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    interval: u32,
    /// The frame of the next regular report.
    next: Frame,
    states: Chain,
    /// Own reports that are not agreed, and the last one that is.
    own: VecDeque<Report>,
    theirs: Box<[Theirs]>,
    /// The number of the next report, where it does not follow the last one's.
    next_number: Option<u32>,
    /// Whether there are reports that were not compared yet.
    has_news: bool,
    /// Up to where these agree with this peer, as long as nothing is new.
    settled: Option<(PeerSet, Frame)>,
}

/// What is known of one peer's reports.
#[derive(Clone, Debug, Default)]
struct Theirs {
    /// Those heard ahead of their agreement, by number; nothing until there is one.
    heard: Option<Box<[Option<Heard>; HEARD_MAX]>>,
    /// The number of the last one in which it is known to agree.
    agreed: u32,
    /// Of frames before this one it tells nothing: the first one of its present life, or of what was not recorded before this peer came.
    start: Frame,
}

/// A report that was heard. The first one of all is of no frame and never heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    number: NonZeroU32,
    digest: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) number: u32,
    pub(crate) frame: Frame,
    pub(crate) digest: Digest,
    /// The chain of states up to it, and that of inputs.
    states: Chain,
    pub(crate) inputs: Chain,
}

impl Report {
    /// Before the first frame.
    const START: Self = Self {
        number: 0,
        frame: Frame::ZERO,
        digest: Digest { inputs: 0, whole: 0 },
        states: Chain::from_u64(0),
        inputs: Chain::from_u64(0),
    };

    #[cfg(test)]
    pub(crate) const fn made_up(number: u32, frame: Frame, digest: Digest) -> Self {
        Self { number, frame, digest, ..Self::START }
    }

    /// The bits of the number that travel.
    pub(crate) fn number_on_wire(&self) -> u8 {
        (self.number & 0x7f) as u8
    }
}

/// Two members' reports differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Disagreement {
    pub(crate) peer: PeerId,
    pub(crate) frame: Frame,
    /// Whether the inputs are equal, so that the simulation is not deterministic.
    pub(crate) inputs_are_equal: bool,
}

impl Reports {
    /// No reports yet of so many peers; one is due every `interval` frames.
    pub(crate) fn new(interval: u32, peers: usize) -> Self {
        let start = Report::START;
        Self {
            interval,
            next: Frame::ZERO.plus(interval),
            states: Chain::default(),
            own: {
                let mut own = VecDeque::with_capacity(REPORTS_PENDING_MAX);
                own.push_back(start);
                own
            },
            theirs: vec![Theirs::default(); peers].into(),
            next_number: None,
            has_news: false,
            settled: None,
        }
    }

    /// The frame of the next regular report.
    pub(crate) fn next_frame(&self) -> Frame {
        self.next
    }

    /// The frame of the first regular report that covers all before `end`.
    pub(crate) fn covering(&self, end: Frame) -> Frame {
        Frame::new(end.index().next_multiple_of(self.interval))
    }

    /// The last own report.
    pub(crate) fn last(&self) -> Report {
        self.own.back().copied().unwrap_or(Report::START)
    }

    /// The own report of this number, as far as it is kept; else the one that is next to it.
    pub(crate) fn nearest(&self, number: u32) -> Report {
        let near = self.own.iter().min_by_key(|own| own.number.abs_diff(number));
        near.copied().unwrap_or_else(|| self.last())
    }

    /// Adds an own report of the final state of `frame`, and of what the steps since the last report gave.
    pub(crate) fn push(
        &mut self,
        frame: Frame,
        (hash, outputs): (StateHash, Chain),
        inputs: Chain,
    ) -> Report {
        self.states = self.states.link(&hash.to_bytes()).link(&outputs.to_u64().to_le_bytes());
        let [low, high, ..] = inputs.short().to_le_bytes();
        let whole = self.states.link(&inputs.to_u64().to_le_bytes()).short();
        let digest = Digest { inputs: u16::from_le_bytes([low, high]), whole };
        let number = self.next_number.take().unwrap_or(self.last().number + 1);
        let report = Report { number, frame, digest, states: self.states, inputs };
        self.own.push_back(report);
        self.next = frame.plus(self.interval - frame.index() % self.interval);
        self.has_news = true;
        report
    }

    /// The frame of the first own report after the one of `frame`.
    pub(crate) fn first_after(&self, frame: Frame) -> Option<Frame> {
        self.own.iter().find(|own| own.frame > frame).map(|own| own.frame)
    }

    /// The own reports after `agreed`, up to the one of `last`.
    pub(crate) fn between(&self, agreed: Frame, last: Frame) -> impl Iterator<Item = Report> {
        self.own.iter().filter(move |own| agreed < own.frame && own.frame <= last).copied()
    }

    /// The numbers of the own report of `agreed` and of the one after it.
    pub(crate) fn numbers_around(&self, agreed: Frame) -> (u32, u32) {
        let before = self.own.iter().rfind(|own| own.frame <= agreed);
        let before = before.map_or(0, |own| own.number);
        let after = self.own.iter().find(|own| own.frame > agreed);
        (before, after.map_or(before + 1, |own| own.number))
    }

    /// The own report of this number, where it is kept.
    pub(crate) fn numbered(&self, number: u32) -> Option<Report> {
        self.own.iter().find(|own| own.number == number).copied()
    }

    /// The last own report before the one of this number, where it is kept.
    pub(crate) fn before(&self, number: u32) -> Option<Report> {
        self.own.iter().rfind(|own| own.number < number).copied()
    }

    /// Forgets the own reports after one that all agree on; the next one has this number.
    pub(crate) fn rewind(&mut self, agreed: u32, next_number: u32) {
        while self.own.len() > 1 && self.last().number > agreed {
            self.own.pop_back();
        }
        let last = self.last();
        self.states = last.states;
        self.next = last.frame.plus(self.interval - last.frame.index() % self.interval);
        self.next_number = Some(next_number);
        self.has_news = true;
    }

    /// The next report is of a state that all took over after so many attempts. Whoever took it over with them knows its number.
    pub(crate) fn skip_attempts(&mut self, attempts: u8) {
        let number = self.last().number + 1 + u32::from(attempts) * NUMBERS_APART;
        self.next_number.get_or_insert(number);
    }

    /// Forgets what was heard from a peer in a former life. In the new one it tells nothing of frames before `from`: it has
    /// compared their states with those that were recorded.
    pub(crate) fn begin_life(&mut self, peer: PeerId, from: Frame) {
        if let Some(theirs) = self.theirs.get_mut(peer.index()) {
            theirs.heard = None;
            theirs.start = from;
            self.has_news = true;
        }
    }

    /// Those of `peers` who tell what their state of `frame` is: not those whose new life begins after it.
    pub(crate) fn tellers(&self, peers: PeerSet, frame: Frame) -> PeerSet {
        let tells = |theirs: &Theirs| theirs.start <= frame;
        peers.iter().filter(|peer| self.theirs.get(peer.index()).is_some_and(tells)).collect()
    }

    /// States before this frame were compared with those that all have recorded: nobody need say what its own were.
    pub(crate) fn take_recorded(&mut self, end: Frame) {
        for theirs in &mut self.theirs {
            theirs.start = theirs.start.max(end);
        }
        self.has_news = true;
    }

    /// The frame of the oldest own report that is not agreed, where another is so far beyond it that it has agreed on it with all
    /// others, and keeps what it said of it no more.
    pub(crate) fn left_behind(&self) -> Option<Frame> {
        let oldest = self.own.get(1)?;
        let pending_max = u32::try_from(REPORTS_PENDING_MAX).unwrap_or(u32::MAX);
        let is_beyond = |heard: &Heard| heard.number.get() >= oldest.number + pending_max;
        let mut heard = self.theirs.iter().flat_map(|theirs| &theirs.heard);
        heard.any(|heard| heard.iter().flatten().any(is_beyond)).then_some(oldest.frame)
    }

    /// Takes a peer's report, of whose number 7 bits travelled.
    pub(crate) fn handle_report(&mut self, peer: PeerId, number: u8, digest: Digest) -> u32 {
        let last = self.last().number;
        let ahead = u32::from(number.wrapping_sub((last & 0x7f) as u8) & 0x7f);
        let number = if ahead < 64 { last + ahead } else { (last + ahead).saturating_sub(128) };
        if let (Some(theirs), Some(number)) =
            (self.theirs.get_mut(peer.index()), NonZeroU32::new(number))
            && let Some(slot) = theirs.heard.get_or_insert_default().get_mut(place(number.get()))
            && slot.is_none_or(|kept| kept.number <= number)
        {
            *slot = Some(Heard { number, digest });
            self.has_news = true;
        }
        number
    }

    /// Whether this peer is known to agree on all that was reported here.
    pub(crate) fn agrees_on_last(&self, peer: PeerId) -> bool {
        let last = self.last().number;
        self.theirs.get(peer.index()).is_some_and(|theirs| theirs.agreed >= last)
    }

    /// Whether all of them have reported a state that was taken over in place of the one of this number.
    pub(crate) fn have_adopted(&self, others: PeerSet, number: u32) -> bool {
        let is_beyond = |heard: &Heard| heard.number.get() >= number + NUMBERS_APART;
        others.iter().filter_map(|peer| self.theirs.get(peer.index())).all(|theirs| {
            theirs.heard.iter().flat_map(|heard| heard.iter().flatten()).any(is_beyond)
        })
    }

    /// Compares all anew, also what was compared before.
    pub(crate) fn look_again(&mut self) {
        self.has_news = true;
    }

    /// Compares what was heard with what is known. Answers a disagreement, when there is one.
    #[inline]
    pub(crate) fn compare(&mut self, members: PeerSet) -> Option<Disagreement> {
        if core::mem::take(&mut self.has_news) { self.compare_news(members) } else { None }
    }

    #[inline(never)]
    fn compare_news(&mut self, members: PeerSet) -> Option<Disagreement> {
        self.settled = None;
        let agreed = self.own.front().map_or(0, |own| own.number);
        for peer in members.iter() {
            let Some(theirs) = self.theirs.get_mut(peer.index()) else { continue };
            for own in &self.own {
                if own.number <= theirs.agreed {
                    continue;
                }
                if own.frame < theirs.start {
                    theirs.agreed = own.number;
                    continue;
                }
                let heard =
                    theirs.heard.as_ref().and_then(|heard| *heard.get(place(own.number))?);
                match heard.filter(|heard| heard.number.get() == own.number) {
                    Some(heard) if heard.digest == own.digest => theirs.agreed = own.number,
                    // All that are asked agree on it; this one was not.
                    Some(_) if own.number == agreed => {}
                    Some(Heard { digest, .. }) => {
                        let inputs_are_equal = digest.inputs == own.digest.inputs;
                        return Some(Disagreement { peer, frame: own.frame, inputs_are_equal });
                    }
                    None => {}
                }
            }
        }
        None
    }

    /// The frame up to which all `others` agree with this peer.
    #[inline]
    pub(crate) fn agreed_frame(&mut self, others: PeerSet) -> Frame {
        match self.settled {
            Some((asked, agreed)) if asked == others && !self.has_news => agreed,
            _ => self.find_agreed(others),
        }
    }

    #[inline(never)]
    fn find_agreed(&mut self, others: PeerSet) -> Frame {
        let theirs = others.iter().filter_map(|peer| self.theirs.get(peer.index()));
        let number = theirs.map(|theirs| theirs.agreed).min().unwrap_or(self.last().number);
        while self.own.len() > 1 && self.own.get(1).is_some_and(|own| own.number <= number) {
            self.own.pop_front();
        }
        let agreed = self.own.front().map_or(Frame::ZERO, |own| own.frame);
        self.settled = Some((others, agreed));
        agreed
    }
}

/// How many reports of a peer are kept that this one has not reached.
const HEARD_MAX: usize = 2 * REPORTS_PENDING_MAX;

/// Where a report of this number is kept.
fn place(number: u32) -> usize {
    number as usize % HEARD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn hash(value: u128) -> StateHash {
        StateHash::from_u128(value)
    }

    #[test]
    fn reports_are_agreed_when_every_member_has_said_the_same() {
        let others: PeerSet = [peer(1), peer(2)].into_iter().collect();
        let mut reports = Reports::new(10, 3);
        assert_eq!(reports.next_frame(), Frame::new(10));
        let report = reports.push(Frame::new(10), (hash(1), Chain::default()), Chain::default());
        reports.handle_report(peer(1), 1, report.digest);
        assert_eq!(reports.compare(others), None);
        assert_eq!(reports.agreed_frame(others), Frame::ZERO);
        reports.handle_report(peer(2), 1, report.digest);
        assert_eq!(reports.compare(others), None);
        assert_eq!(reports.agreed_frame(others), Frame::new(10));
        assert_eq!(reports.next_frame(), Frame::new(20));
    }

    #[test]
    fn one_that_is_not_asked_cannot_dispute_what_all_others_agree_on() {
        let (asked, all) = ([peer(1)].into_iter().collect(), PeerSet::from_bits(0b110));
        let mut reports = Reports::new(10, 3);
        let report = reports.push(Frame::new(10), (hash(1), Chain::default()), Chain::default());
        reports.handle_report(peer(1), 1, report.digest);
        assert_eq!((reports.compare(all), reports.agreed_frame(asked)), (None, Frame::new(10)));
        reports.handle_report(peer(2), 1, Digest { inputs: 0, whole: 5 });
        assert_eq!(reports.compare(all), None);
        reports.handle_report(peer(2), 1, report.digest);
        assert_eq!((reports.compare(all), reports.agrees_on_last(peer(2))), (None, true));
    }

    #[test]
    fn a_report_heard_early_is_compared_when_its_frame_is_reached() {
        let others: PeerSet = [peer(1)].into_iter().collect();
        let mut reports = Reports::new(10, 2);
        reports.handle_report(peer(1), 1, Digest { inputs: 0, whole: 5 });
        assert_eq!(reports.compare(others), None);
        reports.push(Frame::new(10), (hash(1), Chain::default()), Chain::default());
        let disagreement = reports.compare(others).unwrap();
        assert_eq!((disagreement.peer, disagreement.frame), (peer(1), Frame::new(10)));
    }

    #[test]
    fn numbers_of_reports_wrap() {
        let others: PeerSet = [peer(1)].into_iter().collect();
        let mut reports = Reports::new(1, 2);
        for number in 1..400_u32 {
            let report = reports.push(
                Frame::new(number),
                (hash(number.into()), Chain::default()),
                Chain::default(),
            );
            assert_eq!(reports.handle_report(peer(1), (number % 128) as u8, report.digest), number);
            assert_eq!(reports.compare(others), None);
            assert_eq!(reports.agreed_frame(others), Frame::new(number));
        }
    }
}
