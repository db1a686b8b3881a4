//! Predictors: what they guess, what wrong guesses cost, and what is counted of them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a wrong expectation shows"
)]

mod counters;
mod equivalent;
mod hints;
mod learned;
mod pair;
mod players;
mod traces;
