//! What follows from all findings.

use super::finding::{ADDRESS, DIRECT, Diagnosis, Finding, IPV6, Outcome, Part};

/// What follows from all findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether one can play over the link with this computer, be it poorly.
    pub can_play: bool,
    /// Whether no way leads out of this network. One can play then only when the server of the link is in it, too, since
    /// the other members then are as well.
    pub only_local: bool,
    /// All of it in a line of words.
    pub text: String,
}

impl Diagnosis {
    /// What follows from it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdict = |can_play, text| Verdict { can_play, only_local: false, text };
        let is_bad = |part| {
            let is_bad =
                move |finding: &&Finding| finding.part == part && finding.outcome == Outcome::Bad;
            self.findings.iter().find(is_bad)
        };
        if let Some(Finding { name, text, .. }) = is_bad(Part::Server).or(is_bad(Part::Machine)) {
            return verdict(false, format!("not fit to play: {name}: {text}"));
        }
        let way = |name| self.ways().find(|way| way.name == name);
        // Of two that are good the former is: UDP is before TCP.
        let relays =
            self.ways().filter(|way| ![DIRECT, ADDRESS, IPV6].contains(&way.name.as_str()));
        let relay = relays.filter(|relay| rank(relay).is_some()).min_by_key(|relay| rank(relay));
        let direct = way(DIRECT).filter(|direct| rank(direct).is_some());
        let address = way(ADDRESS);
        let leads_out = [address, way(IPV6)]
            .iter()
            .any(|seen| seen.is_some_and(|seen| seen.outcome == Outcome::Good));
        match (direct, relay) {
            (Some(direct), Some(relay)) => {
                let is_good = |way: &Finding| way.outcome == Outcome::Good;
                let fit = fit(is_good(relay) || leads_out && is_good(direct));
                let text = format!(
                    "{fit}: directly{} where both networks let it, else{} by {}",
                    poorly(direct),
                    poorly(relay),
                    relay.name
                );
                verdict(true, text)
            }
            (None, Some(relay)) => {
                let fit = fit(relay.outcome == Outcome::Good);
                verdict(true, format!("{fit}, never directly: by {}", relay.name))
            }
            (Some(direct), None) if leads_out => {
                let fit = fit(direct.outcome == Outcome::Good);
                let text = format!(
                    "{fit}, but only directly: where a network does not let that, nothing else works"
                );
                verdict(true, text)
            }
            (Some(direct), None) => {
                let fit = match self.room_is_local {
                    true => fit(direct.outcome == Outcome::Good),
                    false => "not fit to play over this link",
                };
                let why = address.map_or("", |address| address.text.as_str());
                let text = format!("{fit}, only on this network: no relay works; {why}");
                Verdict { can_play: self.room_is_local, only_local: true, text }
            }
            (None, None) => {
                verdict(false, "not fit to play: no way to other members works".to_owned())
            }
        }
    }

    fn ways(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.part == Part::Way)
    }
}

/// The better way has the lower one; `None` for what is no way.
fn rank(way: &Finding) -> Option<u8> {
    match way.outcome {
        Outcome::Good => Some(0),
        Outcome::Poor => Some(1),
        Outcome::Bad | Outcome::Note => None,
    }
}

fn fit(is_well: bool) -> &'static str {
    if is_well { "fit to play" } else { "fit to play, but poorly" }
}

fn poorly(way: &Finding) -> &'static str {
    if way.outcome == Outcome::Poor { " poorly" } else { "" }
}

#[cfg(test)]
mod tests {
    use Outcome::{Bad, Good, Note, Poor};

    use super::*;
    use crate::doctor::finding::tests::diagnosis;

    /// With these outcomes of `direct`, `address`, a TURN server and the server.
    fn of_ways(outcomes: [Outcome; 4], room_is_local: bool) -> Verdict {
        let names = [DIRECT, ADDRESS, "turn:t", "the server"];
        let findings: Vec<_> =
            { names.into_iter().zip(outcomes) }.map(|(name, how)| (Part::Way, name, how)).collect();
        Diagnosis { room_is_local, ..diagnosis(&findings) }.verdict()
    }

    #[test]
    fn ipv6_leads_out_and_is_no_relay() {
        let of_ipv6 = |outcome| {
            let ways = [(DIRECT, Good), (ADDRESS, Note), (IPV6, outcome)];
            diagnosis(&ways.map(|(name, outcome)| (Part::Way, name, outcome))).verdict()
        };
        let verdict = of_ipv6(Good);
        assert!(verdict.can_play && verdict.text.contains("but only directly"), "{verdict:?}");
        let verdict = of_ipv6(Note);
        assert!(!verdict.can_play && verdict.only_local, "{verdict:?}");
    }

    #[test]
    fn the_verdict_is_what_matters_of_it() {
        let cases = [
            (
                [Good, Good, Good, Good],
                true,
                "fit to play: directly where both networks let it, else by turn:t",
            ),
            (
                [Good, Bad, Bad, Good],
                true,
                "fit to play: directly where both networks let it, else by the server",
            ),
            (
                [Good, Good, Poor, Good],
                true,
                "fit to play: directly where both networks let it, else by the server",
            ),
            (
                [Good, Good, Poor, Bad],
                true,
                "fit to play: directly where both networks let it, else poorly by turn:t",
            ),
            (
                [Good, Note, Poor, Bad],
                true,
                "fit to play, but poorly: directly where both networks let it, else poorly by turn:t",
            ),
            (
                [Poor, Good, Bad, Poor],
                true,
                "fit to play, but poorly: directly poorly where both networks let it, else poorly by the server",
            ),
            ([Bad, Bad, Good, Good], true, "fit to play, never directly: by turn:t"),
            ([Bad, Good, Poor, Note], true, "fit to play, but poorly, never directly: by turn:t"),
            (
                [Good, Good, Bad, Note],
                true,
                "fit to play, but only directly: where a network does not let that, nothing else works",
            ),
            ([Bad, Good, Bad, Bad], false, "not fit to play: no way to other members works"),
        ];
        for (outcomes, can_play, text) in cases {
            let expected = Verdict { can_play, only_local: false, text: text.to_owned() };
            for room_is_local in [false, true] {
                assert_eq!(of_ways(outcomes, room_is_local), expected, "{outcomes:?}");
            }
        }
    }

    #[test]
    fn without_a_relay_and_a_way_out_one_plays_on_this_network_only() {
        // Not answered; symmetric, or no STUN server.
        for address in [Bad, Note] {
            let outcomes = [Good, address, Bad, Note];
            let verdict = of_ways(outcomes, false);
            assert!(verdict.only_local && !verdict.can_play, "{verdict:?}");
            let text = "not fit to play over this link, only on this network: no relay works; so";
            assert_eq!(verdict.text, text);
            let verdict = of_ways(outcomes, true);
            assert!(verdict.only_local && verdict.can_play, "{verdict:?}");
            assert_eq!(verdict.text, "fit to play, only on this network: no relay works; so");
        }
    }

    #[test]
    fn a_bad_server_or_computer_outweighs_all_ways() {
        for part in [Part::Server, Part::Machine] {
            let findings = [(Part::Way, DIRECT, Good), (Part::Way, "turn:t", Good)];
            let mut findings = findings.to_vec();
            findings.push((part, "timer", Note));
            assert!(diagnosis(&findings).verdict().can_play);
            findings.push((part, "tcp", Bad));
            let verdict = diagnosis(&findings).verdict();
            assert!(!verdict.can_play && verdict.text.contains("tcp: so"), "{verdict:?}");
        }
    }
}
