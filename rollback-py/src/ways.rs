//! The ways to other members as dictionaries: what was counted and measured of them, and what happened to them.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::{PeerId, Timestamp};
use rollback_webrtc::{LinkReport, PeerStats, Proof, ShutOut, TransportEvent, WayCounters};

/// What was counted about the way to a peer.
pub(crate) fn stats_dict<'py>(py: Python<'py>, stats: &PeerStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("is_connected", stats.is_connected)?;
    dict.set_item("path", stats.path.map(|path| path.to_string()))?;
    dict.set_item("attempts", stats.attempts)?;
    dict.set_item("certificates_refused", stats.certificates_refused)?;
    dict.set_item("datagrams_lost_by_conditions", stats.datagrams_lost_by_conditions)?;
    dict.set_item("datagrams_not_sent", stats.datagrams_not_sent)?;
    dict.set_item("violations", stats.violations)?;
    dict.set_item("stale_signals", stats.stale_signals)?;
    dict.set_item("replayed_signals", stats.replayed_signals)?;
    dict.set_item("shut_out", stats.shut_out.map(ShutOut::name))?;
    dict.set_item("switches", stats.switches)?;
    let ways =
        [("direct", stats.direct), ("turn", stats.turn), ("server_relay", stats.server_relay)];
    for (name, way) in ways {
        dict.set_item(name, way_dict(py, &way)?)?;
    }
    Ok(dict)
}

fn way_dict<'py>(py: Python<'py>, way: &WayCounters) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("datagrams_sent", way.datagrams_sent)?;
    dict.set_item("bytes_sent", way.bytes_sent)?;
    dict.set_item("datagrams_received", way.datagrams_received)?;
    dict.set_item("bytes_received", way.bytes_received)?;
    dict.set_item("datagrams_overtaken", way.datagrams_overtaken)?;
    dict.set_item("datagrams_duplicate", way.datagrams_duplicate)?;
    dict.set_item("inputs_sent", way.inputs.sent)?;
    dict.set_item("inputs_received", way.inputs.received)?;
    dict.set_item("inputs_duplicate", way.inputs.duplicate)?;
    dict.set_item("inputs_late", way.inputs.late)?;
    Ok(dict)
}

/// What was measured of the way to a peer.
pub(crate) fn link_dict<'py>(
    py: Python<'py>,
    link: &LinkReport,
    now: Timestamp,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let LinkReport { round_trip, round_trip_p50, round_trip_p95, round_trip_p99, .. } = link;
    dict.set_item("round_trip_ms", round_trip.map(millis))?;
    dict.set_item("round_trip_p50_ms", round_trip_p50.map(millis))?;
    dict.set_item("round_trip_p95_ms", round_trip_p95.map(millis))?;
    dict.set_item("round_trip_p99_ms", round_trip_p99.map(millis))?;
    dict.set_item("jitter_ms", millis(link.jitter))?;
    dict.set_item("loss_out_percent", link.loss_out_percent)?;
    dict.set_item("loss_in_percent", link.loss_in_percent)?;
    dict.set_item("outages", link.outages)?;
    dict.set_item("outage_total_ms", millis(link.outage_total))?;
    let longest = link.last_outages.iter().map(|outage| outage.length).max();
    dict.set_item("outage_longest_ms", longest.map(millis))?;
    // How long ago each began, and how long it was: the clock of connections is known to nobody else.
    let outages = link.last_outages.iter();
    let outages = outages.map(|one| (now.since(one.began).as_millis(), one.length.as_millis()));
    dict.set_item("last_outages_ms", outages.collect::<Vec<_>>())?;
    dict.set_item("recent_loss_out_percent", link.recent_loss_out_percent)?;
    dict.set_item("recent_loss_in_percent", link.recent_loss_in_percent)?;
    dict.set_item("proof", link.proof.map(Proof::name))?;
    dict.set_item("checked_round_trip_ms", link.checked_round_trip.map(millis))?;
    dict.set_item("outstanding_bytes_max", link.outstanding_bytes_max)?;
    dict.set_item("queue_age_ms", millis(link.queue_age))?;
    Ok(dict)
}

/// An event of the transport as a dictionary with its name under ``event``.
pub(crate) fn transport_event_dict(
    py: Python<'_>,
    event: TransportEvent,
) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    let peer_event = |name: &str, peer: PeerId| {
        dict.set_item("event", name)?;
        dict.set_item("peer", peer.slot())
    };
    match event {
        TransportEvent::PeerConnected { peer } => peer_event("peer_connected", peer)?,
        TransportEvent::PathChosen { peer, path } => {
            peer_event("path_chosen", peer)?;
            dict.set_item("path", path.to_string())?;
        }
        TransportEvent::TurnFailed { peer, trouble } => {
            peer_event("turn_failed", peer)?;
            dict.set_item("reason", trouble.to_string())?;
        }
        TransportEvent::CertificateRefused { peer, whose } => {
            peer_event("certificate_refused", peer)?;
            dict.set_item("whose", whose.name())?;
        }
        TransportEvent::PeerProved { peer, round_trip } => {
            peer_event("peer_proved", peer)?;
            dict.set_item("round_trip_ms", round_trip.as_secs_f64() * 1000.0)?;
        }
        TransportEvent::PeerReconnecting { peer, why } => {
            peer_event("peer_reconnecting", peer)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::PeerReconnected { peer, after } => {
            peer_event("peer_reconnected", peer)?;
            dict.set_item("after_ms", after.as_secs_f64() * 1000.0)?;
        }
        TransportEvent::PeerUnhealthy { peer, why } => {
            peer_event("peer_unhealthy", peer)?;
            dict.set_item("reason", why.name())?;
            dict.set_item("text", why.to_string())?;
        }
        TransportEvent::PeerShutOut { peer, why } => {
            peer_event("peer_shut_out", peer)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::WatcherShutOut { watcher, why } => {
            dict.set_item("event", "watcher_shut_out")?;
            dict.set_item("watcher", watcher.0)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::PeerDisconnected { peer } => peer_event("peer_disconnected", peer)?,
        TransportEvent::SignalsReplayed { peer } => peer_event("signals_replayed", peer)?,
        TransportEvent::PeerLeft { peer } => peer_event("peer_left", peer)?,
        TransportEvent::SignalingLost => dict.set_item("event", "signaling_lost")?,
        TransportEvent::SignalingRegained => dict.set_item("event", "signaling_regained")?,
        TransportEvent::SignalingEnded => dict.set_item("event", "signaling_ended")?,
        TransportEvent::RelayRefused { trouble } => {
            dict.set_item("event", "relay_refused")?;
            dict.set_item("reason", trouble.to_string())?;
        }
        TransportEvent::Replaced => dict.set_item("event", "replaced")?,
    }
    Ok(dict)
}
