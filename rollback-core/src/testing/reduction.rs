//! What is left out of a simulation, so that one that fails becomes small: greedily, as long as it fails in the same way.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::faults::Faults;
use super::oracle::Failure;

/// What of a simulation is left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reduction {
    /// No more peers than these play.
    pub(crate) peers: Option<usize>,
    /// No more frames than these are asked for.
    pub(crate) frames: Option<u32>,
    /// Of what is planned for a moment, only these strike, by their place in the plan.
    pub(crate) kept: Option<BTreeSet<usize>>,
    /// What does not happen by chance any more.
    without: BTreeSet<&'static str>,
}

impl Reduction {
    /// What `text` says, or where it is empty the environment variable [`VARIABLE`]; nothing is left out unless they say so.
    ///
    /// # Errors
    /// The word that says nothing.
    pub(crate) fn asked(text: &str) -> Result<Self, String> {
        match std::env::var(VARIABLE) {
            Ok(named) if text.is_empty() => named.parse(),
            _ => text.parse(),
        }
    }

    /// The variable to set, before a command that has a simulation run.
    pub(crate) fn before(&self, command: &str) -> String {
        format!("{VARIABLE}={self} {command}")
    }

    /// Whether something is left out.
    pub(crate) fn is_without(&self, name: &str) -> bool {
        self.without.contains(name)
    }

    pub(crate) fn faults(&self, mut faults: Faults) -> Faults {
        for (name, end) in CHANCES {
            if self.is_without(name) {
                end(&mut faults);
            }
        }
        faults
    }

    /// What is a little smaller, the most first. `failure` is what came of this.
    fn smaller(&self, failure: &Failure) -> impl Iterator<Item = Self> + use<> {
        let (peers, frames) = (failure.peers, failure.frames);
        let few = (2..peers).map(|peers| Self { peers: Some(peers), ..self.clone() });
        let short = [frames / 4, frames / 2, frames * 3 / 4];
        let short = short.into_iter().filter(|frames| *frames >= FRAMES_MIN);
        let short = short.map(|frames| Self { frames: Some(frames), ..self.clone() });
        let planned = &failure.planned;
        let half = planned.len() / 2;
        let parts = [BTreeSet::new(), part(planned, 0..half), part(planned, half..usize::MAX)];
        let parts = parts.into_iter().filter(|part| part.len() < planned.len());
        let without_one = planned.iter().map(|one| {
            let mut others = planned.clone();
            others.remove(one);
            others
        });
        let calm = parts.chain(without_one).map(|kept| Self { kept: Some(kept), ..self.clone() });
        let names = failure.chances.iter().map(|name| {
            let mut reduced = self.clone();
            reduced.without.insert(name);
            reduced
        });
        few.chain(short).chain(calm).chain(names).collect::<Vec<_>>().into_iter()
    }
}

/// The smallest simulation that was found to fail in the same way as `failure`: `run` says how one fails, if it does.
pub(crate) fn shrink(
    from: &Reduction,
    failure: &Failure,
    run: impl Fn(&Reduction) -> Option<Box<Failure>>,
) -> Option<Box<Failure>> {
    let (mut reduction, mut smallest) = (from.clone(), None::<Box<Failure>>);
    let mut runs = 0;
    loop {
        let now = smallest.as_deref().unwrap_or(failure);
        let found = reduction.smaller(now).find_map(|smaller| {
            runs += 1;
            let still =
                run(&smaller).filter(|still| still.oracle == failure.oracle && !still.is_refused);
            still.filter(|_| runs <= RUNS_MAX).map(|still| (smaller, still))
        });
        let Some((smaller, still)) = found else { return smallest };
        (reduction, smallest) = (smaller, Some(still));
    }
}

/// What can happen by chance.
pub(crate) fn chances(faults: &Faults) -> impl Iterator<Item = &'static str> + use<> {
    let without = |end: End| {
        let mut without = faults.clone();
        end(&mut without);
        without
    };
    let names = CHANCES.into_iter().filter(|(_, end)| without(*end) != *faults);
    names.map(|(name, _)| name).collect::<Vec<_>>().into_iter()
}

fn part(of: &BTreeSet<usize>, places: core::ops::Range<usize>) -> BTreeSet<usize> {
    of.iter().enumerate().filter(|(place, _)| places.contains(place)).map(|(_, one)| *one).collect()
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers.map(|peers| format!("peers={peers}"));
        let frames = self.frames.map(|frames| format!("frames={frames}"));
        let kept = self.kept.as_ref().map(|kept| {
            let places: Vec<_> = kept.iter().map(ToString::to_string).collect();
            format!("kept={}", places.join("+"))
        });
        let without = self.without.iter().map(|name| format!("no-{name}"));
        let words: Vec<_> = [peers, frames, kept].into_iter().flatten().chain(without).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Reduction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut reduction = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            reduction.take(word).ok_or(word)?;
        }
        Ok(reduction)
    }
}

impl Reduction {
    fn take(&mut self, word: &str) -> Option<()> {
        if let Some(name) = word.strip_prefix("no-") {
            let mut names = CHANCES.into_iter().map(|(name, _)| name).chain(HABITS);
            self.without.insert(names.find(|known| *known == name)?);
            return Some(());
        }
        match word.split_once('=')? {
            ("peers", peers) => self.peers = Some(peers.parse().ok()?),
            ("frames", frames) => self.frames = Some(frames.parse().ok()?),
            ("kept", places) => {
                let places = places.split('+').filter(|place| !place.is_empty());
                self.kept = Some(places.map(|place| place.parse().ok()).collect::<Option<_>>()?);
            }
            _ => return None,
        }
        Some(())
    }
}

type End = fn(&mut Faults);

/// What happens by chance, and how it is ended.
const CHANCES: [(&str, End); 11] = [
    ("delay", |faults| (faults.delay_min_ms, faults.delay_max_ms) = (0, 0)),
    ("jitter", |faults| faults.jitter_max_ms = 0),
    ("loss", |faults| faults.loss_max_per_mille = 0),
    ("bursts", |faults| faults.burst_start_per_mille = 0),
    ("duplicates", |faults| faults.duplicate_per_mille = 0),
    ("damage", |faults| faults.corrupt_per_mille = 0),
    ("skew", |faults| faults.clock_skew_max_ppm = 0),
    ("offset", |faults| faults.clock_offset_max_ms = 0),
    ("late-start", |faults| faults.start_spread_max_ms = 0),
    ("slow-frames", |faults| faults.slow_frame_per_mille = 0),
    ("spectators", |faults| faults.spectators = 0),
];

/// One player a peer: what is left without second ones.
pub(crate) const SECOND_PLAYERS: &str = "second-players";
/// What players say that they will do.
pub(crate) const HINTS: &str = "hints";
/// Datagrams that nobody sent.
pub(crate) const NOISE: &str = "noise";

const HABITS: [&str; 3] = [SECOND_PLAYERS, HINTS, NOISE];

/// With fewer there is no time for anything to happen.
const FRAMES_MIN: u32 = 30;

/// Smaller is better, but somebody waits.
const RUNS_MAX: u32 = 300;

const VARIABLE: &str = "ROLLBACK_REDUCED";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduction_is_read_as_it_is_written() {
        for text in ["", "peers=2,frames=75,kept=0+3,no-loss,no-noise", "kept="] {
            assert_eq!(text.parse::<Reduction>().unwrap().to_string(), text);
        }
        for (text, word) in
            [("peers=two", "peers=two"), ("frames=9,no-luck", "no-luck"), ("x", "x")]
        {
            assert_eq!(text.parse::<Reduction>(), Err(word.into()));
        }
    }
}
