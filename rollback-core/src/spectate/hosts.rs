//! Chooses the host that feeds a spectator, and changes over when it falls silent, goes, or is slower than another. Knows what each
//! host says that it has, and does not read the stream.

use alloc::vec::Vec;
use core::time::Duration;

use super::marks::Marks;
use super::wire::{Ask, Told};
use crate::recording::RecordingError;
use crate::session::End;
use crate::{Frame, Timestamp};

/// A member, or one who watches and passes on, by whom a spectator may be fed; as the driver numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub u64);

/// A host says something else than what came before, from other hosts or from itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// The host. It feeds no more; which side is right nobody can tell from here.
    pub host: HostId,
    /// The first frame of which it says otherwise, or the frame at which one of both ends; `None` when it differs in what
    /// was agreed before the first frame.
    pub frame: Option<Frame>,
}

/// All hosts of a spectator.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Who is asked, and whether it is known to have the same stream as far as that is held here.
    fed_by: Option<HostId>,
    was_fed_by: Option<HostId>,
    is_checked: bool,
    changed_at: Timestamp,
    /// When it was last looked at how many bytes are held, and how many more the longest stream has.
    reviewed: Option<(Timestamp, u32, u32)>,
    pub(super) changes: u64,
    pub(super) contradictions: Vec<Contradiction>,
}

#[derive(Debug)]
struct Host {
    id: HostId,
    heard_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    /// What it said last that it has.
    entries: u32,
    length: u32,
    over: Option<End>,
    /// So many entries are the same there, and with so many it is another stream.
    agrees_to: u32,
    differs_at: Option<u32>,
    /// What it sent is no episode.
    broken: Option<RecordingError>,
    /// The entry was found that differs.
    is_told_apart: bool,
}

/// What is held here.
#[derive(Clone, Copy)]
pub(super) struct Holding<'a> {
    pub(super) marks: &'a Marks,
    /// Bytes, also of an entry that has not come whole.
    pub(super) length: u32,
}

impl Hosts {
    /// Takes one more host. Answers `false` for one that is known, and when there are as many as may be.
    pub(super) fn add(&mut self, id: HostId) -> bool {
        let is_new = self.position(id).is_none() && self.hosts.len() < HOSTS_MAX;
        if is_new {
            self.hosts.push(Host {
                id,
                heard_at: None,
                asked_at: None,
                entries: 0,
                length: 0,
                over: None,
                agrees_to: 0,
                differs_at: None,
                broken: None,
                is_told_apart: false,
            });
        }
        is_new
    }

    pub(super) fn remove(&mut self, id: HostId) {
        self.hosts.retain(|host| host.id != id);
        self.fed_by = self.fed_by.filter(|fed_by| *fed_by != id);
    }

    /// Who is asked.
    pub(super) fn fed_by(&self) -> Option<HostId> {
        self.fed_by
    }

    /// Whether what this host sends belongs behind what is held.
    pub(super) fn is_feeding(&self, id: HostId) -> bool {
        self.fed_by == Some(id) && self.is_checked
    }

    /// Something came of a host. Answers whether it is one.
    pub(super) fn note_heard(&mut self, now: Timestamp, id: HostId) -> bool {
        let host = self.hosts.iter_mut().find(|host| host.id == id);
        host.map(|host| host.heard_at = Some(now)).is_some()
    }

    /// What this host sent is no episode.
    pub(super) fn note_broken(&mut self, id: HostId, error: RecordingError) {
        if let Some(host) = self.hosts.iter_mut().find(|host| host.id == id) {
            host.broken = Some(error);
        }
    }

    /// What was sent is no episode, and there is nobody else to ask.
    pub(super) fn broken(&self) -> Option<RecordingError> {
        let is_any_left = self.hosts.iter().any(Host::is_usable);
        self.hosts.iter().find_map(|host| host.broken).filter(|_| !is_any_left)
    }

    /// How it ended for the hosts, when it ended for all that can be asked and nothing that they have is missing.
    pub(super) fn over(&self, marks: &Marks) -> Option<End> {
        let usable = || self.hosts.iter().filter(|host| host.is_usable());
        let is_over = |host: &Host| host.over.is_some() && host.entries <= marks.count();
        let fed_by = usable().find(|host| Some(host.id) == self.fed_by);
        usable().all(is_over).then(|| fed_by.or(usable().next())?.over)?
    }

    /// Takes what a host says that it has.
    pub(super) fn handle_told(&mut self, id: HostId, told: Told, holding: Holding<'_>) {
        let Some(host) = self.hosts.iter_mut().find(|host| host.id == id) else { return };
        (host.entries, host.length, host.over) = (told.entries, told.length, told.over);
        let Some(mark) = holding.marks.at(told.at) else { return };
        let doubt = (host.agrees_to, host.differs_at);
        if told.mark == mark {
            host.agrees_to = host.agrees_to.max(told.at);
            self.is_checked |= self.fed_by == Some(id) && told.at == holding.marks.count();
        } else {
            host.differs_at = Some(host.differs_at.map_or(told.at, |at| at.min(told.at)));
        }
        if host.differs_at.is_some() && doubt != (host.agrees_to, host.differs_at) {
            // The next question halves what is in doubt, and is due at once.
            host.asked_at = None;
        }
    }

    /// Changes over where another is better. Answers whether it did: then what has not come whole is to be dropped.
    pub(super) fn review(&mut self, now: Timestamp, holding: Holding<'_>) -> bool {
        let entries = holding.marks.count();
        self.tell_apart();
        let longest = self.hosts.iter().filter(|host| host.is_usable());
        let behind = longest.clone().map(|host| host.length).max().unwrap_or_default();
        let behind = behind.saturating_sub(holding.length);
        let frames = longest.map(|host| host.entries).max().unwrap_or_default();
        let frames = frames.saturating_sub(entries);
        let (reviewed_at, held, was_behind) =
            *self.reviewed.get_or_insert((now, holding.length, behind));
        let is_due = now.since(reviewed_at) >= REVIEW_EVERY;
        if is_due {
            self.reviewed = Some((now, holding.length, behind));
        }
        // Whoever catches up is behind as well, but less and less so. A little behind is nobody's fault, unless nothing comes.
        let is_nearer = was_behind == 0 || behind < was_behind;
        let is_late = frames >= LATE_ENTRIES || behind > 0 && holding.length == held;
        let is_slow = is_due && is_late && !is_nearer;
        let fed_by = self.fed_by.and_then(|id| self.hosts.iter().find(|host| host.id == id));
        let fed_by = fed_by.filter(|host| host.is_usable());
        let others = || self.hosts.iter().filter(|host| Some(host.id) != self.fed_by);
        let best = others()
            .rev()
            .filter(|host| host.is_usable())
            .max_by_key(|host| (host.is_heard(now), host.has_more(entries), host.entries));
        let chosen = match (fed_by, best) {
            (None, best) => best,
            (Some(fed_by), Some(best)) => {
                let is_spent = !fed_by.has_more(entries) && best.has_more(entries);
                let is_left = is_slow && best.entries > entries;
                let is_silent = !fed_by.is_heard(now) && now.since(self.changed_at) >= SILENT_AFTER;
                let is_better = is_spent || is_left || is_silent;
                Some(best).filter(|best| is_better && best.is_heard(now))
            }
            (Some(_), None) => None,
        };
        let Some(chosen) = chosen.map(|host| host.id) else { return false };
        let last = self.was_fed_by.replace(chosen);
        self.changes += u64::from(last.is_some_and(|last| last != chosen));
        (self.fed_by, self.changed_at) = (Some(chosen), now);
        // Nothing is held that it could contradict.
        self.is_checked = entries == 0;
        self.reviewed = Some((now, holding.length, behind));
        true
    }

    /// The next question that is due, and whom to ask.
    pub(super) fn next_ask(&mut self, now: Timestamp, marks: &Marks) -> Option<(HostId, Ask)> {
        let (fed_by, is_checked) = (self.fed_by, self.is_checked);
        let is_due = |host: &&mut Host| {
            let is_awaited = Some(host.id) == fed_by && !is_checked;
            let wait = if is_awaited { CHECK_EVERY } else { ASK_EVERY };
            host.broken.is_none()
                && !host.is_told_apart
                && host.asked_at.is_none_or(|at| now.since(at) >= wait)
        };
        let host = self.hosts.iter_mut().find(is_due)?;
        host.asked_at = Some(now);
        let doubtful = host.differs_at.map(|differs| u32::midpoint(host.agrees_to, differs));
        let at = doubtful.unwrap_or(marks.count());
        Some((host.id, Ask { at, is_fed: fed_by == Some(host.id) }))
    }

    #[cfg(feature = "testing")]
    pub(super) fn stay_with_first(&mut self) {
        self.hosts.truncate(1);
    }

    /// Names what hosts say otherwise, once for each.
    fn tell_apart(&mut self) {
        for host in &mut self.hosts {
            let Some(differs) = host.differs_at.filter(|_| !host.is_told_apart) else { continue };
            // One that contradicts itself may say so of an entry that it had agreed to.
            if host.agrees_to.saturating_add(1) >= differs {
                host.is_told_apart = true;
                let frame = differs.checked_sub(2).map(Frame::new);
                if self.contradictions.len() < CONTRADICTIONS_MAX {
                    self.contradictions.push(Contradiction { host: host.id, frame });
                }
            }
        }
    }

    fn position(&self, id: HostId) -> Option<usize> {
        self.hosts.iter().position(|host| host.id == id)
    }
}

impl Host {
    fn is_usable(&self) -> bool {
        self.broken.is_none() && self.differs_at.is_none()
    }

    fn is_heard(&self, now: Timestamp) -> bool {
        self.heard_at.is_some_and(|at| now.since(at) < SILENT_AFTER)
    }

    /// Whether it has, or may yet have, more than what is held.
    fn has_more(&self, entries: u32) -> bool {
        self.over.is_none() || self.entries > entries
    }
}

/// More hosts than these are not asked: each costs a question and an answer now and then.
pub(super) const HOSTS_MAX: usize = 16;

/// So many contradictions are kept; each host makes one, unless it is removed and comes again.
const CONTRADICTIONS_MAX: usize = 64;

/// Every host is asked so often what it has.
const ASK_EVERY: Duration = Duration::from_millis(400);

/// One that is to feed from now on is asked so often, until it is known to have the same stream.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// A host of which nothing came for so long is silent: three answers or more are missing.
const SILENT_AFTER: Duration = Duration::from_millis(1_500);

/// So often it is looked at whether what is missing becomes less.
const REVIEW_EVERY: Duration = Duration::from_secs(2);

/// Whoever is fewer entries behind the longest stream is not late: different ways explain that.
const LATE_ENTRIES: u32 = 15;
