//! Snapshots of the state of an environment with all its wrappers.
//!
//! A snapshot does not copy the objects: it notes what is in each mutable object and restores it *in
//! place*. Therefore everything that refers to an object keeps referring to it: the user's variables,
//! bound methods, closures, views of arrays, weak references. Only objects whose state Python cannot
//! see are copied, by `copy.deepcopy`, and counted.

mod array;
mod copied;
mod plan;
mod restore;
mod same;
mod save;
mod saved;

pub(crate) use array::{append_bytes, owner_of};
pub(crate) use plan::{FieldOrder, Kind, Plans, fields};
pub(crate) use restore::restore;
pub(crate) use save::Walk;
pub(crate) use saved::{Entry, Part, Saved};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySet, PyType};
use rustc_hash::FxHashMap;

use crate::canonical::{ByteSink, HashSink, LeafSink, NoSink, Reduced, Trail, Writer};
use crate::errors::Error;
use crate::transfer::{Describer, Receiver};

/// One saved state. It can be saved into again, which reuses its memory.
#[pyclass(module = "rollback_py._rollback")]
pub(crate) struct Snapshot {
    owner: u64,
    saved: Saved,
    hash: Option<u128>,
}

/// Makes, restores, hashes and compares snapshots of everything that named objects lead to.
#[pyclass(module = "rollback_py._rollback")]
pub(crate) struct Snapshots {
    identity: u64,
    roots: Vec<(String, Py<PyAny>)>,
    boundary: Vec<Py<PyAny>>,
    plans: Plans,
    /// Whether the live state was received, and not saved since.
    is_received: bool,
}

/// The most classes that can be found to own opaque parts, one attempt each.
const ATTEMPTS_MAX: usize = 64;

#[pymethods]
impl Snapshots {
    #[new]
    #[pyo3(signature = (roots, *, boundary=Vec::new(), shared=Vec::new(), unhashed=Vec::new()))]
    fn new(
        roots: Vec<(String, Py<PyAny>)>,
        boundary: Vec<Py<PyAny>>,
        shared: Vec<Py<PyType>>,
        unhashed: Vec<String>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let identity = NEXT.fetch_add(1, Ordering::Relaxed);
        let plans = Plans::new(shared, unhashed);
        Self { identity, roots, boundary, plans, is_received: false }
    }

    /// Saves the state as it is now.
    fn save(&mut self, py: Python<'_>) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot { owner: self.identity, saved: Saved::default(), hash: None };
        self.fill(py, &mut snapshot)?;
        Ok(snapshot)
    }

    /// Saves into a snapshot that is no longer needed, whoever made it.
    fn save_into(
        &mut self,
        py: Python<'_>,
        mut snapshot: PyRefMut<'_, Snapshot>,
    ) -> Result<(), Error> {
        snapshot.owner = self.identity;
        self.fill(py, &mut snapshot)
    }

    /// Restores a state in place. After an error the state is undefined.
    fn load(&mut self, py: Python<'_>, snapshot: PyRef<'_, Snapshot>) -> Result<(), Error> {
        self.own(&snapshot)?;
        restore(py, &mut self.plans, &snapshot.saved)
    }

    /// The hash of the canonical encoding: 16 bytes, most significant first.
    fn hash<'py>(
        &mut self,
        py: Python<'py>,
        mut snapshot: PyRefMut<'py, Snapshot>,
    ) -> Result<Bound<'py, PyBytes>, Error> {
        self.own(&snapshot)?;
        let hash = match snapshot.hash {
            Some(hash) => hash,
            None => {
                self.write(py, &snapshot.saved, HashSink::new(), |writer| Ok(writer.sink.finish()))?
            }
        };
        snapshot.hash = Some(hash);
        Ok(PyBytes::new(py, &hash.to_be_bytes()))
    }

    /// The canonical encoding.
    fn encode<'py>(
        &mut self,
        py: Python<'py>,
        snapshot: PyRef<'py, Snapshot>,
    ) -> Result<Bound<'py, PyBytes>, Error> {
        self.own(&snapshot)?;
        Ok(PyBytes::new(py, &self.bytes(py, &snapshot.saved)?))
    }

    /// The state as a plain value that another process can take over. Fields that are not hashed are no part of it.
    fn describe<'py>(
        &mut self,
        py: Python<'py>,
        snapshot: PyRef<'py, Snapshot>,
    ) -> Result<Bound<'py, PyList>, Error> {
        self.own(&snapshot)?;
        let roots: Vec<_> = self.roots.iter().map(|(_, root)| root.bind(py).clone()).collect();
        let saved = &snapshot.saved;
        let described = Describer::new(py, &mut self.plans, saved, &self.boundary).describe(&roots);
        described.or_else(|(error, object)| match (error, object) {
            (Error::Untransferable { class, cause, .. }, Some(object)) => {
                let path = self.trail(py, saved, &object)?.path;
                Err(Error::Untransferable { path, class, cause })
            }
            (error, _) => Err(error),
        })
    }

    /// Writes a described state over the live one, in place, but not into objects with these addresses. After an error the
    /// live state is undefined.
    #[pyo3(signature = (described, constants=None))]
    fn receive<'py>(
        &mut self,
        py: Python<'py>,
        described: &Bound<'py, PyAny>,
        constants: Option<Bound<'py, PySet>>,
    ) -> Result<(), Error> {
        let constants = constants.map_or_else(|| PySet::empty(py), Ok)?;
        let live = self.save(py)?;
        let roots: Vec<_> = self.roots.iter().map(|(_, root)| root.bind(py).clone()).collect();
        Receiver::new(py, &mut self.plans, &live.saved, &self.boundary, &constants)
            .receive(&roots, described)?;
        self.is_received = true;
        Ok(())
    }

    /// Each value of the state with its path and a 64-bit digest, in canonical order.
    fn leaves(
        &mut self,
        py: Python<'_>,
        snapshot: PyRef<'_, Snapshot>,
    ) -> Result<Vec<(String, u64)>, Error> {
        self.own(&snapshot)?;
        let shortest = self.shortest_paths(py, &snapshot.saved)?;
        self.write(py, &snapshot.saved, LeafSink::default(), |mut writer| {
            writer.shorten_paths(shortest);
            let leaves = writer.sink.leaves.iter();
            Ok(leaves.map(|(path, digest)| (writer.path(*path), *digest)).collect())
        })
    }

    /// Whether two snapshots hold exactly the same state: also fields that are not hashed, the order of dicts, and every
    /// bit of a number. `None` where nobody can know, as of what had to be copied.
    fn same(
        &mut self,
        py: Python<'_>,
        a: PyRef<'_, Snapshot>,
        b: PyRef<'_, Snapshot>,
    ) -> Result<Option<bool>, Error> {
        self.own(&a)?;
        self.own(&b)?;
        if let (Some(a), Some(b)) = (a.hash, b.hash)
            && a != b
        {
            return Ok(Some(false));
        }
        Ok(same::compare(py, &a.saved, &b.saved)?)
    }

    /// What the snapshot consists of: numbers of objects and bytes, and which classes are copied.
    fn report<'py>(
        &mut self,
        py: Python<'py>,
        snapshot: PyRef<'py, Snapshot>,
    ) -> Result<Bound<'py, PyDict>, Error> {
        let saved = &snapshot.saved;
        let mut copied = BTreeMap::<String, usize>::new();
        for object in &saved.opaque {
            let class = object.bind(py).get_type().fully_qualified_name()?;
            *copied.entry(class.to_string_lossy().into_owned()).or_default() += 1;
        }
        let mut skipped = BTreeMap::<String, usize>::new();
        for reference in saved.references.iter().flatten() {
            let reference = reference.bind(py);
            if self.plans.of(reference)?.1 == Kind::Skipped {
                let class = reference.get_type().fully_qualified_name()?;
                *skipped.entry(class.to_string_lossy().into_owned()).or_default() += 1;
            }
        }
        let report = PyDict::new(py);
        report.set_item("objects", saved.entries.len())?;
        report.set_item("references", saved.references.len())?;
        report.set_item("array_bytes", saved.bytes.len())?;
        report.set_item("copied", copied)?;
        report.set_item("skipped", skipped)?;
        Ok(report)
    }
}

impl Snapshots {
    fn own(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if snapshot.owner == self.identity { Ok(()) } else { Err(Error::ForeignSnapshot) }
    }

    fn fill(&mut self, py: Python<'_>, snapshot: &mut Snapshot) -> Result<(), Error> {
        snapshot.hash = None;
        snapshot.saved.refills = std::mem::take(&mut self.is_received);
        for _ in 0..ATTEMPTS_MAX {
            self.walk(py, &mut snapshot.saved)?;
            let failures = copied::copy_opaque(py, &mut self.plans, &mut snapshot.saved)?;
            let Some((object, cause)) = failures.into_iter().next() else { return Ok(()) };
            let trail = self.trail(py, &snapshot.saved, &object)?;
            // A part that cannot be copied belongs to an object that may know how to copy itself.
            let owner = self.hooked_owner(&trail)?;
            let Some(owner) = owner else {
                let class = object.get_type().fully_qualified_name()?.to_string();
                return Err(Error::Uncopyable { path: trail.path, class, cause });
            };
            self.plans.make_opaque(&owner)?;
        }
        Err(Error::TooDeep { max: ATTEMPTS_MAX })
    }

    fn walk(&mut self, py: Python<'_>, saved: &mut Saved) -> Result<(), Error> {
        saved.clear();
        for object in &self.boundary {
            saved.visit(object.bind(py));
        }
        for (_, root) in &self.roots {
            Walk::new(py, &mut self.plans, saved, None).run(root.bind(py))?;
        }
        Ok(())
    }

    fn hooked_owner<'py>(
        &mut self,
        trail: &Trail<'py>,
    ) -> Result<Option<Bound<'py, PyAny>>, Error> {
        for object in trail.objects.iter().rev().skip(1) {
            // An environment has to stay the object it is.
            let is_environment = object.hasattr("reset")? && object.hasattr("step")?;
            let plan = self.plans.plan(object)?;
            if plan.hooked && plan.kind == Kind::Object && !is_environment {
                return Ok(Some(object.clone()));
            }
        }
        Ok(None)
    }

    fn trail<'py>(
        &mut self,
        py: Python<'py>,
        saved: &Saved,
        object: &Bound<'py, PyAny>,
    ) -> Result<Trail<'py>, Error> {
        let reduced = Reduced::default();
        let mut writer = Writer::new(py, &mut self.plans, saved, &reduced, NoSink);
        writer.is_lenient = true;
        for (name, root) in &self.roots {
            writer.root_by_levels(name, root.bind(py))?;
        }
        let unknown = Trail { path: "state".to_owned(), objects: Vec::new() };
        Ok(writer.trail(object).unwrap_or(unknown))
    }

    fn shortest_paths(
        &mut self,
        py: Python<'_>,
        saved: &Saved,
    ) -> Result<FxHashMap<usize, String>, Error> {
        let reduced = Reduced::new(py, &mut self.plans, saved)?;
        let mut writer = Writer::new(py, &mut self.plans, saved, &reduced, NoSink);
        for (name, root) in &self.roots {
            writer.root_by_levels(name, root.bind(py))?;
        }
        Ok(writer.shortest_paths())
    }

    fn bytes(&mut self, py: Python<'_>, saved: &Saved) -> Result<Vec<u8>, Error> {
        self.write(py, saved, ByteSink::default(), |writer| Ok(writer.sink.bytes))
    }

    fn write<'py, S: crate::canonical::Sink, R>(
        &mut self,
        py: Python<'py>,
        saved: &Saved,
        sink: S,
        finish: impl FnOnce(Writer<'_, 'py, S>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let reduced = Reduced::new(py, &mut self.plans, saved)?;
        let mut writer = Writer::new(py, &mut self.plans, saved, &reduced, sink);
        let mut failed = false;
        for (name, root) in &self.roots {
            let result = writer.root(name, root.bind(py));
            if S::PATHS {
                result?;
            } else {
                failed |= result.is_err();
            }
        }
        if !failed {
            return finish(writer);
        }
        // Once more, with paths, for a message that names the place.
        let mut writer = Writer::new(py, &mut self.plans, saved, &reduced, NoSink);
        for (name, root) in &self.roots {
            writer.root_by_levels(name, root.bind(py))?;
        }
        Err(Error::EncodingTooLong { max: crate::canonical::ENCODED_BYTES_MAX })
    }
}
