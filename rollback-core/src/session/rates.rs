//! The rate at which all play: the lowest rate that a member can hold, down to a limit. A member that is slow says so again and
//! again; it is not part of any stream, and is forgotten when it is no longer said.

use super::episode::Episode;
use super::links::Links;
use crate::held_rate::FULL_RATE;
use crate::session::Event;
use crate::wire::Control;
use crate::{Game, PeerId, PeerSet, Timestamp};

/// Who cannot hold the tick rate, as far as is known here.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    /// Nobody plays at a lower rate for another's sake, in thousandths of the tick rate.
    min: u16,
    /// What this peer can hold, and what was said of it when.
    own: u16,
    told: (u16, Timestamp),
    /// Whether another has said that it cannot hold the tick rate; and who of all holds the least.
    is_any_slow: bool,
    pub(super) slowest: Option<PeerId>,
    /// What the application was told, and when.
    event: (Option<PeerId>, u8),
    event_at: Timestamp,
}

impl Rates {
    pub(super) fn new(min_percent: u8) -> Self {
        Self {
            min: u16::from(min_percent) * 10,
            own: FULL_RATE,
            told: (FULL_RATE, Timestamp::ZERO),
            is_any_slow: false,
            slowest: None,
            event: (None, 100),
            event_at: Timestamp::ZERO,
        }
    }

    /// What is to be said to all now, if anything is.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<u16> {
        let (told, at) = self.told;
        let is_repeated = self.own < FULL_RATE && now.micros_since(at) >= TOLD_EVERY_MICROS;
        if self.own == told && !is_repeated {
            return None;
        }
        self.told = (self.own, now);
        Some(self.own)
    }
}

impl Links {
    /// A peer says what it can hold.
    pub(super) fn handle_rate(&mut self, index: usize, now: Timestamp, per_mille: u16) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.rate = (per_mille < FULL_RATE).then_some((per_mille, now));
        self.rates.is_any_slow |= per_mille < FULL_RATE;
    }

    /// Says what this peer can hold to all others, where that is due.
    pub(super) fn tell_rate(&mut self, now: Timestamp) {
        if let Some(per_mille) = self.rates.take_due(now) {
            let others = self.others();
            self.control.extend(others.iter().map(|peer| (peer, Control::Rate { per_mille })));
        }
    }

    /// The rate at which all play, in thousandths of the tick rate, where this peer can hold `own`.
    #[inline]
    pub(super) fn pace(&mut self, now: Timestamp, own: u16) -> u16 {
        // Nobody goes slower for another then, so who is the slowest matters to nobody.
        if self.rates.min == FULL_RATE {
            return FULL_RATE;
        }
        self.rates.own = own;
        let rates = &self.rates;
        let is_full = own == FULL_RATE && !rates.is_any_slow && rates.slowest.is_none();
        if is_full && rates.event.0.is_none() { FULL_RATE } else { self.slowest_pace(now, own) }
    }

    #[inline(never)]
    fn slowest_pace(&mut self, now: Timestamp, own: u16) -> u16 {
        let others = self.others();
        for link in &mut self.links {
            let is_old = |(_, at)| now.micros_since(at) >= FORGOTTEN_AFTER_MICROS;
            link.rate = link.rate.filter(|told| others.contains(link.peer) && !is_old(*told));
        }
        let told = self.links.iter().filter_map(|link| Some((link.rate?.0, link.peer)));
        let slowest = told.clone().chain((own < FULL_RATE).then_some((own, self.local))).min();
        self.rates.is_any_slow = told.count() > 0;
        self.rates.slowest = slowest.map(|(_, peer)| peer);
        let pace = slowest.map_or(FULL_RATE, |(rate, _)| rate).max(self.rates.min);
        self.tell_application(now, pace);
        pace
    }

    /// Whoever says something else all the time is told of now and then. Nobody slows the others down by so little that it is not told.
    fn tell_application(&mut self, now: Timestamp, pace: u16) {
        let percent = u8::try_from(pace / 10).unwrap_or(100);
        let peer = self.rates.slowest.filter(|_| percent < 100);
        let (told, told_percent) = self.rates.event;
        if (told, told_percent) == (peer, percent)
            || now.micros_since(self.rates.event_at) < EVENT_EVERY_MICROS
        {
            return;
        }
        let Some(by) = peer.or(told) else { return };
        self.rates.event = (peer, percent);
        self.rates.event_at = now;
        self.events.push(Event::PaceChanged { peer: by, percent });
    }
}

impl<G: Game> Episode<G> {
    /// How far ahead of the other members this peer is, in thousandths of a frame: by so much it is to fall back.
    pub(super) fn advantage(&self, now: Timestamp) -> Option<i64> {
        if self.links.links.is_empty() {
            return None;
        }
        let others = self.links.others_not_done();
        let Some(slowest) = self.links.rates.slowest else { return self.ahead_of(now, others) };
        let ahead = self.ahead_of(now, others.without(slowest)).unwrap_or(0);
        if slowest == self.links.local {
            return Some(ahead.max(0));
        }
        // Behind the others it has their inputs in time, and needs fewer rollbacks. So they do not wait for it to come nearer, as
        // long as half of the prediction window is left for the network.
        let predicted = self.rollback.current().since(self.links.queue.confirmed_end());
        let too_many = predicted.saturating_sub(self.window() / 2);
        Some(ahead.max(i64::from(too_many) * 1000))
    }

    /// How far ahead of the mean of these this peer is.
    fn ahead_of(&self, now: Timestamp, others: PeerSet) -> Option<i64> {
        let period = self.links.period_micros;
        let links = self.links.links.iter().filter(|link| others.contains(link.peer));
        let own = i64::from(self.rollback.current().index()) * 1000;
        let (mut sum, mut count) = (0, 0);
        for progress in links.filter_map(|link| link.progress_at(now, period)) {
            sum += own - progress;
            count += 1;
        }
        (count > 0).then(|| sum / count)
    }
}

/// One that cannot hold the tick rate says so twice a second.
const TOLD_EVERY_MICROS: u64 = 500_000;

/// What was not said again for as long as this holds no more: four datagrams in a row were lost, or it is over.
const FORGOTTEN_AFTER_MICROS: u64 = 2_400_000;

/// Rates change step by step, and not each step is worth a word to the application.
const EVENT_EVERY_MICROS: u64 = 1_000_000;
