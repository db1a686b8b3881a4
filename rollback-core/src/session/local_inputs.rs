//! Files the inputs of local players, each its input delay ahead, and the items that go with them. Does not send them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use thiserror::Error;

use super::episode::Episode;
use crate::input_queue::InputQueue;
use crate::journal::{Entry, Journal};
use crate::wire::ITEMS_PER_FRAME;
use crate::{Actor, DELAY_MAX, Frame, Game, InputFlags, Item, PeerId, PlayerHandle, SessionConfig};

/// The local players and how far ahead their inputs are filed.
#[derive(Clone, Debug)]
pub(crate) struct LocalInputs {
    local: PeerId,
    players: Vec<LocalPlayer>,
    idle: Vec<u8>,
    /// Items that wait for a frame to be filed: a certain one, or the next that has room.
    items: Vec<(Option<Frame>, Item)>,
    /// The limits within which the delay follows the lateness of inputs, and for how long a lower one was enough.
    automatic: Option<(u32, u32, u32)>,
    /// Whether a pause was proposed that was not ended since.
    is_pausing: bool,
    is_closed: bool,
    /// Whether this peer leaves, once it is let in, or as soon as it may file another frame.
    wants_to_leave: bool,
}

#[derive(Clone, Debug)]
struct LocalPlayer {
    player: PlayerHandle,
    delay: u32,
    actor: Actor,
    /// Whom the others were told of.
    told: Actor,
    /// The first frame that has no input yet.
    end: Frame,
}

impl<G: Game> Episode<G> {
    /// Files what a local player does, and writes down that it was called.
    #[inline]
    pub(super) fn file_local_input(
        &mut self,
        journal: &mut Option<Box<Journal>>,
        player: PlayerHandle,
        input: &[u8],
        flags: InputFlags,
    ) -> Result<Option<Frame>, InputError> {
        if let Some(journal) = journal {
            journal.note(&Entry::Input { player, flags, input });
        }
        let current = self.rollback.current();
        self.local_inputs.file(&mut self.links.queue, current, player, input, flags)
    }
}

impl LocalInputs {
    pub(crate) fn new(config: &SessionConfig, local: PeerId, players: &[PlayerHandle]) -> Self {
        let local_player = |player: &PlayerHandle| LocalPlayer {
            player: *player,
            delay: config.input_delay_frames(*player),
            actor: Actor::Person,
            told: Actor::Person,
            end: Frame::ZERO,
        };
        Self {
            local,
            players: players.iter().map(local_player).collect(),
            idle: config.idle_input().to_vec(),
            items: Vec::new(),
            automatic: None,
            is_pausing: false,
            is_closed: false,
            wants_to_leave: false,
        }
    }

    /// Files an input for the frame that `current` and the player's delay make. The frames of the delay before the
    /// first input are idle.
    #[inline(always)]
    pub(crate) fn file(
        &mut self,
        queue: &mut InputQueue,
        current: Frame,
        player: PlayerHandle,
        input: &[u8],
        flags: InputFlags,
    ) -> Result<Option<Frame>, InputError> {
        if input.len() != queue.width() {
            return Err(InputError::Width { expected: queue.width(), got: input.len() });
        }
        let known = self.players.iter_mut().find(|local| local.player == player);
        let local = known.ok_or(InputError::NotLocal { player })?;
        let target = current.plus(local.delay);
        if self.is_closed || self.wants_to_leave || target < local.end {
            return Ok(None);
        }
        // A history that is full takes no frame beyond it; the delay comes into force as it empties.
        let target = target.min(queue.last_filed());
        if target < local.end {
            return Ok(None);
        }
        if local.end < target {
            // What was done last goes on while a delay becomes longer; before the first input, nothing is done.
            let last = (local.end > queue.start(self.local)).then(|| local.end.minus(1));
            for frame in local.end.until(target) {
                queue.repeat(player, last, frame);
            }
        }
        if local.told != local.actor {
            // Who drives it is said at the frame of the first input, so the swap waits for a frame with room to say it.
            let said = self.items.iter().filter(|(at, _)| *at == Some(target)).count();
            if said < ITEMS_PER_FRAME {
                local.told = local.actor;
                self.items.push((Some(target), Item::Actor { player, actor: local.actor }));
            }
        }
        queue.write(player, target, input, local.told.flags(flags.of_a_given_input()));
        local.end = target.next();
        self.complete_frames(queue);
        Ok(Some(target))
    }

    /// Takes what a player says that it will do, for the others to guess. Answers whether it is for one of the next
    /// frames that have no input.
    pub(crate) fn hint(
        &self,
        queue: &mut InputQueue,
        frame: Frame,
        player: PlayerHandle,
        input: &[u8],
    ) -> Result<bool, InputError> {
        if input.len() != queue.width() {
            return Err(InputError::Width { expected: queue.width(), got: input.len() });
        }
        let known = self.players.iter().find(|local| local.player == player);
        let local = known.ok_or(InputError::NotLocal { player })?;
        let is_open = !self.is_closed && frame >= local.end;
        Ok(is_open && queue.take_hint(self.local, player, frame, input))
    }

    /// Puts an item into the next frame that is filed, or one soon after.
    pub(crate) fn propose(&mut self, item: Item) -> bool {
        let fits = !self.is_closed && self.items.len() < ITEMS_WAITING_MAX;
        if fits {
            self.items.push((None, item));
        }
        fits
    }

    /// Proposes that all stand still. Answers whether this peer's pause was not there yet, and there was room.
    pub(crate) fn pause(&mut self) -> bool {
        let is_new = !self.is_pausing && self.propose(Item::Pause);
        self.is_pausing |= is_new;
        is_new
    }

    /// Ends this peer's pause. Answers whether there was one, and there was room.
    pub(crate) fn resume(&mut self) -> bool {
        if !self.is_pausing || self.is_closed {
            return false;
        }
        let is_over = match self.waiting_pause() {
            // Nobody has heard of it.
            Some(index) => {
                self.items.remove(index);
                true
            }
            None => self.propose(Item::Resume),
        };
        self.is_pausing = !is_over;
        is_over
    }

    /// The place of this peer's pause among the items that no frame carries yet.
    pub(crate) fn waiting_pause(&self) -> Option<usize> {
        self.items.iter().position(|(_, item)| *item == Item::Pause)
    }

    /// Files one frame more for the items that wait, in which the players go on as they did: while all stand still, no
    /// frame would carry them.
    pub(crate) fn file_waiting_items(&mut self, queue: &mut InputQueue) {
        let frame = queue.end(self.local);
        let is_said_in_it = self.items.iter().any(|(at, _)| at.is_none_or(|at| at == frame));
        if !is_said_in_it || self.is_closed || frame > queue.last_filed() {
            return;
        }
        let last = (frame > queue.start(self.local)).then(|| frame.minus(1));
        for local in self.players.iter_mut().filter(|local| local.end <= frame) {
            queue.repeat(local.player, last, frame);
            local.end = frame.next();
        }
        self.complete_frames(queue);
    }

    /// Files the inputs of a local player so many frames ahead from now on. Nothing that was filed is lost: a longer
    /// delay repeats the last input in the gap, a shorter one takes no input for as many frames.
    pub(crate) fn set_delay(
        &mut self,
        player: PlayerHandle,
        frames: u32,
    ) -> Result<(), InputError> {
        let delay = u8::try_from(frames).ok().filter(|frames| usize::from(*frames) <= DELAY_MAX);
        let delay = delay.ok_or(InputError::Delay { max: DELAY_MAX, got: frames })?;
        let known = self.players.iter_mut().find(|local| local.player == player);
        let local = known.ok_or(InputError::NotLocal { player })?;
        if local.delay == frames || self.is_closed {
            return Ok(());
        }
        local.delay = frames;
        // One that waits to be said is said no more.
        let is_earlier = |(_, item): &(Option<Frame>, Item)| matches!(item, Item::Delay { player: of, .. } if *of == player);
        self.items.retain(|item| !is_earlier(item));
        self.items.push((None, Item::Delay { player, frames: delay }));
        Ok(())
    }

    /// The same for every local player.
    pub(crate) fn set_delay_of_all(&mut self, frames: u32) {
        for index in 0..self.players.len() {
            if let Some(player) = self.players.get(index).map(|local| local.player) {
                // Neither the player nor the delay can be wrong here: one is local, the other was checked.
                let _ = self.set_delay(player, frames);
            }
        }
    }

    /// Has a local player be driven by another from its next input on.
    pub(crate) fn set_actor(
        &mut self,
        player: PlayerHandle,
        actor: Actor,
    ) -> Result<(), InputError> {
        let known = self.players.iter_mut().find(|local| local.player == player);
        let local = known.ok_or(InputError::NotLocal { player })?;
        local.actor = actor;
        Ok(())
    }

    /// Every local player, with who gives its next input.
    pub(crate) fn actors(&self) -> impl Iterator<Item = (PlayerHandle, Actor)> {
        self.players.iter().map(|local| (local.player, local.actor))
    }

    /// Has the delay of all local players follow the lateness of inputs within these limits, or no more.
    pub(crate) fn set_automatic(&mut self, limits: Option<(u32, u32)>) {
        self.automatic = limits.map(|(min, max)| (min, max, 0));
    }

    /// Whether the delay follows the lateness of inputs.
    pub(crate) fn is_automatic(&self) -> bool {
        self.automatic.is_some()
    }

    /// Takes a recommended delay, once a second: a longer one at once, a shorter one frame by frame when it has been
    /// enough for a while, so that a bad moment is not followed by many.
    pub(crate) fn follow(&mut self, recommended: Option<u32>) {
        let Some(((min, max, enough_for), recommended)) = self.automatic.as_mut().zip(recommended)
        else {
            return;
        };
        let wanted = recommended.clamp(*min, *max);
        let delay = self.players.iter().map(|local| local.delay).max().unwrap_or_default();
        *enough_for = if wanted < delay { *enough_for + 1 } else { 0 };
        let next = match *enough_for {
            0 => wanted,
            SHORTER_AFTER => delay - 1,
            _ => return,
        };
        *enough_for = 0;
        self.set_delay_of_all(next);
    }

    /// Ends the local inputs: idle is filled in from the frame that is answered.
    pub(crate) fn leave(&mut self, queue: &mut InputQueue) -> Frame {
        let frame = queue.end(self.local);
        if !self.is_closed {
            for local in &mut self.players {
                queue.write(local.player, frame, &self.idle, InputFlags::IDLE_FILLED);
                local.end = frame.next();
            }
            // Nothing that waits for a later frame will be said.
            self.items.truncate(ITEMS_PER_FRAME - 1);
            self.items.push((None, Item::Leave));
            self.complete_frames(queue);
            self.is_closed = true;
        }
        frame
    }

    /// Files nothing until [`begin_at`](Self::begin_at).
    pub(crate) fn wait(&mut self) {
        self.is_closed = true;
    }

    /// Files nothing more, and leaves at the frame at which it begins, if it does, or as soon as the next one may be filed.
    pub(crate) fn leave_later(&mut self) {
        self.wants_to_leave = true;
    }

    pub(crate) fn wants_to_leave(&self) -> bool {
        self.wants_to_leave
    }

    /// Begins to file inputs at `frame`, in a new life of the peer's slot.
    pub(crate) fn begin_at(&mut self, queue: &InputQueue, frame: Frame, incarnation: u8) {
        self.is_closed = false;
        self.items.clear();
        self.items.push((Some(frame), Item::Join { incarnation }));
        for local in &mut self.players {
            local.end = frame;
            local.delay = queue.delay(local.player).unwrap_or(local.delay);
            local.told = Actor::Person;
        }
    }

    /// Whether an input given now would be filed.
    pub(crate) fn wants(&self, current: Frame, player: PlayerHandle) -> bool {
        let mut locals = self.players.iter();
        let local = locals.find(|local| local.player == player);
        !self.is_closed && local.is_some_and(|local| current.plus(local.delay) >= local.end)
    }

    /// The first player whose input for `current` is missing.
    pub(crate) fn missing(&self, current: Frame) -> Option<PlayerHandle> {
        let missing = self.players.iter().find(|local| local.end <= current);
        missing.filter(|_| !self.is_closed).map(|local| local.player)
    }

    /// Frames for which every local player has an input are held now.
    #[inline(always)]
    fn complete_frames(&mut self, queue: &mut InputQueue) {
        let mut frame = queue.end(self.local);
        while !self.players.is_empty() && self.players.iter().all(|local| local.end > frame) {
            match self.items.is_empty() {
                true => queue.arrived(self.local, frame, &[]),
                false => queue.arrived(self.local, frame, &self.take_items(frame)),
            }
            frame = frame.next();
        }
    }

    /// The items that `frame` carries.
    #[inline(never)]
    fn take_items(&mut self, frame: Frame) -> Vec<Item> {
        let mut said = Vec::with_capacity(ITEMS_PER_FRAME);
        // What belongs to this frame comes first; there is room for it.
        for wanted in [Some(frame), None] {
            self.items.retain(|(at, item)| {
                let is_said = *at == wanted && said.len() < ITEMS_PER_FRAME;
                if is_said {
                    said.push(*item);
                }
                !is_said
            });
        }
        said
    }
}

/// Why an input is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The player is hosted by another peer, or does not exist.
    #[error("{player} is not hosted by this peer")]
    NotLocal {
        /// The player.
        player: PlayerHandle,
    },
    /// The input delay is out of range.
    #[error("expected an input delay of at most {max} frames, got {got}")]
    Delay {
        /// The longest.
        max: usize,
        /// What was asked for.
        got: u32,
    },
    /// The input has another width than the configuration says.
    #[error("expected an input of {expected} bytes, got {got}")]
    Width {
        /// The configured width.
        expected: usize,
        /// The width given.
        got: usize,
    },
}

/// How many items wait at most, beside one for the delay of each player.
const ITEMS_WAITING_MAX: usize = 2 * ITEMS_PER_FRAME;

/// For how many seconds a shorter delay must have been enough.
const SHORTER_AFTER: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roster;

    fn player(slot: u8) -> PlayerHandle {
        PlayerHandle::new(slot).unwrap()
    }

    fn filed(delays: [u8; 2]) -> (LocalInputs, InputQueue) {
        let builder = SessionConfig::builder()
            .input_delay_frames_of(player(0), delays[0])
            .input_delay_frames_of(player(1), delays[1]);
        let config = builder.build().unwrap();
        let local = PeerId::new(0).unwrap();
        let queue = InputQueue::new(&config, &Roster::new(&[local, local]).unwrap());
        (LocalInputs::new(&config, local, &[player(0), player(1)]), queue)
    }

    #[test]
    fn an_input_is_filed_its_delay_later_and_the_stream_waits_for_all_players() {
        let (mut local, mut queue) = filed([0, 3]);
        let peer = PeerId::new(0).unwrap();
        let file = |local: &mut LocalInputs, queue: &mut InputQueue, slot, input| {
            local.file(queue, Frame::ZERO, player(slot), &[input], InputFlags::NONE)
        };
        assert_eq!(file(&mut local, &mut queue, 1, 9), Ok(Some(Frame::new(3))));
        assert_eq!(queue.end(peer), Frame::ZERO);
        assert_eq!(local.missing(Frame::ZERO), Some(player(0)));
        assert_eq!(file(&mut local, &mut queue, 0, 8), Ok(Some(Frame::ZERO)));
        assert_eq!(queue.end(peer), Frame::new(1));
        assert_eq!(local.missing(Frame::ZERO), None);
        assert_eq!(file(&mut local, &mut queue, 0, 7), Ok(None), "it has one already");
    }

    #[test]
    fn a_delay_becomes_longer_by_repeating_and_shorter_by_taking_none() {
        let (mut local, mut queue) = filed([1, 1]);
        let mut file = |local: &mut LocalInputs, at: u32, input: u8| {
            local.file(&mut queue, Frame::new(at), player(1), &[9], InputFlags::NONE).unwrap();
            local
                .file(&mut queue, Frame::new(at), player(0), &[input], InputFlags::FOCUSED)
                .unwrap()
        };
        assert_eq!(file(&mut local, 0, 5), Some(Frame::new(1)));
        local.set_delay(player(0), 3).unwrap();
        assert_eq!(file(&mut local, 1, 6), Some(Frame::new(4)));
        local.set_delay(player(0), 2).unwrap();
        assert_eq!(file(&mut local, 2, 7), None, "frame 4 has its input");
        assert_eq!(file(&mut local, 3, 8), Some(Frame::new(5)));
        let given = |frame| queue.given(player(0), Frame::new(frame))[0];
        assert_eq!((0..6).map(given).collect::<Vec<_>>(), [0, 5, 5, 5, 6, 8]);
        assert_eq!(queue.given_flags(player(0), Frame::new(3)), InputFlags::FOCUSED);
        let too_long = InputError::Delay { max: DELAY_MAX, got: 31 };
        assert_eq!(local.set_delay(player(0), 31), Err(too_long));
    }

    #[test]
    fn an_automatic_delay_grows_at_once_and_shrinks_slowly() {
        let (mut local, _) = filed([2, 2]);
        local.set_automatic(Some((1, 6)));
        let mut follow = |recommended| {
            local.follow(Some(recommended));
            local.players[0].delay
        };
        assert_eq!(follow(4), 4);
        assert_eq!(follow(9), 6, "not beyond the limit");
        assert_eq!([3, 3, 3, 3].map(&mut follow), [6; 4]);
        assert_eq!(follow(3), 5);
    }

    #[test]
    fn inputs_of_others_and_of_another_width_are_refused() {
        let (mut local, mut queue) = filed([0, 0]);
        let mut file = |slot, input: &[u8]| {
            local.file(&mut queue, Frame::ZERO, player(slot), input, InputFlags::NONE)
        };
        assert_eq!(file(2, &[1]), Err(InputError::NotLocal { player: player(2) }));
        assert_eq!(file(0, &[1, 2]), Err(InputError::Width { expected: 1, got: 2 }));
    }
}
