//! Visits every state that can be reached, the nearest ones first. Knows nothing of what the states are.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;

use crate::store::QuickMap;

/// Something whose every course can be followed.
pub(crate) trait Model {
    /// All that decides what can happen next.
    type State: Copy + Eq + Hash;
    /// One thing that can happen.
    type Action: Copy;

    /// Where it begins.
    fn initial(&mut self) -> Self::State;

    /// Everything that can happen, and where it leads. What changes nothing may be among it.
    fn next(&mut self, state: Self::State, next: &mut Vec<(Self::Action, Self::State)>);

    /// The promise that is broken in this state.
    fn broken(&mut self, state: Self::State) -> Option<String>;

    /// What happens, for people.
    fn describe(&self, action: Self::Action) -> String;
}

/// What was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Explored {
    /// How many states there are.
    pub(crate) states: usize,
    /// How many ways lead from one to another.
    pub(crate) transitions: usize,
    /// How many steps the farthest ones are away.
    pub(crate) depth: usize,
}

impl Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth } = self;
        write!(f, "{states:>9} states, {transitions:>9} transitions, {depth:>3} deep")
    }
}

/// The shortest way to a broken promise.
pub(crate) struct Counterexample {
    pub(crate) broken: String,
    pub(crate) steps: Vec<String>,
}

impl Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after:", self.broken)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

/// Visits every state.
///
/// # Errors
/// When a promise is broken, with the shortest way there.
///
/// # Panics
/// When there are more than `states_max` states: then nothing was shown.
pub(crate) fn explore<M: Model>(
    model: &mut M,
    states_max: usize,
) -> Result<Explored, Counterexample> {
    let initial = model.initial();
    let mut states = vec![initial];
    let mut ways: Vec<Option<(usize, M::Action)>> = vec![None];
    let mut known = QuickMap::default();
    known.insert(initial, ());
    let (mut explored, mut level_end, mut at) = (Explored::default(), 1, 0);
    let mut next = Vec::new();
    while let Some(state) = states.get(at).copied() {
        if let Some(broken) = model.broken(state) {
            return Err(Counterexample { broken, steps: way_to(model, at, &ways) });
        }
        if at == level_end {
            explored.depth += 1;
            level_end = states.len();
        }
        model.next(state, &mut next);
        for (action, to) in next.drain(..) {
            explored.transitions += usize::from(to != state);
            known.entry(to).or_insert_with(|| {
                states.push(to);
                ways.push(Some((at, action)));
            });
        }
        assert!(states.len() <= states_max, "more than {states_max} states");
        at += 1;
    }
    explored.states = states.len();
    Ok(explored)
}

fn way_to<M: Model>(model: &M, mut at: usize, ways: &[Option<(usize, M::Action)>]) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some((from, action)) = ways[at] {
        steps.push(model.describe(action));
        at = from;
    }
    steps.reverse();
    steps
}
