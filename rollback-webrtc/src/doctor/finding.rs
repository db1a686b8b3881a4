//! What an examination finds, for people and for programs.

use std::fmt;
use std::time::Duration;

/// What an examination found, in the order in which people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The link that was examined.
    pub link: String,
    /// One for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is a part of.
    pub part: Part,
    /// Its name, such as `tcp` or `turn:turn.example.org:3478?transport=udp`.
    pub name: String,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen, or why it does not work, in words.
    pub text: String,
    /// The datagrams that were sent to try it.
    pub trip: Option<Trip>,
}

/// What a finding is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The way to the server of the link, and its answer.
    Server,
    /// A way to other members.
    Way,
    /// This computer.
    Machine,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Good,
    /// It does not.
    Bad,
    /// It was not tried, or is neither.
    Note,
}

/// What became of datagrams that were sent to this computer itself by some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// How many were sent.
    pub sent: u32,
    /// How many came.
    pub received: u32,
    /// How long the median one took.
    pub median: Option<Duration>,
    /// How long the slowest one took.
    pub slowest: Option<Duration>,
}

/// What follows from all findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether one can play over the link with this computer.
    pub can_play: bool,
    /// The same in a line of words.
    pub text: String,
}

impl Diagnosis {
    /// What follows from it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let of = |part, outcome| {
            let is_such = move |finding: &&Finding| {
                finding.part == part && finding.outcome == outcome && finding.name != ADDRESS
            };
            self.findings.iter().filter(is_such)
        };
        let bad = of(Part::Server, Outcome::Bad).chain(of(Part::Machine, Outcome::Bad)).next();
        if let Some(Finding { name, text, .. }) = bad {
            return Verdict { can_play: false, text: format!("not fit to play: {name}: {text}") };
        }
        let relay = of(Part::Way, Outcome::Good).find(|finding| finding.name != DIRECT);
        let is_direct = of(Part::Way, Outcome::Good).any(|finding| finding.name == DIRECT);
        let text = match (is_direct, relay) {
            (true, Some(relay)) => {
                format!("fit to play: directly where both networks let it, else by {}", relay.name)
            }
            (false, Some(relay)) => format!("fit to play, never directly: by {}", relay.name),
            (true, None) => {
                "fit to play, but only directly: where a network does not let that, nothing else works"
                    .to_owned()
            }
            (false, None) => "not fit to play: no way to other members works".to_owned(),
        };
        Verdict { can_play: is_direct || relay.is_some(), text }
    }
}

impl Finding {
    pub(super) fn new(
        part: Part,
        name: impl Into<String>,
        outcome: Outcome,
        text: impl fmt::Display,
    ) -> Self {
        // Some of it is what a server says, which may be anything and for ever.
        let text = text.to_string();
        let shown = text.chars().filter(|character| !character.is_control()).take(TEXT_CHARS_MAX);
        Self { part, name: name.into(), outcome, text: shown.collect(), trip: None }
    }

    /// A way that was tried.
    pub(super) fn of_way(name: impl Into<String>, tried: Result<Trip, String>) -> Self {
        match tried {
            Ok(trip) => {
                let outcome = if trip.received > 0 { Outcome::Good } else { Outcome::Bad };
                Self { trip: Some(trip), ..Self::new(Part::Way, name, outcome, trip) }
            }
            Err(reason) => Self::new(Part::Way, name, Outcome::Bad, reason),
        }
    }
}

/// For people, with a heading for each part.
impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.findings.iter().map(|finding| finding.name.chars().count());
        let width = names.max().unwrap_or_default();
        let mut part = None;
        for finding in &self.findings {
            if part != Some(finding.part) {
                let before = if part.is_some() { "\n" } else { "" };
                match finding.part {
                    Part::Server => write!(formatter, "{before}server of {}", self.link)?,
                    Part::Way => write!(formatter, "{before}ways to other members")?,
                    Part::Machine => write!(formatter, "{before}this computer")?,
                }
                part = Some(finding.part);
            }
            let mark = match finding.outcome {
                Outcome::Good => "ok  ",
                Outcome::Bad => "FAIL",
                Outcome::Note => "-   ",
            };
            write!(formatter, "\n  {mark} {:width$}  {}", finding.name, finding.text)?;
        }
        Ok(())
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, received, .. } = self;
        let lost = sent.saturating_sub(*received);
        if let (Some(median), Some(slowest)) = (self.median, self.slowest) {
            let (median, slowest) = (Millis(median), Millis(slowest));
            write!(formatter, "there and back in {median}, slowest {slowest}; ")?;
        }
        write!(formatter, "{lost} of {sent} lost")
    }
}

/// A duration as people read it: `0.2 ms`, `24 ms`.
pub(super) struct Millis(pub(super) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1000.0;
        let decimals = if millis < 10.0 { 1 } else { 0 };
        write!(formatter, "{millis:.decimals$} ms")
    }
}

/// Names that the verdict knows.
pub(super) const DIRECT: &str = "direct";
pub(super) const ADDRESS: &str = "address";

/// Longest text of a finding.
const TEXT_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(findings: &[(Part, &str, Outcome)]) -> Diagnosis {
        let finding = |(part, name, outcome): &(Part, &str, Outcome)| {
            Finding::new(*part, *name, *outcome, "so")
        };
        let findings = findings.iter().map(finding).collect();
        Diagnosis { link: "ws://h/kitchen".to_owned(), findings }
    }

    #[test]
    fn the_verdict_is_what_matters_of_it() {
        use Outcome::{Bad, Good, Note};
        let cases = [
            ([(Part::Way, DIRECT, Good), (Part::Way, "turn:t", Good)], true, "else by turn:t"),
            ([(Part::Way, DIRECT, Bad), (Part::Way, "server", Good)], true, "never directly"),
            ([(Part::Way, DIRECT, Good), (Part::Way, "turn:t", Bad)], true, "only directly"),
            ([(Part::Way, ADDRESS, Good), (Part::Way, "turn:t", Bad)], false, "no way"),
            ([(Part::Server, "tcp", Bad), (Part::Way, DIRECT, Good)], false, "tcp: so"),
            ([(Part::Way, DIRECT, Good), (Part::Machine, "timer", Note)], true, "only directly"),
        ];
        for (findings, can_play, text) in cases {
            let verdict = diagnosis(&findings).verdict();
            assert_eq!(verdict.can_play, can_play, "{verdict:?}");
            assert!(verdict.text.contains(text), "{verdict:?}");
        }
    }

    #[test]
    fn people_read_a_line_for_each_thing() {
        let mut shown = diagnosis(&[
            (Part::Server, "tcp", Outcome::Good),
            (Part::Way, DIRECT, Outcome::Bad),
            (Part::Way, "server", Outcome::Note),
        ]);
        let (median, slowest) = (Duration::from_micros(240), Duration::from_millis(24));
        let trip = Trip { sent: 50, received: 49, median: Some(median), slowest: Some(slowest) };
        shown.findings.push(Finding::of_way("turn:t", Ok(trip)));
        let expected = "server of ws://h/kitchen\n  ok   tcp     so\nways to other members\n  \
                        FAIL direct  so\n  -    server  so\n  ok   turn:t  there and back in 0.2 ms, \
                        slowest 24 ms; 1 of 50 lost";
        assert_eq!(shown.to_string(), expected);
        let nothing = Trip { sent: 50, received: 0, median: None, slowest: None };
        assert_eq!(Finding::of_way("turn:t", Ok(nothing)).outcome, Outcome::Bad);
    }

    #[test]
    fn what_a_server_says_is_shortened_and_cannot_write_over_the_screen() {
        let text = format!("\u{1b}[2J{}", "x".repeat(1000));
        let finding = Finding::new(Part::Server, "room", Outcome::Bad, text);
        assert!(finding.text.starts_with("[2Jxxx"));
        assert_eq!(finding.text.chars().count(), TEXT_CHARS_MAX);
    }
}
