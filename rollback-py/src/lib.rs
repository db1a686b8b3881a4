//! The extension module `_rollback`: snapshots, canonical hashes, action bytes and outputs of Python
//! environments. It converts and computes; what to do with the results is decided in Python.

mod canonical;
mod config;
mod doctor;
mod env_game;
mod episode;
mod errors;
mod events;
mod experienced;
mod offline;
mod outputs;
mod recordings;
mod room;
mod server;
mod snapshot;
mod spaces;
mod transfer;
mod watching;
mod ways;

use pyo3::prelude::*;

/// The private half of `rollback_py`.
#[pymodule(gil_used = false)]
fn _rollback(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::register(module)?;
    recordings::register(module)?;
    module.add_function(wrap_pyfunction!(offline::record_offline, module)?)?;
    module.add_function(wrap_pyfunction!(doctor::examine, module)?)?;
    module.add_class::<server::PyServer>()?;
    module.add_class::<room::PyRoom>()?;
    module.add_class::<episode::PyEpisode>()?;
    module.add_class::<watching::PyWatching>()?;
    module.add_class::<snapshot::Snapshots>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<spaces::ActionCodec>()?;
    module.add_class::<outputs::OutputCodec>()?;
    module.add_function(wrap_pyfunction!(canonical::encode_value, module)?)?;
    module.add_function(wrap_pyfunction!(canonical::decode_value, module)?)?;
    module.add_function(wrap_pyfunction!(canonical::hash_bytes, module)?)?;
    Ok(())
}
