//! What happens in a session, as dictionaries for Python: events, and how an episode ended.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::{
    DepartureCause, Desync, DesyncFinding, End, EndCause, Event, PeerId, PeerSet, Stall,
};
use rollback_webrtc::Loss;

/// The end of an episode as a dictionary.
pub(crate) fn end_dict(py: Python<'_>, end: End) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("frame", end.frame.index())?;
    dict.set_item("cause", cause_name(end.cause))?;
    dict.set_item("by", end.by.map(PeerId::slot))?;
    dict.set_item("is_agreed", end.cause.is_agreed())?;
    Ok(dict)
}

/// The name of a cause as Python and the export write it.
pub(crate) fn cause_name(cause: EndCause) -> String {
    match cause {
        EndCause::Finished => "finished".into(),
        EndCause::Named(code) => format!("named {code}"),
        EndCause::Left => "left".into(),
        EndCause::Departed => "departed".into(),
        EndCause::Desync => "desync".into(),
        EndCause::Partitioned => "partitioned".into(),
        EndCause::GameFailed => "game_failed".into(),
        EndCause::Incompatible => "incompatible".into(),
        EndCause::Kicked => "kicked".into(),
    }
}

/// Why peers departed, over the events of an episode in their order.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// Those whose simulation failed.
    failed: PeerSet,
}

impl Departures {
    /// What the transport knows of why a peer departed, where that is why: the connection of one that was sent away, or
    /// whose simulation failed, says something only if it was shut out.
    pub(crate) fn reason(
        &mut self,
        event: &Event,
        loss: impl FnOnce(PeerId) -> Loss,
    ) -> Option<Loss> {
        match event {
            Event::PeerGameFailed { peer, .. } => {
                self.failed.insert(*peer);
                None
            }
            Event::Joined { peer, .. } => {
                self.failed.remove(*peer);
                None
            }
            Event::ViewChanged { departed, cause, .. } => {
                let is_explained =
                    *cause == DepartureCause::Kicked || self.failed.contains(*departed);
                let loss = loss(*departed);
                (!is_explained || matches!(loss, Loss::ShutOut(_))).then_some(loss)
            }
            _ => None,
        }
    }
}

/// An event of the session as a dictionary with its name under ``event``; `reason` is why a peer departed, as far as
/// the transport knows.
pub(crate) fn event_dict<'py>(
    py: Python<'py>,
    event: &Event,
    reason: Option<Loss>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let slots = |peers: PeerSet| peers.iter().map(PeerId::index).collect::<Vec<_>>();
    let name = match event {
        Event::Started => "started",
        Event::Interrupted { peer, silent } => {
            dict.set_item("peer", peer.slot())?;
            dict.set_item("silent_ms", silent.as_secs_f64() * 1000.0)?;
            "interrupted"
        }
        Event::Resumed { peer } => {
            dict.set_item("peer", peer.slot())?;
            "resumed"
        }
        Event::DepartureProposed { peers } => {
            dict.set_item("peers", slots(*peers))?;
            "departure_proposed"
        }
        Event::ViewChanged { view, departed, cut, cause } => {
            dict.set_item("view", view.number)?;
            dict.set_item("members", slots(view.members))?;
            dict.set_item("peer", departed.slot())?;
            dict.set_item("cut", cut.index())?;
            let is_kicked = *cause == DepartureCause::Kicked;
            dict.set_item("cause", if is_kicked { "kicked" } else { "lost" })?;
            dict.set_item("reason", reason.map(Loss::name))?;
            "view_changed"
        }
        Event::Joined { view, peer, from } => {
            dict.set_item("view", view.number)?;
            dict.set_item("members", slots(view.members))?;
            dict.set_item("peer", peer.slot())?;
            dict.set_item("from", from.index())?;
            "joined"
        }
        Event::PaceChanged { peer, percent } => {
            dict.set_item("peer", peer.slot())?;
            dict.set_item("percent", *percent)?;
            "pace_changed"
        }
        Event::Left { peer } => {
            dict.set_item("peer", peer.slot())?;
            "left"
        }
        Event::PeerGameFailed { peer, frame } => {
            dict.set_item("peer", peer.slot())?;
            dict.set_item("frame", frame.index())?;
            "peer_game_failed"
        }
        Event::Resynced { peer, frame } => {
            dict.set_item("peer", peer.slot())?;
            dict.set_item("frame", frame.index())?;
            "resynced"
        }
        Event::StateTaken { frame } => {
            dict.set_item("frame", frame.index())?;
            "state_taken"
        }
        Event::StateRefused { frame } => {
            dict.set_item("frame", frame.index())?;
            "state_refused"
        }
        Event::Desync(desync) => {
            desync_fields(&dict, desync)?;
            "desync"
        }
    };
    dict.set_item("event", name)?;
    Ok(dict)
}

fn desync_fields(dict: &Bound<'_, PyDict>, desync: &Desync) -> PyResult<()> {
    dict.set_item("peer", desync.peer.slot())?;
    dict.set_item("agreed", desync.agreed.index())?;
    dict.set_item("reported", desync.reported.index())?;
    dict.set_item("inputs_are_equal", desync.inputs_are_equal)?;
    let (finding, frame, path, bytes) = match &desync.finding {
        DesyncFinding::NoAnswer => ("no answer", None, None, None),
        DesyncFinding::NotReproducible => ("not reproducible on replay", None, None, None),
        DesyncFinding::First { frame, path, bytes } => {
            let bytes = bytes.as_ref().map(|bytes| (bytes.start, bytes.end));
            ("first", Some(frame.index()), path.clone(), bytes)
        }
    };
    dict.set_item("finding", finding)?;
    dict.set_item("frame", frame)?;
    dict.set_item("path", path)?;
    dict.set_item("bytes", bytes)
}

/// What a session waits for, and for whom.
pub(crate) fn stall_name(stall: Stall) -> (&'static str, Vec<usize>) {
    let slots = |peers: PeerSet| peers.iter().map(PeerId::index).collect();
    match stall {
        Stall::Handshaking(peers) => ("handshaking", slots(peers)),
        Stall::WaitingForInput(peers) => ("waiting_for_input", slots(peers)),
        Stall::WaitingForAck(peer) => ("waiting_for_ack", vec![peer.index()]),
        Stall::WaitingForDriver => ("waiting_for_driver", Vec::new()),
        Stall::Resimulating { .. } => ("resimulating", Vec::new()),
        Stall::Paused { by } => ("paused", slots(by)),
        Stall::CatchingUp => ("catching_up", Vec::new()),
        Stall::Admitting(peers) => ("admitting", slots(peers)),
        Stall::Closing => ("closing", Vec::new()),
        Stall::SearchingDesync => ("searching_desync", Vec::new()),
        Stall::Disputed(peers) => ("disputed", slots(peers)),
        Stall::Resyncing(peer) => ("resyncing", vec![peer.index()]),
    }
}
