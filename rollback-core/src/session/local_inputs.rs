//! Files the local players' inputs at now + delay. Does not send them.

use alloc::vec::Vec;

use thiserror::Error;

use crate::input_queue::InputQueue;
use crate::wire::ITEMS_PER_FRAME;
use crate::{Frame, InputFlags, Item, PeerId, PlayerHandle, SessionConfig};

/// The local players and how far ahead their inputs are filed.
#[derive(Clone, Debug)]
pub(crate) struct LocalInputs {
    local: PeerId,
    players: Vec<LocalPlayer>,
    idle: Vec<u8>,
    /// Items that wait for the next frame that is filed.
    items: Vec<Item>,
    is_closed: bool,
}

#[derive(Clone, Debug)]
struct LocalPlayer {
    player: PlayerHandle,
    delay: u32,
    /// The first frame that has no input yet.
    end: Frame,
}

impl LocalInputs {
    pub(crate) fn new(config: &SessionConfig, local: PeerId, players: &[PlayerHandle]) -> Self {
        let local_player = |player: &PlayerHandle| LocalPlayer {
            player: *player,
            delay: config.input_delay_frames(*player),
            end: Frame::ZERO,
        };
        Self {
            local,
            players: players.iter().map(local_player).collect(),
            idle: config.idle_input().to_vec(),
            items: Vec::with_capacity(ITEMS_PER_FRAME),
            is_closed: false,
        }
    }

    /// Files an input for the frame that `current` and the player's delay make. The frames of the delay before the
    /// first input are idle.
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
        if self.is_closed || target < local.end {
            return Ok(None);
        }
        for frame in local.end.until(target) {
            queue.write(player, frame, &self.idle, InputFlags::NONE);
        }
        queue.write(player, target, input, flags);
        local.end = target.next();
        self.complete_frames(queue);
        Ok(Some(target))
    }

    /// Puts an item into the next frame that is filed.
    pub(crate) fn propose(&mut self, item: Item) -> bool {
        // One place is kept for the item that leaves.
        let fits = !self.is_closed && self.items.len() + 1 < ITEMS_PER_FRAME;
        if fits {
            self.items.push(item);
        }
        fits
    }

    /// Ends the local inputs: idle is filled in from the frame that is answered.
    pub(crate) fn leave(&mut self, queue: &mut InputQueue) -> Frame {
        let frame = queue.end(self.local);
        if !self.is_closed {
            for local in &mut self.players {
                queue.write(local.player, frame, &self.idle, InputFlags::IDLE_FILLED);
                local.end = frame.next();
            }
            self.items.push(Item::Leave);
            self.complete_frames(queue);
            self.is_closed = true;
        }
        frame
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
    fn complete_frames(&mut self, queue: &mut InputQueue) {
        let end = self.players.iter().map(|local| local.end).min().unwrap_or_default();
        for frame in queue.end(self.local).until(end) {
            queue.arrived(self.local, frame, &self.items);
            self.items.clear();
        }
    }
}

/// Why an input is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum InputError {
    /// The player is hosted by another peer, or does not exist.
    #[error("{player} is not hosted by this peer")]
    NotLocal {
        /// The player.
        player: PlayerHandle,
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
    fn inputs_of_others_and_of_another_width_are_refused() {
        let (mut local, mut queue) = filed([0, 0]);
        let mut file = |slot, input: &[u8]| {
            local.file(&mut queue, Frame::ZERO, player(slot), input, InputFlags::NONE)
        };
        assert_eq!(file(2, &[1]), Err(InputError::NotLocal { player: player(2) }));
        assert_eq!(file(0, &[1, 2]), Err(InputError::Width { expected: 1, got: 2 }));
    }
}
