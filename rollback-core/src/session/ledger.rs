//! The books of an episode: which frames are confirmed, stable, agreed and handed out, and where it ends. Does not know the game.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::links::Links;
use crate::bytes::PutBytes;
use crate::input_queue::InputQueue;
use crate::resync::Keyframe;
use crate::session::{End, EndCause};
use crate::{Chain, Frame, Item, PeerId, PeerSet, StateHash};

/// The frontiers of one episode.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The chain over the inputs of every frame before the last report.
    inputs: Chain,
    reported: Frame,
    /// Scratch for what is linked into it at a report.
    piece: Vec<u8>,
    /// The items of every frame before this one are noted, and it is confirmed and stepped.
    pub(crate) noted: Frame,
    /// The next stable frame to hand out.
    pub(crate) next_row: Frame,
    /// The first frame that cannot be handed out yet.
    pub(crate) rows_end: Frame,
    pub(crate) stable: Frame,
    pub(crate) agreed: Frame,
    /// The last state that was hashed.
    pub(crate) last_hash: (Frame, StateHash),
    /// Hashes of states whose frames were not handed out yet.
    pub(super) hashes: VecDeque<(Frame, StateHash)>,
    /// The earliest end that the members' items or departures make.
    planned: Option<End>,
    /// Whether that end is this peer's own leaving, while the others play on.
    pub(crate) leaves_alone: bool,
    /// The input delay that a member proposed for all, until it is taken.
    pub(crate) shared_delay: Option<u8>,
    /// The items of the frame that is being handed out.
    pub(crate) row_items: Vec<(PeerId, Item)>,
    /// Frames before this one were recorded by others: a leave in them does not end the episode for this peer.
    pub(crate) recorded_up_to: Frame,
    members_min: usize,
    /// States that all took over, once there was one.
    keyframes: Option<Box<Keyframes>>,
}

#[derive(Debug, Default)]
struct Keyframes {
    /// Those whose frames were not handed out yet, each with the number of attempts that it took.
    waiting: VecDeque<(Keyframe, u8)>,
    /// The state of the frame that is being handed out.
    of_row: Option<Vec<u8>>,
}

impl Ledger {
    pub(crate) fn new(members_min: usize, start: StateHash) -> Self {
        Self {
            inputs: Chain::default(),
            reported: Frame::ZERO,
            piece: Vec::new(),
            noted: Frame::ZERO,
            next_row: Frame::ZERO,
            rows_end: Frame::ZERO,
            stable: Frame::ZERO,
            agreed: Frame::ZERO,
            last_hash: (Frame::ZERO, start),
            hashes: [(Frame::ZERO, start)].into_iter().collect(),
            planned: None,
            leaves_alone: false,
            shared_delay: None,
            row_items: Vec::new(),
            recorded_up_to: Frame::ZERO,
            members_min,
            keyframes: None,
        }
    }

    /// Looks at the items of each newly confirmed frame up to `limit`, for one that ends the episode.
    pub(crate) fn note_confirmed(&mut self, links: &Links, limit: Frame) {
        let end = links.queue.confirmed_end().min(limit);
        if links.queue.has_items() || self.planned.is_some() {
            self.note_items_up_to(links, end);
        } else {
            self.noted = self.noted.max(end);
        }
    }

    #[inline(never)]
    fn note_items_up_to(&mut self, links: &Links, end: Frame) {
        while self.noted < end && self.planned.is_none_or(|planned| self.noted < planned.frame) {
            self.note_items(links, self.noted);
            if self.planned.is_some_and(|planned| planned.frame == self.noted) {
                return;
            }
            self.noted = self.noted.next();
        }
    }

    /// Looks at the items of a frame.
    fn note_items(&mut self, links: &Links, frame: Frame) {
        let mut leavers = PeerSet::EMPTY;
        for (by, item) in links.queue.items_at(frame) {
            match item {
                Item::End { code } => {
                    let end = End { frame, cause: EndCause::Named(code), by: Some(by) };
                    self.plan_end(end, false);
                }
                Item::Leave => {
                    leavers.insert(by);
                }
                Item::SharedDelay { frames } => self.shared_delay = Some(frames),
                Item::Resync { .. }
                | Item::Delay { .. }
                | Item::Actor { .. }
                | Item::Pause
                | Item::Resume
                | Item::Join { .. } => {}
            }
        }
        // All who leave at a frame count, whoever is looked at first: every member must name the same one.
        let left = links.membership.view().members.minus(leavers).len();
        let is_last = left < self.members_min;
        if !leavers.is_empty()
            && frame >= self.recorded_up_to
            && (is_last || leavers.contains(links.local))
        {
            let by = if is_last { leavers.lowest() } else { Some(links.local) };
            self.plan_end(End { frame, cause: EndCause::Left, by }, !is_last);
        }
    }

    /// A departure was agreed: the episode ends at its cut when too few members are left.
    pub(crate) fn note_departure(&mut self, members: usize, by: PeerId, cut: Frame) {
        if members < self.members_min {
            let end = End { frame: cut, cause: EndCause::Departed, by: Some(by) };
            self.plan_end(end, false);
        }
    }

    /// Plans an end unless an earlier one is planned; `alone` says that the others play on after it.
    fn plan_end(&mut self, end: End, alone: bool) {
        if self.planned.is_none_or(|planned| end.frame < planned.frame) {
            self.planned = Some(end);
            self.leaves_alone = alone;
        }
    }

    /// Whether the members' items or departures make an end.
    #[inline]
    pub(crate) fn has_planned_end(&self) -> bool {
        self.planned.is_some()
    }

    /// Where the episode ends, as far as is certain: by the game at `game_ended`, or earlier by the members.
    pub(crate) fn end(&self, game_ended: Option<Frame>) -> Option<End> {
        let finished = game_ended.map(|frame| End { frame, cause: EndCause::Finished, by: None });
        match (finished, self.planned) {
            (Some(finished), Some(planned)) if planned.frame < finished.frame => Some(planned),
            (finished, planned) => finished.or(planned),
        }
    }

    /// The chain over the inputs and items of every frame before `frame`, which is reported: what is new since the last report
    /// is linked in one piece. All these frames are still held, since no earlier one is agreed than that report.
    pub(crate) fn chain_up_to(&mut self, queue: &mut InputQueue, frame: Frame) -> Chain {
        if frame > self.reported {
            self.piece.clear();
            queue.put_confirmed((self.reported, frame), &mut self.piece);
            self.inputs = self.inputs.link(&self.piece);
            if queue.has_items() {
                self.link_items(queue, frame);
            }
            self.reported = frame;
        }
        self.inputs
    }

    #[inline(never)]
    fn link_items(&mut self, queue: &InputQueue, end: Frame) {
        self.piece.clear();
        for frame in self.reported.until(end) {
            for (by, item) in queue.items_at(frame) {
                self.piece.put_u32(frame.index());
                self.piece.put_u8(by.slot());
                item.encode(&mut self.piece);
            }
        }
        if !self.piece.is_empty() {
            self.inputs = self.inputs.link(&self.piece);
        }
    }

    /// Begins again at a frame that all agree on, where the chain of inputs was this.
    pub(crate) fn rewind(&mut self, agreed: Frame, inputs: Chain) {
        (self.noted, self.reported, self.inputs) = (agreed, agreed, inputs);
        self.hashes.retain(|(frame, _)| *frame <= agreed);
    }

    /// Keeps a state that all took over until its frame is handed out; one that was tried before in vain is forgotten.
    pub(crate) fn note_keyframe(&mut self, keyframe: Keyframe, attempts: u8) {
        let waiting = &mut self.keyframes.get_or_insert_default().waiting;
        waiting.retain(|(kept, _)| kept.frame <= keyframe.agreed);
        waiting.push_back((keyframe, attempts));
    }

    /// The peer whose state of this frame all took over, and the number of attempts. All record the same, so it is compared.
    pub(crate) fn taken_over_at(&self, frame: Frame) -> Option<(PeerId, u8)> {
        let (keyframe, attempts) =
            self.waiting_keyframes().find(|(kept, _)| kept.frame == frame)?;
        Some((keyframe.source, *attempts))
    }

    /// The first state that all took over at this frame or a later one, which was not handed out yet.
    pub(crate) fn keyframe_from(&self, frame: Frame) -> Option<&Keyframe> {
        self.waiting_keyframes().map(|(keyframe, _)| keyframe).find(|kept| kept.frame >= frame)
    }

    fn waiting_keyframes(&self) -> impl Iterator<Item = &(Keyframe, u8)> {
        self.keyframes.iter().flat_map(|keyframes| &keyframes.waiting)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn forget_keyframes(&mut self) {
        self.keyframes = None;
    }

    /// Takes the state that all took over at the frame that is being handed out, if there is one, and says so.
    #[inline]
    pub(crate) fn take_keyframe(&mut self, frame: Frame) {
        if self.keyframes.is_some() {
            self.find_keyframe(frame);
        }
    }

    #[inline(never)]
    fn find_keyframe(&mut self, frame: Frame) {
        let Some(keyframes) = &mut self.keyframes else { return };
        keyframes.of_row = None;
        if keyframes.waiting.front().is_some_and(|(kept, _)| kept.frame == frame)
            && let Some((keyframe, attempts)) = keyframes.waiting.pop_front()
        {
            let at = self.row_items.partition_point(|(by, _)| *by <= keyframe.source);
            self.row_items.insert(at, (keyframe.source, Item::Resync { attempts }));
            keyframes.of_row = Some(keyframe.state);
        }
    }

    /// The state of the frame that is being handed out, where all took over that of one.
    pub(crate) fn row_keyframe(&self) -> Option<&[u8]> {
        self.keyframes.as_ref()?.of_row.as_deref()
    }

    /// Keeps a hash until its frame is handed out.
    pub(crate) fn note_hash(&mut self, frame: Frame, hash: StateHash) {
        self.last_hash = (frame, hash);
        self.hashes.push_back((frame, hash));
    }

    /// The hash of the state of `frame`, when that was reported. Earlier ones are forgotten.
    pub(crate) fn take_hash(&mut self, frame: Frame) -> Option<StateHash> {
        while self.hashes.front().is_some_and(|(at, _)| *at < frame) {
            self.hashes.pop_front();
        }
        self.hashes.front().filter(|(at, _)| *at == frame).map(|(_, hash)| *hash)
    }
}
