//! What an examination finds, for people and for programs.

use std::fmt;
use std::time::Duration;

/// What an examination found, in the order in which people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The link that was examined.
    pub link: String,
    /// Whether its server is at an address of this computer or of its network, reached without a proxy.
    pub room_is_local: bool,
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
    /// It works, but games over it are no joy: many datagrams are lost, or they take long.
    Poor,
    /// It does not work, or too badly to play.
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
                let (outcome, why) = trip.outcome();
                let text = format!("{trip}{why}");
                Self { trip: Some(trip), ..Self::new(Part::Way, name, outcome, text) }
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
                Outcome::Poor => "poor",
                Outcome::Bad => "FAIL",
                Outcome::Note => "-   ",
            };
            write!(formatter, "\n  {mark} {:width$}  {}", finding.name, finding.text)?;
        }
        Ok(())
    }
}

impl Trip {
    /// How good a way is where this became of datagrams, and what is wrong with it.
    fn outcome(&self) -> (Outcome, &'static str) {
        let lost = self.sent.saturating_sub(self.received);
        let lost_percent = u64::from(lost) * 100 / u64::from(self.sent.max(1));
        match self.median {
            None => (Outcome::Bad, ""),
            Some(_) if lost_percent > USABLE_LOST_PERCENT_MAX => {
                (Outcome::Bad, ": too many to play")
            }
            Some(_) if lost_percent > GOOD_LOST_PERCENT_MAX => (Outcome::Poor, ": games stutter"),
            Some(median) if median > GOOD_MEDIAN_MAX => {
                (Outcome::Poor, ": so slow that games wait for it")
            }
            Some(_) => (Outcome::Good, ""),
        }
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
pub(super) const IPV6: &str = "ipv6";

/// Most datagrams in a hundred that a good way loses. Each carries all inputs that were not acknowledged, so up to here
/// one input in 25 waits for more than the next datagram.
const GOOD_LOST_PERCENT_MAX: u64 = 20;

/// Most that a way loses by which one can play at all: beyond, an input in four waits for more than the next datagram,
/// and a stream of bytes, which is sent again until it comes, hardly moves. What takes longer than a second counts as
/// lost for the most part, as it is not waited for.
const USABLE_LOST_PERCENT_MAX: u64 = 50;

/// Slowest median of a good way: at 30 frames a second a prediction window of 12 frames, the default, is over then, and
/// the game waits for inputs. By a relay members are as far from each other as this computer is from itself.
const GOOD_MEDIAN_MAX: Duration = Duration::from_millis(400);

/// Longest text of a finding.
const TEXT_CHARS_MAX: usize = 300;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of these findings, all with the same text.
    pub(in crate::doctor) fn diagnosis(findings: &[(Part, &str, Outcome)]) -> Diagnosis {
        let finding = |(part, name, outcome): &(Part, &str, Outcome)| {
            Finding::new(*part, *name, *outcome, "so")
        };
        let findings = findings.iter().map(finding).collect();
        Diagnosis { link: "ws://h/kitchen".to_owned(), room_is_local: false, findings }
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
        shown.findings = vec![tried(50, 401)];
        assert!(shown.to_string().ends_with(
            "poor turn:t  there and back in 401 ms, slowest 401 ms; \
                                             0 of 50 lost: so slow that games wait for it"
        ));
    }

    /// A way on which so many of 50 datagrams came, all after so long.
    fn tried(received: usize, millis: u64) -> Finding {
        let trip = Trip::of(50, vec![Duration::from_millis(millis); received]);
        Finding::of_way("turn:t", Ok(trip))
    }

    #[test]
    fn a_way_is_good_poor_or_bad_by_what_is_lost_and_how_long_it_takes() {
        use Outcome::{Bad, Good, Poor};
        let cases = [
            ((50, 1), Good, "0 of 50 lost"),
            ((40, 400), Good, "10 of 50 lost"),
            ((39, 1), Poor, "11 of 50 lost: games stutter"),
            ((50, 401), Poor, "0 of 50 lost: so slow that games wait for it"),
            ((25, 401), Poor, "25 of 50 lost: games stutter"),
            ((24, 1), Bad, "26 of 50 lost: too many to play"),
            ((1, 1), Bad, "49 of 50 lost: too many to play"),
            ((0, 1), Bad, "50 of 50 lost"),
        ];
        for ((received, millis), outcome, text) in cases {
            let way = tried(received, millis);
            assert_eq!(way.outcome, outcome, "{}", way.text);
            assert!(way.text.ends_with(text), "{}", way.text);
        }
        let reason = Finding::of_way("turn:t", Err("refuses".to_owned()));
        assert_eq!((reason.outcome, reason.text.as_str()), (Bad, "refuses"));
    }

    #[test]
    fn what_a_server_says_is_shortened_and_cannot_write_over_the_screen() {
        let text = format!("\u{1b}[2J{}", "x".repeat(1000));
        let finding = Finding::new(Part::Server, "room", Outcome::Bad, text);
        assert!(finding.text.starts_with("[2Jxxx"));
        assert_eq!(finding.text.chars().count(), TEXT_CHARS_MAX);
    }
}
