//! Games with a flaw each, and what is said of them.

use alloc::rc::Rc;
use alloc::string::ToString;
use core::cell::Cell;
use core::sync::atomic::{AtomicI32, Ordering};

use super::*;

/// What is wrong with a walker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    /// Its speed is not in the snapshot.
    HiddenSpeed,
    /// It remembers what a frame looked like, outside the snapshot.
    Cache,
    /// It looks at its inputs only when a frame is stepped for the first time.
    FirstLook,
    /// It counts its steps outside any object, and stumbles over the count.
    Global,
    /// The number of its steps is hashed and saved, and not loaded.
    Statistics,
    /// A saved state is the live one under another name.
    SharedSlot,
    /// Hashing counts itself.
    HashOfHashes,
    /// Its output says how often it was stepped.
    Output,
    /// It ends at its hundredth step, however often it went back.
    End,
    /// It does something else when it is stepped again.
    Resimulation,
    /// It calls two states the same that differ in their speed.
    Same,
    /// It calls two states the same that differ in who pushed, which its output tells and its hash does not.
    SameButOutput,
}

struct Walker {
    flaw: Flaw,
    x: Rc<Cell<i32>>,
    y: i32,
    speed: i32,
    steps: i32,
    cache: Vec<i32>,
    hashes: Cell<i32>,
}

#[derive(Default)]
struct Slot {
    x: Rc<Cell<i32>>,
    y: i32,
    speed: i32,
    steps: i32,
}

static GLOBAL: AtomicI32 = AtomicI32::new(0);

impl Walker {
    fn new(flaw: Flaw) -> Self {
        let (x, cache, hashes) = (Rc::default(), Vec::new(), Cell::new(0));
        Self { flaw, x, y: 0, speed: 1, steps: 0, cache, hashes }
    }
}

impl Game for Walker {
    type Input = i8;
    type Snapshot = Slot;
    type Error = &'static str;

    fn save(&self, slot: &mut Slot) -> Result<(), Self::Error> {
        let x = match self.flaw {
            Flaw::SharedSlot => self.x.clone(),
            _ => Rc::new(Cell::new(self.x.get())),
        };
        *slot = Slot { x, y: self.y, speed: self.speed, steps: self.steps };
        Ok(())
    }

    fn load(&mut self, slot: &Slot) -> Result<(), Self::Error> {
        self.x.set(slot.x.get());
        self.y = slot.y;
        if self.flaw != Flaw::HiddenSpeed {
            self.speed = slot.speed;
        }
        if self.flaw == Flaw::SameButOutput {
            self.steps = slot.steps;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Self::Error> {
        let push: i32 = step.inputs().map(i32::from).sum();
        self.steps += 1;
        self.speed += push;
        let mut speed = self.speed;
        match self.flaw {
            Flaw::Cache => {
                let frame = step.frame().index() as usize;
                if self.cache.len() <= frame {
                    self.cache.resize(frame + 1, self.steps);
                }
                self.y += self.cache[frame];
                self.cache[frame] = push;
            }
            Flaw::FirstLook => {
                let frame = step.frame().index() as usize;
                if !step.is_resimulation() {
                    self.cache.resize(self.cache.len().max(frame + 1), 0);
                    self.cache[frame] = push;
                }
                self.y += self.cache[frame];
            }
            Flaw::SameButOutput => {
                let first = step.inputs().next().map_or(0, i32::from);
                self.steps = self.steps.wrapping_mul(3).wrapping_add(first);
            }
            Flaw::Global => speed += GLOBAL.fetch_add(1, Ordering::Relaxed) / 20,
            Flaw::Resimulation => speed += i32::from(step.is_resimulation()),
            _ => {}
        }
        self.x.set(self.x.get() + speed);
        let ends = self.flaw == Flaw::End && self.steps >= 100;
        Ok(if ends { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Slot, hasher: &mut StateHasher) -> Result<(), Self::Error> {
        hasher.write_i32s(&[slot.x.get(), slot.y]);
        if self.flaw == Flaw::Statistics {
            hasher.write_i32(slot.steps);
        }
        if self.flaw == Flaw::HashOfHashes {
            self.hashes.set(self.hashes.get() + 1);
            hasher.write_i32(self.hashes.get());
        }
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Self::Error> {
        if matches!(self.flaw, Flaw::Output | Flaw::SameButOutput) {
            output.extend_from_slice(&self.steps.to_le_bytes());
        }
        Ok(())
    }

    fn same(&self, one: &Slot, other: &Slot) -> Same {
        let is_same = one.x == other.x && one.y == other.y;
        let is_same = is_same && (self.flaw == Flaw::Same || one.speed == other.speed);
        if is_same { Same::Yes } else { Same::No }
    }

    fn leaves(&self, slot: &Slot, leaves: &mut Leaves) -> Result<(), Self::Error> {
        leaves.push("x", slot.x.get().cast_unsigned());
        leaves.push("y", slot.y.cast_unsigned());
        if self.flaw == Flaw::Statistics {
            leaves.push("steps", slot.steps.cast_unsigned());
        }
        Ok(())
    }
}

fn inputs(frame: Frame, player: PlayerHandle) -> i8 {
    let mixed = frame.index().wrapping_mul(2_654_435_761) >> (8 + player.index());
    i8::try_from(mixed % 3).unwrap() - 1
}

fn check(flaw: Flaw) -> Result<SyncReport, SyncTestError<&'static str>> {
    SyncTest::new(2).frames(120).run(&mut Walker::new(flaw), inputs)
}

fn divergence(flaw: Flaw) -> Divergence {
    match check(flaw) {
        Err(SyncTestError::Diverged(divergence)) => divergence,
        other => panic!("{flaw:?}: {other:?}"),
    }
}

#[test]
fn a_sound_game_passes_at_every_depth() {
    let report = check(Flaw::None).unwrap();
    // Depths 1 to 8 at each frame, of which the first seven reach back before the start.
    let rollbacks = 120 * 8 - (1..8).sum::<u64>();
    assert_eq!((report.frames, report.rollbacks, report.ended), (120, rollbacks, false));
}

#[test]
fn state_outside_the_snapshot_is_found_with_its_frame_depth_and_leaf() {
    let found = divergence(Flaw::HiddenSpeed);
    assert_eq!((found.what, found.leaf.as_deref()), (Diverged::State, Some("x")));
    assert_eq!(found.depth, 1);
    // The first frame whose input changes the speed is the first that a rollback gets wrong.
    let pushes = |frame| PlayerHandle::all(2).map(|player| inputs(frame, player)).sum::<i8>();
    let first = Frame::ZERO.until(Frame::new(9)).find(|frame| pushes(*frame) != 0).unwrap();
    assert_eq!(found.frame, first.next());
}

#[test]
fn a_cache_outside_the_snapshot_is_found() {
    assert_eq!(divergence(Flaw::Cache).leaf.as_deref(), Some("y"));
}

#[test]
fn what_only_a_wrong_guess_spoils_is_found() {
    let found = divergence(Flaw::FirstLook);
    assert_eq!((found.what, found.leaf.as_deref()), (Diverged::State, Some("y")));
}

#[test]
fn a_global_counter_is_found() {
    assert_eq!(divergence(Flaw::Global).what, Diverged::State);
}

#[test]
fn a_hash_that_takes_in_more_than_is_loaded_is_found() {
    let found = divergence(Flaw::Statistics);
    assert_eq!((found.what, found.leaf.as_deref()), (Diverged::Load, Some("steps")));
    assert_eq!(divergence(Flaw::HashOfHashes).what, Diverged::Hash);
}

#[test]
fn a_slot_that_shares_memory_with_the_game_is_found() {
    let found = divergence(Flaw::SharedSlot);
    assert_eq!((found.what, found.leaf.as_deref()), (Diverged::Slot, Some("x")));
    assert_eq!((found.frame, found.depth), (Frame::ZERO, 0));
}

#[test]
fn another_output_or_end_is_found() {
    assert_eq!(divergence(Flaw::Output).what, Diverged::Output);
    assert_eq!(divergence(Flaw::End).what, Diverged::End);
    assert_eq!(divergence(Flaw::Resimulation).what, Diverged::State);
}

#[test]
fn states_that_are_called_the_same_and_are_not_are_found() {
    assert_eq!(divergence(Flaw::Same).what, Diverged::Same);
    assert_eq!(divergence(Flaw::SameButOutput).what, Diverged::Same);
    assert!(check(Flaw::None).unwrap().early_stops > 0);
}

#[test]
fn a_divergence_reads_as_a_sentence() {
    assert_eq!(
        check(Flaw::SharedSlot).unwrap_err().to_string(),
        "frame 0, rollback of 0 frames: a saved state changed after it was saved; the first \
         leaf that differs is x"
    );
}

#[test]
fn a_real_input_that_cannot_be_stepped_is_an_error_and_a_guess_is_not() {
    /// Cannot step its own last input twice, and ends at frame 30.
    #[derive(Clone, Default)]
    struct Picky {
        last: Option<u8>,
        limit: Option<u32>,
    }
    impl Game for Picky {
        type Input = u8;
        type Snapshot = Self;
        type Error = &'static str;
        fn save(&self, slot: &mut Self) -> Result<(), Self::Error> {
            slot.clone_from(self);
            Ok(())
        }
        fn load(&mut self, slot: &Self) -> Result<(), Self::Error> {
            self.clone_from(slot);
            Ok(())
        }
        fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Self::Error> {
            let input = step.inputs().next();
            if self.last == input {
                return Err("the same again");
            }
            self.last = input;
            let ends = Some(step.frame().index()) == self.limit;
            Ok(if ends { Outcome::Ended } else { Outcome::Running })
        }
        fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Self::Error> {
            hasher.write(&[slot.last.unwrap_or(255)]);
            Ok(())
        }
    }
    let alternate = |frame: Frame, _| u8::from(frame.is_multiple_of(2));
    let mut game = Picky { limit: Some(30), ..Picky::default() };
    let report = SyncTest::new(1).run(&mut game, alternate).unwrap();
    assert_eq!((report.frames, report.ended), (31, true));
    let error = SyncTest::new(1).run(&mut Picky::default(), |_, _| 1).unwrap_err();
    let (frame, source) = (Frame::new(1), "the same again");
    assert_eq!(error, SyncTestError::Game(GameError::Step { frame, source }));
}

/// How a game treats inputs from 5 on, which its input says mean nothing, as 0 does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ear {
    /// As nothing.
    Sound,
    /// It keeps the byte itself, and hashes it.
    KeepsByte,
    /// It keeps the byte where no hash sees it, and uses it in the next step.
    UsesByteLater,
    /// It gives the byte as its output.
    TellsByte,
    /// It ends at the highest byte.
    EndsAtByte,
    /// It cannot step the highest byte.
    FailsAtByte,
}

#[derive(Clone)]
struct Listener {
    ear: Ear,
    sum: i32,
    last: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Wish(u8);

impl Input for Wish {
    const WIDTH: usize = 1;

    fn write(&self, bytes: &mut [u8]) {
        self.0.write(bytes);
    }

    fn read(bytes: &[u8]) -> Self {
        Self(u8::read(bytes))
    }

    fn equivalent(given: &[u8], used: &[u8]) -> bool {
        let means = |bytes: &[u8]| Some(u8::read(bytes)).filter(|wish| *wish < 5).unwrap_or(0);
        means(given) == means(used)
    }
}

impl Game for Listener {
    type Input = Wish;
    type Snapshot = (i32, Vec<u8>);
    type Error = &'static str;

    fn save(&self, slot: &mut Self::Snapshot) -> Result<(), Self::Error> {
        *slot = (self.sum, self.last.clone());
        Ok(())
    }

    fn load(&mut self, slot: &Self::Snapshot) -> Result<(), Self::Error> {
        (self.sum, self.last) = slot.clone();
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, Wish>) -> Result<Outcome, Self::Error> {
        if self.ear == Ear::UsesByteLater {
            self.sum += self.last.iter().map(|last| i32::from(*last)).sum::<i32>();
        }
        self.last = step.inputs().map(|wish| wish.0).collect();
        self.sum += self.last.iter().filter(|wish| **wish < 5).map(|w| i32::from(*w)).sum::<i32>();
        let is_highest = self.last.contains(&7);
        if is_highest && self.ear == Ear::FailsAtByte {
            return Err("a seven");
        }
        let ends = is_highest && self.ear == Ear::EndsAtByte;
        Ok(if ends { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self::Snapshot, hasher: &mut StateHasher) -> Result<(), Self::Error> {
        hasher.write_i32(slot.0);
        if self.ear == Ear::KeepsByte {
            hasher.write(&slot.1);
        }
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Self::Error> {
        if self.ear == Ear::TellsByte {
            output.extend_from_slice(&self.last);
        }
        Ok(())
    }
}

fn listened(ear: Ear, inputs: fn(Frame) -> u8) -> Result<SyncReport, SyncTestError<&'static str>> {
    let mut game = Listener { ear, sum: 0, last: Vec::new() };
    SyncTest::new(2).frames(60).run(&mut game, |frame, _| Wish(inputs(frame)))
}

/// Never a seven: it takes one bit changed to make one, of a six.
fn wishes(frame: Frame) -> u8 {
    [0, 1, 6, 3, 2, 5][frame.index() as usize / 2 % 6]
}

#[test]
fn inputs_that_are_called_equivalent_and_are_not_are_found() {
    assert!(listened(Ear::Sound, wishes).unwrap().equivalents > 60);
    for (ear, frame) in [
        (Ear::KeepsByte, 1),
        (Ear::TellsByte, 0),
        (Ear::EndsAtByte, 4),
        (Ear::FailsAtByte, 4),
        (Ear::UsesByteLater, 2),
    ] {
        let found = match listened(ear, wishes) {
            Err(SyncTestError::Diverged(found)) => found,
            other => panic!("{ear:?}: {other:?}"),
        };
        assert_eq!((found.what, found.frame), (Diverged::Equivalent, Frame::new(frame)), "{ear:?}");
    }
}

#[test]
fn inputs_of_the_last_frames_are_proved_as_well() {
    // Only the last frame has an input that others are equivalent to.
    let late = |frame: Frame| if frame == Frame::new(59) { 0 } else { 1 };
    assert!(listened(Ear::Sound, late).unwrap().equivalents > 0);
    let found = listened(Ear::TellsByte, late).unwrap_err();
    assert!(matches!(found, SyncTestError::Diverged(found) if found.frame == Frame::new(59)));
}

#[test]
fn without_an_equivalence_nothing_is_tried() {
    assert_eq!(check(Flaw::None).unwrap().equivalents, 0);
}

/// Its state is bytes, of which it counts one outside of them.
struct Machine {
    memory: crate::PagedBytes,
    count: u16,
}

impl Game for Machine {
    type Input = u8;
    type Snapshot = crate::PagedBytes;
    type Error = crate::OutOfBytes;

    fn save(&self, slot: &mut crate::PagedBytes) -> Result<(), Self::Error> {
        slot.clone_from(&self.memory);
        Ok(())
    }

    fn load(&mut self, slot: &crate::PagedBytes) -> Result<(), Self::Error> {
        self.memory.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, _: &Step<'_, u8>) -> Result<Outcome, Self::Error> {
        self.count += 0x101;
        self.memory.write(9000, &self.count.to_le_bytes())?;
        self.memory.write(9003, &self.count.to_le_bytes())?;
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &crate::PagedBytes, hasher: &mut StateHasher) -> Result<(), Self::Error> {
        slot.hash_into(hasher);
        Ok(())
    }

    fn export(&self, slot: &crate::PagedBytes, bytes: &mut Vec<u8>) -> Result<bool, Self::Error> {
        slot.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
        Ok(true)
    }
}

#[test]
fn of_a_state_that_is_bytes_the_first_that_differ_are_named() {
    let mut game = Machine { memory: crate::PagedBytes::new(10_000), count: 0 };
    let error = SyncTest::new(1).frames(10).run(&mut game, |_, _| 0).unwrap_err();
    let SyncTestError::Diverged(found) = &error else { panic!("{error}") };
    assert_eq!((found.what, found.leaf.as_deref()), (Diverged::State, None));
    assert_eq!(found.bytes, Some(9000..9002));
    assert!(error.to_string().ends_with("; the first bytes that differ are 9000..9002"), "{error}");
}
