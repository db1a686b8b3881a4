//! Writes the canonical encoding of a saved state, walking in canonical order. It reads mutable objects
//! only from the snapshot, since the live ones have gone on. Here is the walk; what a value becomes is in
//! `values`, what an object becomes in `parts`.

mod parts;
mod values;

use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PyString, PyTuple};
use rustc_hash::FxHashMap;

use super::places::{Places, Step, Trail};
use super::reduced::Reduced;
use super::sink::{ByteSink, PathId, Sink};
use super::{DEPTH_MAX, ENCODED_BYTES_MAX, emit};
use crate::errors::Error;
use crate::snapshot::{Entry, Kind, Plans, Saved};

enum Task<'a, 'py> {
    /// A value, after the encoded key that belongs to it.
    Value { value: Bound<'py, PyAny>, path: PathId, key: (usize, usize) },
    /// One of several parts of an object.
    Part { object: Bound<'py, PyAny>, saved: &'a Saved, entry: &'a Entry, path: PathId },
    /// A slot without a value.
    Unset { path: PathId },
}

/// Writes states into a sink.
pub(crate) struct Writer<'a, 'py, S> {
    py: Python<'py>,
    plans: &'a mut Plans,
    saved: &'a Saved,
    reduced: &'a Reduced,
    /// From the address of each object that was written to its number.
    numbers: FxHashMap<usize, u32>,
    tasks: Vec<Task<'a, 'py>>,
    /// Encoded keys of the dicts that are being written.
    keys: Vec<u8>,
    places: Places<'py>,
    out: Vec<u8>,
    pub(crate) sink: S,
    written: usize,
    depth: usize,
    /// Goes on past what has no encoding, for a walk that is only about paths.
    pub(crate) is_lenient: bool,
}

impl<'a, 'py, S: Sink> Writer<'a, 'py, S> {
    pub(crate) fn new(
        py: Python<'py>,
        plans: &'a mut Plans,
        saved: &'a Saved,
        reduced: &'a Reduced,
        sink: S,
    ) -> Self {
        Self {
            py,
            plans,
            saved,
            reduced,
            numbers: FxHashMap::default(),
            tasks: Vec::new(),
            keys: Vec::new(),
            places: Places::default(),
            out: Vec::new(),
            sink,
            written: 0,
            depth: 0,
            is_lenient: false,
        }
    }

    /// Writes one root of the state under a name, which may be empty.
    pub(crate) fn root(&mut self, name: &str, root: &Bound<'py, PyAny>) -> Result<(), Error> {
        let path = self.place(0, root, || Step::Root(name.to_owned()));
        self.push(root.clone(), path, (0, 0));
        while let Some(task) = self.tasks.pop() {
            self.task(task)?;
        }
        Ok(())
    }

    /// Walks over one root level by level, for the shortest path to each object.
    pub(crate) fn root_by_levels(
        &mut self,
        name: &str,
        root: &Bound<'py, PyAny>,
    ) -> Result<(), Error> {
        let path = self.place(0, root, || Step::Root(name.to_owned()));
        self.push(root.clone(), path, (0, 0));
        while !self.tasks.is_empty() {
            let mut level = std::mem::take(&mut self.tasks);
            level.reverse();
            for task in level {
                self.task(task)?;
            }
        }
        Ok(())
    }

    /// The shortest path to each object with an identity, after a walk level by level.
    pub(crate) fn shortest_paths(&self) -> FxHashMap<usize, String> {
        self.places.shortest(|address| self.numbers.contains_key(&address))
    }

    /// Takes the shortest paths to objects that another walk found.
    pub(crate) fn shorten_paths(&mut self, paths: FxHashMap<usize, String>) {
        self.places.shorten(paths);
    }

    /// The path of a place.
    pub(crate) fn path(&self, at: PathId) -> String {
        self.places.path(at)
    }

    /// The way to the first place at which an object was found.
    pub(crate) fn trail(&self, object: &Bound<'py, PyAny>) -> Option<Trail<'py>> {
        self.places.trail(object)
    }

    fn task(&mut self, task: Task<'a, 'py>) -> Result<(), Error> {
        self.out.clear();
        match task {
            Task::Value { value, path, key } => {
                self.sink.begin(path);
                self.out.extend_from_slice(self.keys.get(key.0..key.1).unwrap_or(&[]));
                self.value(&value, path)?;
            }
            Task::Part { object, saved, entry, path } => {
                self.sink.begin(path);
                self.part(&object, saved, entry, path)?;
            }
            Task::Unset { path } => {
                self.sink.begin(path);
                self.out.push(b'U');
            }
        }
        self.sink.write(&self.out);
        self.sink.end();
        self.written += self.out.len();
        if self.written > ENCODED_BYTES_MAX {
            return Err(Error::EncodingTooLong { max: ENCODED_BYTES_MAX });
        }
        Ok(())
    }

    /// The encoding that a value has by itself. Objects written before are told by their number.
    fn isolated(&mut self, value: &Bound<'py, PyAny>) -> Result<Vec<u8>, Error> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            let mut out = Vec::new();
            emit::text(&mut out, text)?;
            return Ok(out);
        }
        let depth = self.deeper()?;
        let numbers =
            if self.is_plain_key(value)? { FxHashMap::default() } else { self.numbers.clone() };
        let mut writer =
            Writer::new(self.py, self.plans, self.saved, self.reduced, ByteSink::default());
        writer.depth = depth;
        writer.numbers = numbers;
        writer.root("", value)?;
        Ok(writer.sink.bytes)
    }

    fn deeper(&self) -> Result<usize, Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::TooDeep { max: DEPTH_MAX });
        }
        Ok(self.depth + 1)
    }

    /// Whether a key is a value rather than an object with an identity.
    fn is_plain_key(&mut self, key: &Bound<'py, PyAny>) -> Result<bool, Error> {
        let mut pending = vec![key.clone()];
        while let Some(key) = pending.pop() {
            let (number, kind) = self.plans.of(&key)?;
            match kind {
                Kind::Tuple => pending.extend(key.cast::<PyTuple>()?.iter()),
                Kind::FrozenSet => pending.extend(key.cast::<PyFrozenSet>()?.iter()),
                _ if kind.is_leaf() && self.plans.is_plain_value(number) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Gives an object its number, or writes the one it has.
    fn is_new(&mut self, object: &Bound<'py, PyAny>) -> Result<bool, Error> {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(object.as_ptr() as usize).or_insert(next);
        if number == next {
            return Ok(true);
        }
        self.out.push(b'r');
        emit::count(&mut self.out, number as usize)?;
        Ok(false)
    }

    fn parts(&self, object: &Bound<'py, PyAny>) -> (&'a Saved, &'a [Entry]) {
        let parts = self.saved.parts(object);
        if parts.is_empty() {
            return (&self.reduced.saved, self.reduced.saved.parts(object));
        }
        (self.saved, parts)
    }

    fn references(
        &self,
        saved: &'a Saved,
        entry: &'a Entry,
    ) -> impl Iterator<Item = Option<Bound<'py, PyAny>>> + use<'a, 'py, S> {
        let py = self.py;
        saved.references(entry).iter().map(move |value| Some(value.as_ref()?.bind(py).clone()))
    }

    fn attributes(
        &mut self,
        object: &Bound<'py, PyAny>,
        path: PathId,
        names: &[&'static str],
    ) -> Result<(), Error> {
        for name in names.iter().rev() {
            let value = object.getattr(*name)?;
            self.child(value, path, || Step::Part(name));
        }
        Ok(())
    }

    fn sequence(&mut self, path: PathId, elements: impl Iterator<Item = Bound<'py, PyAny>>) {
        let start = self.tasks.len();
        for (index, element) in elements.enumerate() {
            self.child(element, path, || Step::Index(index));
        }
        self.reverse(start);
    }

    fn child(
        &mut self,
        value: Bound<'py, PyAny>,
        parent: PathId,
        step: impl FnOnce() -> Step<'py>,
    ) {
        let path = self.place(parent, &value, step);
        self.push(value, path, (0, 0));
    }

    fn push(&mut self, value: Bound<'py, PyAny>, path: PathId, key: (usize, usize)) {
        self.tasks.push(Task::Value { value, path, key });
    }

    /// Tasks are done last first.
    fn reverse(&mut self, start: usize) {
        if let Some(tasks) = self.tasks.get_mut(start..) {
            tasks.reverse();
        }
    }

    fn place(
        &mut self,
        parent: PathId,
        object: &Bound<'py, PyAny>,
        step: impl FnOnce() -> Step<'py>,
    ) -> PathId {
        if !S::PATHS {
            return 0;
        }
        self.places.add(parent, step(), object)
    }

    fn unencodable(&self, class: &str, path: PathId, cause: String) -> Error {
        Error::Unencodable { path: self.places.path(path), class: class.to_owned(), cause }
    }
}

fn name_of(object: &Bound<'_, PyAny>, attribute: &str) -> String {
    object.getattr(attribute).and_then(|name| name.extract::<String>()).unwrap_or_default()
}
