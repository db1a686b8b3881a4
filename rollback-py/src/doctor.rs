//! What is in the way of playing over a link, for Python.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use rollback_webrtc::doctor::{self, Finding, Outcome, Part};
use rollback_webrtc::{IceServer, PathPolicy, TransportConfig};

use crate::room::refused_link;

/// Examines a link for at most 15 s; everything that was found.
#[pyfunction]
#[pyo3(signature = (link, *, ice_servers=Vec::new(), relay_only=false, server_relay=true, environment=None))]
pub(crate) fn examine<'py>(
    py: Python<'py>,
    link: &str,
    ice_servers: Vec<(String, String, String)>,
    relay_only: bool,
    server_relay: bool,
    environment: Option<(String, String, String)>,
) -> PyResult<Bound<'py, PyDict>> {
    let server = |(url, username, credential)| IceServer { url, username, credential };
    let config = TransportConfig {
        ice_servers: ice_servers.into_iter().map(server).collect(),
        path_policy: if relay_only { PathPolicy::RelayOnly } else { PathPolicy::All },
        server_relay,
        ..TransportConfig::default()
    };
    let environment = environment.map(environment_finding).transpose()?;
    let mut diagnosis =
        py.detach(|| doctor::examine(link, config)).map_err(|error| refused_link(link, error))?;
    diagnosis.findings.extend(environment);
    let findings = PyList::empty(py);
    for finding in &diagnosis.findings {
        findings.append(finding_dict(py, finding)?)?;
    }
    let verdict = diagnosis.verdict();
    let dict = PyDict::new(py);
    dict.set_item("link", &diagnosis.link)?;
    dict.set_item("findings", findings)?;
    dict.set_item("text", diagnosis.to_string())?;
    dict.set_item("can_play", verdict.can_play)?;
    dict.set_item("only_local", verdict.only_local)?;
    dict.set_item("verdict", verdict.text)?;
    Ok(dict)
}

/// What Python found out about an environment: its name, how it is, and why.
fn environment_finding((name, outcome, text): (String, String, String)) -> PyResult<Finding> {
    let outcome = match outcome.as_str() {
        "good" => Outcome::Good,
        "bad" => Outcome::Bad,
        "note" => Outcome::Note,
        _ => return Err(PyValueError::new_err(format!("there is no outcome {outcome:?}"))),
    };
    Ok(Finding { part: Part::Machine, name, outcome, text, trip: None })
}

fn finding_dict<'py>(py: Python<'py>, finding: &Finding) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let part = match finding.part {
        Part::Server => "server",
        Part::Way => "way",
        Part::Machine => "machine",
    };
    let outcome = match finding.outcome {
        Outcome::Good => "good",
        Outcome::Poor => "poor",
        Outcome::Bad => "bad",
        Outcome::Note => "note",
    };
    dict.set_item("part", part)?;
    dict.set_item("name", &finding.name)?;
    dict.set_item("outcome", outcome)?;
    dict.set_item("text", &finding.text)?;
    if let Some(trip) = finding.trip {
        let millis = |delay: std::time::Duration| delay.as_secs_f64() * 1000.0;
        dict.set_item("sent", trip.sent)?;
        dict.set_item("received", trip.received)?;
        dict.set_item("median_ms", trip.median.map(millis))?;
        dict.set_item("slowest_ms", trip.slowest.map(millis))?;
    }
    Ok(dict)
}
