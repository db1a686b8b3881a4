//! What must be shown of the ways to the others before the first frame.

use std::sync::atomic::Ordering;

use rollback_webrtc::{
    Health, LinkReport, OnUnhealthy, Path, PeerStats, Proof, Transport, TransportConfig,
    TransportEvent, Unhealthy, WayCounters,
};

use super::*;
use crate::common::faulty_path::FaultyPath;

/// The network within this process, on which the way to each other member is as the test says.
struct Judged {
    end: LoopbackTransport,
    proof: Box<dyn Fn(Timestamp) -> Proof + Send>,
    round_trip: Duration,
    checks: usize,
    noted: Vec<Unhealthy>,
}

impl Judged {
    fn new(end: LoopbackTransport, proof: impl Fn(Timestamp) -> Proof + Send + 'static) -> Self {
        let (checks, noted) = (0, Vec::new());
        Self { end, proof: Box::new(proof), round_trip: Duration::ZERO, checks, noted }
    }
}

impl DatagramTransport for Judged {
    fn now(&self) -> Timestamp {
        self.end.now()
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        self.end.try_send(to, datagram)
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.end.try_receive(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.end.wait(timeout)
    }

    fn begin_check(&mut self, _peer: PeerId) {
        self.checks += 1;
    }

    fn proof(&self, _peer: PeerId) -> Proof {
        (self.proof)(self.now())
    }

    fn link(&self, _peer: PeerId) -> Option<LinkReport> {
        Some(LinkReport { checked_round_trip: Some(self.round_trip), ..LinkReport::default() })
    }

    fn note_unhealthy(&mut self, _peer: PeerId, why: Unhealthy) {
        self.noted.push(why);
    }
}

#[test]
fn nobody_begins_before_both_directions_are_proved() {
    std::thread::scope(|scope| {
        for end in network(2) {
            scope.spawn(move || {
                let proved_at = end.now().plus(Duration::from_millis(600));
                let judged = Judged::new(end, move |now| {
                    if now < proved_at { Proof::NothingArrives } else { Proof::Both }
                });
                let setup = setup(&[0, 1], judged.end.local());
                let mut game = Sum::of(100);
                let mut episode = GameLoop::new(judged, setup, &game).unwrap();
                assert_eq!(episode.transport().checks, 1);
                let mut calls = 0;
                while episode.transport().now() < proved_at {
                    give_inputs(&mut episode);
                    let advance = episode.advance_frame(&mut game).unwrap();
                    assert!(
                        matches!(advance, Advance::Stalled(_))
                            || episode.transport().now() >= proved_at
                    );
                    episode.sleep_until_next_frame();
                    calls += 1;
                }
                assert!(calls < 1000, "it does not sleep");
                play(episode, &mut game);
            });
        }
    });
}

#[test]
fn a_way_that_is_not_proved_or_not_good_enough_is_named_with_what_is_wrong() {
    let error_of = |proof: Proof, round_trip: u64, health: Health| {
        let mut ends = network(2);
        let (other, end) = (ends.pop().unwrap(), ends.pop().unwrap());
        let mut judged = Judged::new(end, move |_| proof);
        judged.round_trip = Duration::from_millis(round_trip);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut game = Sum::of(20);
                let setup = EpisodeSetup {
                    start_timeout: Duration::from_secs(4),
                    ..setup(&[0, 1], peer(1))
                };
                let mut episode = GameLoop::new(other, setup, &game).unwrap();
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(4) {
                    give_inputs(&mut episode);
                    if matches!(episode.advance_frame(&mut game), Ok(Advance::Ended(_)) | Err(_)) {
                        break;
                    }
                    episode.sleep_until_next_frame();
                }
            });
            let setup = EpisodeSetup {
                start_timeout: Duration::from_millis(2500),
                ..setup(&[0, 1], peer(0))
            };
            let mut game = Sum::of(20);
            let mut episode = GameLoop::new(judged, setup, &game).unwrap().with_health(health);
            loop {
                give_inputs(&mut episode);
                match episode.advance_frame(&mut game) {
                    Ok(Advance::Ended(_)) => break (None, episode.into_transport().noted),
                    Ok(_) => episode.sleep_until_next_frame(),
                    Err(error) => break (Some(error.to_string()), episode.into_transport().noted),
                }
            }
        })
    };
    let strict = |or_else| Health {
        round_trip_max: Duration::from_millis(200),
        patience: Duration::from_millis(300),
        or_else,
        ..Health::default()
    };
    for proof in [Proof::NothingArrives, Proof::NothingComes] {
        let (error, noted) = error_of(proof, 0, Health::default());
        let what = if proof == Proof::NothingComes {
            "nothing comes from it"
        } else {
            "it gets nothing of what this computer sends"
        };
        let expected = format!("the way to peer 1 is not good enough after 2.5s: {what}");
        assert_eq!((error, noted), (Some(expected), vec![Unhealthy::NotProved(proof)]));
    }
    let slow = Unhealthy::RoundTrip(Duration::from_millis(250));
    let (error, noted) = error_of(Proof::Both, 250, strict(OnUnhealthy::End));
    assert_eq!(noted, [slow]);
    assert!(
        error.unwrap().ends_with("peer 1 is not good enough after 300ms: the round trip is 250ms")
    );
    assert_eq!(error_of(Proof::Both, 250, strict(OnUnhealthy::GoOn)), (None, vec![slow]));
    assert_eq!(error_of(Proof::Both, 150, strict(OnUnhealthy::End)), (None, vec![]));
}

/// What a member saw until its first frame.
struct Begun {
    after: Duration,
    attempts: u64,
    server_relay: WayCounters,
    paths: Vec<Path>,
    /// How often the way to the other was shown to work.
    proofs: usize,
    /// Kept, so that the other does not see it go.
    _transport: Transport,
}

/// Two members up to their first frames.
fn first_frames(link: &str, config: &TransportConfig) -> [Begun; 2] {
    let began = Instant::now();
    let member = || {
        let transport = Transport::join_blocking(link, config.clone()).unwrap();
        let session = SessionConfig::builder().players(2).tick_rate_hz(60).build().unwrap();
        let setup = EpisodeSetup::of_room(transport.room(), session).unwrap();
        let mut game = Sum::default();
        let mut episode = GameLoop::new(transport, setup, &game).unwrap();
        loop {
            give_inputs(&mut episode);
            if let Advance::Stepped { .. } = episode.advance_frame(&mut game).unwrap() {
                break;
            }
            episode.sleep_until_next_frame();
        }
        let (after, transport) = (began.elapsed(), episode.into_transport());
        let PeerStats { attempts, server_relay, .. } =
            transport.stats(peer(1 - transport.room().local.slot()));
        let (mut paths, mut proofs) = (Vec::new(), 0);
        while let Some(event) = transport.poll_event() {
            match event {
                TransportEvent::PathChosen { path, .. } => paths.push(path),
                TransportEvent::PeerProved { .. } => proofs += 1,
                _ => {}
            }
        }
        Begun { after, attempts, server_relay, paths, proofs, _transport: transport }
    };
    std::thread::scope(|scope| {
        let members = [scope.spawn(member), scope.spawn(member)];
        members.map(|member| member.join().unwrap())
    })
}

#[test]
fn the_first_frame_comes_with_the_first_attempt_over_webrtc_alone() {
    let server = server(2);
    let config = TransportConfig { server_relay: false, ..local() };
    for round in 0..3 {
        for begun in first_frames(&link(&server, &format!("alone{round}")), &config) {
            assert_eq!(begun.attempts, 1);
            let is_webrtc = |path: &Path| matches!(path, Path::WebRtc { .. });
            assert!(begun.paths.first().is_some_and(is_webrtc), "{:?}", begun.paths);
            assert_eq!(begun.server_relay, WayCounters::default());
            // One of the connection, and one before the episode, unless that follows within a second.
            assert!((1..=2).contains(&begun.proofs), "{}", begun.proofs);
            println!("a first frame after {:?}", begun.after);
        }
    }
}

#[test]
fn with_the_relay_of_the_server_the_first_frame_waits_for_no_second_attempt() {
    let server = server(2);
    for round in 0..3 {
        for begun in first_frames(&link(&server, &format!("soon{round}")), &local()) {
            assert!(begun.attempts <= 1, "{}", begun.attempts);
            assert!((1..=2).contains(&begun.proofs), "{}", begun.proofs);
            println!("a first frame after {:?}", begun.after);
        }
    }
}

#[test]
fn when_a_certificate_is_refused_at_the_start_both_are_told_that_it_is_why() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.answers_are_forged.store(true, Ordering::Relaxed);
    let config = TransportConfig { server_relay: false, ..local() };
    let member = || {
        let transport = Transport::join_blocking(&path.link("refused"), config.clone()).unwrap();
        let session = SessionConfig::builder().players(2).tick_rate_hz(60).build().unwrap();
        let setup = EpisodeSetup::of_room(transport.room(), session).unwrap();
        let setup = EpisodeSetup { start_timeout: Duration::from_secs(3), ..setup };
        let mut game = Sum::default();
        let mut episode = GameLoop::new(transport, setup, &game).unwrap();
        loop {
            give_inputs(&mut episode);
            match episode.advance_frame(&mut game) {
                Ok(_) => episode.sleep_until_next_frame(),
                Err(LoopError::Unhealthy { why, .. }) => break why,
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for member in [scope.spawn(member), scope.spawn(member)] {
            let why = member.join().unwrap();
            assert_eq!(why, Unhealthy::NotProved(Proof::CertificateRefused));
            assert_eq!(why.name(), "certificate_refused");
        }
    });
}
