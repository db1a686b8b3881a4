//! Breaks parts of a session and forges datagrams, so that tests can show that the oracles of the simulator notice. Nothing in the
//! engine uses this file.

use alloc::vec::Vec;

use super::Session;
use crate::bytes::ByteReader;
use crate::peer::Link;
use crate::wire::{self, Bound, Claim, InputsHead, Kind};
use crate::{Frame, Game, Item, PeerId, StateHash};

/// A part of the engine that is to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// A wrong guess is not noticed when the input arrives.
    Misprediction,
    /// Everything that was sent counts as acknowledged, so that nothing is sent again.
    Acknowledgement,
    /// The hash of every state is the same.
    StateHash,
    /// Nobody stands still in a pause.
    Pause,
    /// The game is not taken back from where it was shown.
    RunAhead,
    /// What was only shown to the game counts as new when it is stepped.
    Newness,
    /// Whoever watches stays with the host that it asked first.
    HostChange,
    /// What was promised for letting one in is not kept: inputs are filed beyond it before the view is committed.
    Promise,
    /// A state that all took over after a desync is not recorded.
    Keyframe,
    /// A machine that keeps its time counts as too slow.
    Rate,
    /// One that passes over frames, to a state that it was given, is let in before it is there.
    Passing,
    /// A departed peer's inputs are cut at what this peer holds, not at the longest claim.
    Cut,
}

impl<G: Game> Session<G> {
    /// Breaks a part; called after each call into the session.
    pub(crate) fn sabotage(&mut self, part: Sabotage) {
        let (links, ledger) = (&mut self.episode.links, &mut self.episode.ledger);
        match part {
            Sabotage::Misprediction => links.queue.clear_incorrect(),
            Sabotage::Acknowledgement => {
                let end = links.own_end();
                for link in &mut links.links {
                    link.acked = end;
                }
            }
            Sabotage::StateHash => {
                for (_, hash) in &mut ledger.hashes {
                    *hash = StateHash::default();
                }
            }
            Sabotage::RunAhead => self.episode.rollback.forget_ahead(),
            Sabotage::Newness => self.episode.rollback.forget_known(),
            Sabotage::Promise => links.queue.set_limit(None),
            Sabotage::Keyframe => ledger.forget_keyframes(),
            Sabotage::Pause => links.queue.put_pauses_off(),
            Sabotage::HostChange => {}
            Sabotage::Passing => links.is_passing = false,
            Sabotage::Rate => self.pacer.forget_rest(),
            Sabotage::Cut => {
                let (held, membership) = (links.queue.ends(), &mut links.membership);
                let base = membership.view().number;
                let claims: Vec<Claim> = membership.claims_for(base).collect();
                for claim in claims {
                    let claim = Claim { held, ..claim };
                    membership.handle_claim(&claim, None, held);
                }
            }
        }
    }

    /// Whether this peer's own pause is in no frame yet, so that nobody would hear of it if it ended now.
    pub(crate) fn has_waiting_pause(&self) -> bool {
        self.episode.local_inputs.waiting_pause().is_some()
    }

    /// Whether another still says what it has of a state that this peer has reported; one that came back has compared nothing
    /// before its first report of its new life.
    pub(crate) fn is_compared(&self) -> bool {
        !self.episode.links.others_not_done().is_empty() && !self.episode.is_catching_up()
    }

    /// Where this peer's own stream ends.
    pub(crate) fn own_end(&self) -> Frame {
        self.episode.links.own_end()
    }

    /// The items of this peer's own stream in this life, from a frame on that was not agreed yet.
    pub(crate) fn own_items(&self, from: Frame) -> impl Iterator<Item = (Frame, Item)> + '_ {
        let links = &self.episode.links;
        // What it is given of a former life is not filed here.
        let begins_at = links.begins_at.unwrap_or_default();
        let from = from.max(links.caught_up_to.map_or(begins_at, |_| Frame::MAX));
        let items = move |frame| links.queue.items_of(links.local, frame);
        from.until(self.own_end())
            .flat_map(move |frame| items(frame).map(move |item| (frame, item)))
    }

    /// Gives a datagram the tag that `from` would have given it, so that only its content can be wrong.
    pub(crate) fn reseal(&self, from: PeerId, bytes: &mut [u8]) {
        let links = &self.episode.links;
        let Some(link) = links.link(from) else { return };
        let bound = match Kind::of(bytes) {
            Some(Kind::Inputs) => {
                let body = bytes.get(wire::HEAD_BYTES..).unwrap_or_default();
                let ends = (links.own_end(), links.queue.end(from));
                let flags = wire::flags(bytes);
                let head = InputsHead::decode(flags, &mut ByteReader::new(body), links.long, ends);
                let Ok(head) = head else { return };
                Link::bound(links.membership.view().number, &head)
            }
            _ => Bound::default(),
        };
        wire::seal(&link.keys_in, bound, bytes);
    }
}
