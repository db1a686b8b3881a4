//! Datagrams that nobody sent: they change nothing, and panic nothing.

use rollback_core::testing::{Faults, Report, Simulation};
use rollback_core::{
    Facts, Frame, Output, PeerId, PlayerHandle, Roster, Session, SessionConfig, Ticket, Timestamp,
};

use crate::games::Arena;

/// Three peers, 600 frames and more, with 60 datagrams of noise before each.
fn played(noise_per_frame: u32) -> Report {
    let faults = Faults { delay_max_ms: 30, loss_max_per_mille: 100, ..Faults::none() };
    let simulation = Simulation::new(11).peers(3).faults(faults).noise_per_frame(noise_per_frame);
    simulation.run(Arena::endless).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_hundred_thousand_random_and_mutated_datagrams_change_no_state() {
    let (quiet, noisy) = (played(0), played(60));
    let heard: u64 = noisy.peers.iter().map(|peer| peer.refused + peer.counters.strangers).sum();
    assert!(heard >= 100_000, "{heard}");
    for (quiet, noisy) in quiet.peers.iter().zip(&noisy.peers) {
        assert_eq!(quiet.log, noisy.log);
        assert_eq!(quiet.end, noisy.end);
        assert_eq!(quiet.events, noisy.events);
        assert_eq!(quiet.counters.rollback, noisy.counters.rollback);
        assert_eq!(quiet.counters.frames, noisy.counters.frames);
        assert_eq!(quiet.counters.stalls, noisy.counters.stalls);
    }
    assert_eq!(quiet.lasted, noisy.lasted);
}

#[test]
fn no_datagram_with_a_right_tag_panics_whatever_it_holds() {
    for seed in 0..30 {
        let simulation = Simulation::new(seed)
            .peers(2 + (seed % 3) as usize)
            .frames(200)
            .noise_per_frame(20)
            .noise_is_sealed()
            .hints()
            .waive_all();
        // Members of which one breaks the protocol may well not agree: only that it ends is asked for.
        let played = simulation.run(Arena::endless);
        assert!(played.is_ok(), "{played:?}");
    }
}

/// Python's `pickle` would run a command while it loads these: as text (protocol 0) and as bytes (protocol 2).
const PICKLED_TEXT: &str = "cposix\nsystem\n(S'touch pickled'\ntR.";
const PICKLED_BYTES: &[u8] = b"\x80\x02cposix\nsystem\nX\x0d\x00\x00\x00touch pickled\x85R.";

#[test]
fn a_pickle_in_a_datagram_is_dropped_and_one_in_a_hello_is_text_like_any_other() {
    let pickled = || (PICKLED_TEXT.to_owned(), PICKLED_TEXT.to_owned());
    let facts = || Facts { must_match: vec![pickled()], may_differ: vec![pickled()] };
    let config = SessionConfig::builder().players(2).build().unwrap();
    let roster = Roster::one_player_each(2).unwrap();
    let peers = [0, 1].map(|slot| PeerId::new(slot).unwrap());
    let mut games = [Arena::endless(), Arena::endless()];
    let mut sessions = peers.map(|local| {
        let roster = roster.clone();
        let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
        Session::new(&config, &ticket, facts(), &Arena::endless(), Timestamp::ZERO).unwrap()
    });
    let mut sent = 0;
    for tick in 0..200 {
        let now = Timestamp::from_millis(tick * 16);
        for (own, other) in [(0, 1), (1, 0)] {
            let player = PlayerHandle::new(peers[own].slot()).unwrap();
            sessions[own].set_local_input(player, &tick.to_le_bytes()[0]).unwrap();
            sessions[own].advance_frame(now, &mut games[own]).unwrap();
            let mut datagrams = Vec::new();
            while let Some(output) = sessions[own].poll_output(now) {
                if let Output::Datagram { bytes, .. } = output {
                    datagrams.push(bytes.to_vec());
                }
            }
            for datagram in datagrams {
                // As it is, behind the head of a true datagram, and at its end.
                for forged in [
                    PICKLED_BYTES.to_vec(),
                    [&datagram[..5], PICKLED_BYTES].concat(),
                    [&datagram[..], PICKLED_BYTES].concat(),
                ] {
                    sessions[other].handle_datagram(now, peers[own], &forged);
                    sent += 1;
                }
                sessions[other].handle_datagram(now, peers[own], &datagram);
            }
        }
    }
    let refused = [(0, 1), (1, 0)].map(|(own, other)| {
        let counters = sessions[own].link_counters(peers[other]).unwrap();
        counters.tags_wrong + counters.malformed
    });
    assert!(sent > 1000 && refused[0] + refused[1] == sent, "{refused:?} of {sent}");
    for session in &sessions {
        assert!(session.stable().end() > Frame::new(180));
        assert_eq!(
            peers.map(|peer| session.facts_of(peer).cloned()),
            [Some(facts()), Some(facts())]
        );
    }
}
