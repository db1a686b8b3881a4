use super::*;

#[test]
fn each_field_is_checked_at_its_limit() {
    let builder = SessionConfig::builder;
    assert!(builder().prediction_window_frames(128).build().is_ok());
    assert!(builder().prediction_window_frames(129).build().is_err());
    assert!(builder().input_delay_frames(30).build().is_ok());
    assert_eq!(
        builder().input_delay_frames(31).build(),
        Err(ConfigError::OutOfRange { field: "input_delay_frames", min: 0, max: 30, got: 31 })
    );
    assert!(builder().input_width(512).build().is_ok());
    assert!(builder().input_width(513).build().is_err());
    assert!(builder().players(64).build().is_ok());
    assert!(builder().players(65).build().is_err());
    assert!(builder().tick_rate_hz(0).build().is_err());
    assert!(builder().report_interval_frames(61).build().is_err());
    assert!(builder().members_min(9).build().is_err());
    assert!(builder().departure_timeout(Duration::from_millis(99)).build().is_err());
    assert!(builder().linger(Duration::from_secs(61)).build().is_err());
    assert!(builder().pace_min_percent(1).build().is_ok());
    assert!(builder().pace_min_percent(0).build().is_err());
    assert!(builder().pace_min_percent(100).build().is_ok());
    assert!(builder().pace_min_percent(101).build().is_err());
}

#[test]
fn a_delay_and_an_idle_input_must_fit_the_players() {
    let player = PlayerHandle::new(2).unwrap();
    assert_eq!(
        SessionConfig::builder().input_delay_frames_of(player, 1).build(),
        Err(ConfigError::NoSuchPlayer { player })
    );
    assert_eq!(
        SessionConfig::builder().input_width(2).idle_input(&[1]).build(),
        Err(ConfigError::IdleWidth { expected: 2, got: 1 })
    );
}

#[test]
fn every_field_changes_the_digest() {
    let base = SessionConfig::builder().build().unwrap();
    let other = SessionConfig::builder().linger(Duration::from_secs(1)).build().unwrap();
    assert_ne!(base.digest(), other.digest());
}

#[test]
fn a_configuration_is_read_as_it_was_written() {
    let player = PlayerHandle::new(1).unwrap();
    let builder = SessionConfig::builder().players(3).input_width(2).idle_input(&[1, 2]);
    let config = builder.input_delay_frames_of(player, 4).members_min(2).build().unwrap();
    let bytes = config.encode();
    assert_eq!(SessionConfig::decode(&bytes), Ok(config));
    for length in 0..bytes.len() {
        let read = SessionConfig::decode(&bytes[..length]);
        assert!(matches!(read, Err(ConfigDecodeError::End(_))), "length {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(SessionConfig::decode(&longer), Err(ConfigDecodeError::End(_))));
    let longer = [&bytes[..], &[0; 6]].concat();
    assert_eq!(SessionConfig::decode(&longer), Err(ConfigDecodeError::NotAsEncoded));
}

#[test]
fn a_configuration_that_could_not_be_built_is_not_read() {
    let mut bytes = SessionConfig::builder().build().unwrap().encode();
    bytes[2] = 65;
    assert!(matches!(
        SessionConfig::decode(&bytes),
        Err(ConfigDecodeError::Config(ConfigError::OutOfRange { field: "players", .. }))
    ));
    bytes[0] = 2;
    assert!(matches!(
        SessionConfig::decode(&bytes),
        Err(ConfigDecodeError::Width { field: "players", expected: 1, got: 2 })
    ));
}

#[test]
fn a_field_that_says_what_it_says_unless_said_takes_no_bytes_at_the_end() {
    let plain = SessionConfig::builder().build().unwrap();
    let late = PeerSet::from_bits(0b10);
    for silence in [Silence::Depart, Silence::DepartForGood, Silence::Wait] {
        for (late, width) in [(PeerSet::EMPTY, 0), (late, 1)] {
            let config =
                SessionConfig::builder().silence(silence).late_peers(late).build().unwrap();
            let bytes = config.encode();
            let expected = match (silence, width) {
                (Silence::Depart, 0) => 0,
                (Silence::Depart, _) => 5,
                (_, 0) => 3,
                _ => 6,
            };
            assert_eq!(bytes.len() - plain.encode().len(), expected);
            assert_eq!(SessionConfig::decode(&bytes), Ok(config));
        }
    }
    let paced = SessionConfig::builder().pace_min_percent(51).build().unwrap();
    let bytes = [&plain.encode()[..], &[0, 0, 0, 0, 0, 0, 1, 0, 51]].concat();
    assert_eq!(paced.encode(), bytes);
    assert_eq!(SessionConfig::decode(&bytes), Ok(paced));
    let unknown = [&plain.encode()[..], &[1, 0, 9]].concat();
    let error = ConfigError::OutOfRange { field: "silence", min: 0, max: 2, got: 9 };
    assert_eq!(SessionConfig::decode(&unknown), Err(ConfigDecodeError::Config(error)));
    let half = [0, 0, 0, 0, 0, 0, 1, 0, 50];
    for said_in_vain in [&[0, 0][..], &[1, 0, 0], &[1, 0, 1, 0, 0], &[0, 0, 1, 0, 0], &half] {
        let bytes = [&plain.encode()[..], said_in_vain].concat();
        assert_eq!(SessionConfig::decode(&bytes), Err(ConfigDecodeError::NotAsEncoded));
    }
}
