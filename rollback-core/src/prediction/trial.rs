//! Tries a predictor on recorded inputs, and counts its wrong guesses. Steps no game.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use super::Predictor;
use crate::input_queue::InputQueue;
use crate::session::StableFrame;
use crate::{Frame, GuessCounters, InputFlags, PeerId, PeerSet, Roster, SessionConfig};

/// What a predictor would have cost in an episode that was recorded, had every input of some peers come so many frames
/// late: the same rings, guesses and comparisons as in a session, without a game.
///
/// ```
/// use rollback_core::recording::Recording;
/// use rollback_core::{PeerId, PeerSet, PredictionTrial, RepeatLast, TrialResult};
///
/// fn repeat_last_at_3_frames(recording: &Recording) -> TrialResult {
///     let (header, mut frames) = (recording.header(), recording.frames());
///     let late = PeerSet::first(header.roster.peer_count()).without(PeerId::new(0).unwrap());
///     let predictor = Box::new(RepeatLast);
///     let mut trial = PredictionTrial::new(&header.config, &header.roster, late, 3, predictor);
///     while let Some(frame) = frames.next_frame() {
///         trial.push(&frame);
///     }
///     trial.result()
/// }
/// ```
pub struct PredictionTrial {
    queue: InputQueue,
    predictor: Box<dyn Predictor + Send>,
    late: PeerSet,
    lateness: u32,
    /// What is under way, oldest first.
    under_way: VecDeque<Row>,
    current: Frame,
    result: TrialResult,
}

/// The inputs of a frame.
#[derive(Default)]
struct Row {
    inputs: Vec<u8>,
    flags: Vec<u8>,
    /// What the frame was first stepped with.
    shown: Vec<u8>,
}

/// What a predictor cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TrialResult {
    /// Frames played.
    pub frames: u64,
    /// How often inputs were guessed, and how often wrongly when they arrived: a later guess of the same frame, from more
    /// inputs, may have put an earlier one right.
    pub guesses: GuessCounters,
    /// The same for the guess with which a frame was first stepped, which is what a player was shown.
    pub shown: GuessCounters,
    /// How often it went back.
    pub rollbacks: u64,
    /// Frames stepped again, if the state before each is at hand.
    pub resimulated: u64,
}

impl PredictionTrial {
    /// A trial in which the inputs of the peers in `late` arrive `lateness` frames late: with 1, the input of a frame is
    /// there when the next one is stepped. More than the prediction window is taken for that, since a session would wait.
    #[must_use]
    pub fn new(
        config: &SessionConfig,
        roster: &Roster,
        late: PeerSet,
        lateness: u32,
        predictor: Box<dyn Predictor + Send>,
    ) -> Self {
        let queue = InputQueue::new(config, roster);
        let lateness = lateness.min(config.prediction_window_frames());
        let (under_way, result) = (VecDeque::new(), TrialResult::default());
        let current = Frame::ZERO;
        Self { queue, predictor, late, lateness, under_way, current, result }
    }

    /// Plays the next frame of the episode.
    pub fn push(&mut self, frame: &StableFrame<'_>) {
        let on_time = PeerId::all(crate::PEERS_MAX).filter(|peer| !self.late.contains(*peer));
        for peer in on_time {
            arrive(&mut self.queue, peer, self.current, (frame.inputs, frame.flags));
        }
        let is_full = self.under_way.len() > self.lateness as usize;
        let oldest = if is_full { self.under_way.pop_front() } else { None };
        let mut row = oldest.unwrap_or_default();
        refill(&mut row.inputs, frame.inputs);
        refill(&mut row.flags, frame.flags);
        self.under_way.push_back(row);
        self.deliver();
        self.play();
    }

    /// What the predictor cost so far.
    #[must_use]
    pub fn result(&self) -> TrialResult {
        TrialResult { guesses: self.queue.guess_counters(), ..self.result }
    }

    /// Hands over what has been under way long enough.
    fn deliver(&mut self) {
        let Some(due) = self.current.index().checked_sub(self.lateness) else { return };
        let Some(row) = self.under_way.front() else { return };
        let width = self.queue.width();
        for peer in self.late.iter() {
            for player in self.queue.players_of(peer).iter().filter(|_| self.lateness > 0) {
                let bytes = player.index() * width..(player.index() + 1) * width;
                self.result.shown.guesses += 1;
                let is_wrong = row.inputs.get(bytes.clone()) != row.shown.get(bytes);
                self.result.shown.mispredictions += u64::from(is_wrong);
            }
            arrive(&mut self.queue, peer, Frame::new(due), (&row.inputs, &row.flags));
        }
    }

    fn play(&mut self) {
        let mut first = self.current;
        if let Some(wrong) = self.queue.first_incorrect() {
            self.result.rollbacks += 1;
            self.result.resimulated += u64::from(self.current.since(wrong));
            self.queue.clear_incorrect();
            first = wrong;
        }
        let frames = (first, self.current.next());
        self.queue.guess_missing(frames, self.predictor.as_mut());
        let shown = self.queue.row(self.current).inputs;
        if let Some(row) = self.under_way.back_mut() {
            refill(&mut row.shown, shown);
        }
        self.current = self.current.next();
        self.queue.set_simulated(self.current);
        self.result.frames += 1;
        // As much history as a session keeps at least, and room for what is to come.
        self.queue.set_floor(self.queue.confirmed_end().minus(self.queue.capacity() / 2));
    }
}

fn refill(bytes: &mut Vec<u8>, with: &[u8]) {
    bytes.clear();
    bytes.extend_from_slice(with);
}

/// Files what the players of a peer gave in a frame.
fn arrive(queue: &mut InputQueue, peer: PeerId, frame: Frame, (inputs, flags): (&[u8], &[u8])) {
    let width = queue.width();
    if !queue.accepts(peer, frame) {
        return;
    }
    for index in 0..queue.players_of(peer).len() {
        let Some(player) = queue.players_of(peer).get(index).copied() else { return };
        let start = player.index() * width;
        let input = inputs.get(start..start + width).filter(|input| input.len() == width);
        let flags = flags.get(player.index()).copied().unwrap_or_default();
        if let Some(input) = input {
            queue.write(player, frame, input, InputFlags::from_bits(flags));
        }
    }
    queue.arrived(peer, frame, &[]);
}

impl fmt::Debug for PredictionTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PredictionTrial")
            .field("late", &self.late)
            .field("lateness", &self.lateness)
            .field("result", &self.result())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepeatLast;

    /// What a trial says of these inputs of player 1, when they come so many frames late.
    fn tried(inputs: &[u8], lateness: u32) -> TrialResult {
        let config = SessionConfig::builder().players(2).build().unwrap();
        let roster = Roster::one_player_each(2).unwrap();
        let late = [PeerId::new(1).unwrap()].into_iter().collect();
        let mut trial =
            PredictionTrial::new(&config, &roster, late, lateness, Box::new(RepeatLast));
        for (frame, input) in (0..).map(Frame::new).zip(inputs) {
            trial.push(&StableFrame {
                frame,
                inputs: &[7, *input],
                flags: &[0, 0],
                items: &[],
                output: &[],
                state_hash: None,
                keyframe: None,
            });
        }
        trial.result()
    }

    #[test]
    fn a_change_costs_one_rollback_as_deep_as_it_comes_late() {
        // Two changes, at frames 4 and 8 of sixteen.
        let inputs = [0, 0, 0, 0, 5, 5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        for lateness in 1..4 {
            let TrialResult { frames, guesses, shown, rollbacks, resimulated } =
                tried(&inputs, lateness);
            assert_eq!((frames, rollbacks, resimulated), (16, 2, 2 * u64::from(lateness)));
            let arrived = 16 - u64::from(lateness);
            assert_eq!(guesses, GuessCounters { guesses: arrived, mispredictions: 2 });
            // Each change was shown wrong until it came.
            let mispredictions = 2 * u64::from(lateness);
            assert_eq!(shown, GuessCounters { guesses: arrived, mispredictions });
        }
    }

    #[test]
    fn inputs_that_come_in_time_are_not_guessed() {
        let frames = 3;
        assert_eq!(tried(&[1, 2, 3], 0), TrialResult { frames, ..TrialResult::default() });
    }

    #[test]
    fn a_long_trial_does_not_run_out_of_history() {
        let inputs: Vec<u8> = (0..2_000).map(|index| u8::from(index % 20 < 10)).collect();
        let result = tried(&inputs, 8);
        assert_eq!((result.frames, result.guesses.guesses), (2_000, 1_992));
        assert_eq!(result.resimulated, result.rollbacks * 8);
        assert_eq!(tried(&inputs, 1_000), result, "no session guesses more frames than its window");
    }
}
