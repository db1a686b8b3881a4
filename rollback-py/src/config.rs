//! What Python says of a session, as the engine takes it.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::{
    Idle, Markov, OnDesync, PeerId, Predictor, RepeatLast, ResyncFrom, SessionConfig, Silence,
};
use rollback_webrtc::{Health, OnUnhealthy};

use crate::errors::Error;

/// The configuration from the keyword arguments of Python, each checked by the engine.
pub(crate) fn session_config(config: &Bound<'_, PyDict>) -> PyResult<SessionConfig> {
    let number = |name: &str| -> PyResult<u64> {
        let value = config.get_item(name)?.ok_or_else(|| Error::NoSetting { name: name.into() })?;
        value.extract()
    };
    let byte = |name: &str| -> PyResult<u8> {
        let got = number(name)?;
        Ok(u8::try_from(got).map_err(|_| Error::SettingTooLarge { name: name.into(), got })?)
    };
    let idle =
        config.get_item("idle_input")?.ok_or(Error::NoSetting { name: "idle_input".into() })?;
    let idle: Vec<u8> = idle.extract()?;
    let hz = number("fps")?;
    let silence = config.get_item("silence")?.ok_or(Error::NoSetting { name: "silence".into() })?;
    let on_desync = config.get_item("on_desync")?;
    let on_desync = on_desync.ok_or(Error::NoSetting { name: "on_desync".into() })?.extract()?;
    let late = config.get_item("late")?.ok_or(Error::NoSetting { name: "late".into() })?;
    let peer = |slot: u8| PeerId::new(slot).ok_or(Error::NoSuchPeer { slot });
    let late = late.extract::<Vec<u8>>()?.into_iter().map(peer).collect::<Result<_, _>>()?;
    let built = SessionConfig::builder()
        .players(usize::try_from(number("players")?).unwrap_or(usize::MAX))
        .input_width(idle.len())
        .idle_input(&idle)
        .tick_rate_hz(u16::try_from(hz).unwrap_or(u16::MAX))
        .input_delay_frames(byte("input_delay")?)
        .prediction_window_frames(byte("prediction_window")?)
        .report_interval_frames(byte("report_interval")?)
        .members_min(usize::try_from(number("members_min")?).unwrap_or(usize::MAX))
        .departure_timeout(Duration::from_millis(number("departure_timeout_ms")?))
        .late_peers(late)
        .silence(self::silence(silence.extract()?)?)
        .linger(Duration::from_millis(number("linger_ms")?))
        .on_desync(self::on_desync(on_desync)?)
        .build();
    built.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// What becomes of a silent member, by its name.
fn silence(name: &str) -> PyResult<Silence> {
    match name {
        "depart" => Ok(Silence::Depart),
        "depart_for_good" => Ok(Silence::DepartForGood),
        "wait" => Ok(Silence::Wait),
        _ => Err(PyValueError::new_err(format!(
            "on_silence: expected 'depart', 'depart_for_good' or 'wait', got {name:?}"
        ))),
    }
}

/// What follows a desync, by its name, with the slot whose state is taken over: that of a member, or for the majority's `None`.
fn on_desync((name, from): (String, Option<u8>)) -> PyResult<OnDesync> {
    match (&*name, from) {
        ("end", _) => Ok(OnDesync::End),
        ("pause", _) => Ok(OnDesync::Pause),
        ("resync", Some(slot)) => {
            let peer = PeerId::new(slot).ok_or(Error::NoSuchPeer { slot })?;
            Ok(OnDesync::Resync(ResyncFrom::Peer(peer)))
        }
        ("resync", None) => {
            let anchor = PeerId::new(0).ok_or(Error::NoSuchPeer { slot: 0 })?;
            Ok(OnDesync::Resync(ResyncFrom::Majority { anchor }))
        }
        _ => Err(PyValueError::new_err(format!(
            "on_desync: expected 'end', 'pause' or 'resync', got {name:?}"
        ))),
    }
}

/// The longest round trip in seconds, the most losses in per cent, the patience in seconds, and whether not to begin
/// otherwise.
pub(crate) fn health(
    (round_trip_max, loss_percent_max, patience, ends): (f64, f64, f64, bool),
) -> PyResult<Health> {
    if loss_percent_max.is_nan() || loss_percent_max < 0.0 {
        let text = format!("expected at least 0 % of losses, got {loss_percent_max}");
        return Err(PyValueError::new_err(text));
    }
    Ok(Health {
        round_trip_max: seconds_or_ever(round_trip_max)?,
        loss_percent_max,
        patience: seconds_or_ever(patience)?,
        or_else: if ends { OnUnhealthy::End } else { OnUnhealthy::GoOn },
    })
}

/// So many seconds, which may be infinite.
pub(crate) fn seconds_or_ever(seconds: f64) -> PyResult<Duration> {
    match seconds {
        f64::INFINITY => Ok(Duration::MAX),
        _ => Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}"))),
    }
}

/// What guesses the inputs of the other computers' players, by its name.
pub(crate) fn predictor(name: &str, config: &SessionConfig) -> PyResult<Box<dyn Predictor + Send>> {
    match name {
        "repeat" => Ok(Box::new(RepeatLast)),
        "idle" => Ok(Box::new(Idle)),
        "learned" => Ok(Box::new(Markov::new(config))),
        _ => Err(PyValueError::new_err(format!(
            "predictor: expected 'repeat', 'idle' or 'learned', got {name:?}"
        ))),
    }
}
