//! Writes the canonical encoding of a saved state, walking in canonical order. It reads mutable objects
//! only from the snapshot, since the live ones have gone on.

use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{
    PyBytes, PyComplex, PyComplexMethods, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple,
};
use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::places::{Places, Step, Trail};
use super::reduced::{Reduced, pickled_form};
use super::sink::{ByteSink, PathId, Sink};
use super::{DEPTH_MAX, ENCODED_BYTES_MAX, emit};
use crate::errors::Error;
use crate::snapshot::{Entry, FieldOrder, Kind, Part, Plans, Saved, Walk, append_bytes};

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

    fn value(&mut self, value: &Bound<'py, PyAny>, path: PathId) -> Result<(), Error> {
        let (number, kind) = self.plans.of(value)?;
        let plain = self.plans.is_plain_value(number);
        let plan = self.plans.plan(value)?;
        let (exact, class) = (plan.exact, plan.name.clone());
        if plain && (exact || kind == Kind::NumpyScalar) {
            match kind {
                Kind::None => self.out.push(b'N'),
                Kind::Bool => self.out.push(if value.is_truthy()? { b'T' } else { b'F' }),
                Kind::Int => emit::int(&mut self.out, value.cast::<PyInt>()?)?,
                Kind::Float => emit::float_object(&mut self.out, value.cast::<PyFloat>()?),
                Kind::Str => emit::text(&mut self.out, value.cast::<PyString>()?)?,
                Kind::Bytes => {
                    emit::bytes(&mut self.out, b'b', value.cast::<PyBytes>()?.as_bytes())?;
                }
                Kind::Complex => {
                    let value = value.cast::<PyComplex>()?;
                    self.out.push(b'c');
                    emit::float(&mut self.out, value.real());
                    emit::float(&mut self.out, value.imag());
                }
                Kind::NumpyScalar => emit::scalar(&mut self.out, value)?,
                _ => return self.other(value, path, kind, exact, &class),
            }
            return Ok(());
        }
        self.other(value, path, kind, exact, &class)
    }

    fn other(
        &mut self,
        value: &Bound<'py, PyAny>,
        path: PathId,
        kind: Kind,
        exact: bool,
        class: &Arc<str>,
    ) -> Result<(), Error> {
        match kind {
            Kind::Enum => {
                self.out.push(b'e');
                emit::name(&mut self.out, class)?;
                emit::name(&mut self.out, &name_of(value, "_name_"))
            }
            Kind::Named => self.named(value),
            Kind::Skipped => {
                self.out.push(b'x');
                emit::name(&mut self.out, class)
            }
            Kind::Constant => self.constant(value, class, path),
            Kind::Tuple if exact && self.parts(value).1.is_empty() => {
                let elements = value.cast::<PyTuple>()?;
                self.out.push(b't');
                emit::count(&mut self.out, elements.len())?;
                self.sequence(path, elements.iter());
                Ok(())
            }
            Kind::FrozenSet if exact => {
                let elements = value.cast::<PyFrozenSet>()?.iter().collect();
                self.set(b'Z', elements, path)
            }
            Kind::BoundMethod | Kind::BoundBuiltin => {
                let owner = value.getattr("__self__")?;
                if owner.is_none() || owner.is_instance_of::<pyo3::types::PyModule>() {
                    return self.named(value);
                }
                self.out.push(b'm');
                emit::name(&mut self.out, &name_of(value, "__qualname__"))?;
                self.child(owner, path, || Step::Part("__self__"));
                Ok(())
            }
            Kind::Partial => {
                self.out.push(b'P');
                self.attributes(value, path, &["func", "args", "keywords"])
            }
            Kind::Generator => {
                self.out.push(b'G');
                self.attributes(value, path, &["bit_generator"])
            }
            Kind::Function => self.function(value, path),
            _ => self.object(value, path, kind, exact, class),
        }
    }

    /// An object with an identity: written once, a number ever after.
    fn object(
        &mut self,
        object: &Bound<'py, PyAny>,
        path: PathId,
        kind: Kind,
        exact: bool,
        class: &Arc<str>,
    ) -> Result<(), Error> {
        if !self.is_new(object)? {
            return Ok(());
        }
        let (saved, parts) = self.parts(object);
        if kind == Kind::Array && parts.is_empty() {
            return self.array(object, None);
        }
        match parts {
            [only] if only.part == Part::Copied => return self.copied(object, class, path),
            [only] if exact => return self.part(object, saved, only, path),
            _ => {}
        }
        self.out.push(b'o');
        emit::name(&mut self.out, class)?;
        emit::count(&mut self.out, parts.len())?;
        if matches!(
            kind,
            Kind::Int | Kind::Float | Kind::Str | Kind::Bytes | Kind::Tuple | Kind::FrozenSet
        ) {
            self.base_value(object, kind, path)?;
        }
        for entry in parts.iter().rev() {
            self.tasks.push(Task::Part { object: object.clone(), saved, entry, path });
        }
        Ok(())
    }

    /// What an object of a class derived from an immutable built-in is besides its fields.
    fn base_value(
        &mut self,
        object: &Bound<'py, PyAny>,
        kind: Kind,
        path: PathId,
    ) -> Result<(), Error> {
        match kind {
            Kind::Int => emit::int(&mut self.out, object.cast::<PyInt>()?)?,
            Kind::Float => emit::float_object(&mut self.out, object.cast::<PyFloat>()?),
            Kind::Str => emit::text(&mut self.out, object.cast::<PyString>()?)?,
            Kind::Bytes => emit::bytes(&mut self.out, b'b', object.cast::<PyBytes>()?.as_bytes())?,
            Kind::Tuple => {
                let elements = object.cast::<PyTuple>()?;
                self.out.push(b't');
                emit::count(&mut self.out, elements.len())?;
                self.sequence(path, elements.iter());
            }
            _ => {
                let elements = object.cast::<PyFrozenSet>()?.iter().collect();
                self.set(b'Z', elements, path)?;
            }
        }
        Ok(())
    }

    fn part(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        match entry.part {
            Part::Fields => self.fields(object, saved, entry, path),
            Part::Dict => self.dict(saved, entry, path),
            Part::Slots => self.slots(object, saved, entry, path),
            Part::Array | Part::StridedArray | Part::ArrayView => {
                self.array(object, Some(saved.bytes(entry)))
            }
            Part::ByteArray => emit::bytes(&mut self.out, b'B', saved.bytes(entry)),
            Part::Set => {
                let elements = self.references(saved, entry).flatten().collect();
                self.set(b'S', elements, path)
            }
            Part::OrderedDict => {
                self.out.push(b'D');
                emit::count(&mut self.out, entry.len)?;
                let elements: Vec<_> = self.references(saved, entry).flatten().collect();
                self.sequence(path, elements.into_iter());
                Ok(())
            }
            Part::List | Part::Deque | Part::ObjectArray => {
                self.out.push(match entry.part {
                    Part::List => b'l',
                    Part::Deque => b'D',
                    _ => b'O',
                });
                emit::count(&mut self.out, entry.len)?;
                let start = self.tasks.len();
                for (index, value) in saved.references(entry).iter().enumerate() {
                    if let Some(value) = value {
                        self.child(value.bind(self.py).clone(), path, || Step::Index(index));
                    }
                }
                self.reverse(start);
                Ok(())
            }
            Part::Cell | Part::RandomState | Part::Coordinates => {
                self.out.push(if entry.part == Part::Cell { b'C' } else { b'g' });
                match saved.references(entry) {
                    [Some(value)] => {
                        let step =
                            || Step::Part(if entry.part == Part::Cell { "" } else { "state" });
                        self.child(value.bind(self.py).clone(), path, step);
                    }
                    _ => self.out.push(b'U'),
                }
                Ok(())
            }
            Part::TypedArray => {
                let code = name_of(object, "typecode");
                let Some(Some(copy)) = saved.references(entry).first() else { return Ok(()) };
                let raw = copy.bind(self.py).call_method0("tobytes")?;
                self.out.push(b'A');
                emit::name(&mut self.out, &code)?;
                emit::bytes(&mut self.out, b'b', raw.cast::<PyBytes>()?.as_bytes())
            }
            Part::Copied => {
                let class = self.plans.plan(object)?.name.clone();
                self.copied(object, &class, path)
            }
        }
    }

    fn fields(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        let pairs = saved.references(entry);
        let order = self.field_order(object, pairs)?;
        self.out.push(b'F');
        emit::count(&mut self.out, order.fields.len())?;
        let start = self.tasks.len();
        for (place, encoded) in &order.fields {
            let (Some(Some(name)), Some(Some(value))) =
                (pairs.get(place * 2), pairs.get(place * 2 + 1))
            else {
                continue;
            };
            let key = (self.keys.len(), self.keys.len() + encoded.len());
            self.keys.extend_from_slice(encoded);
            let value = value.bind(self.py).clone();
            let name = name.bind(self.py);
            let path = self.place(path, &value, || Step::Attribute(name.clone()));
            self.push(value, path, key);
        }
        self.reverse(start);
        Ok(())
    }

    /// The canonical order of the names, remembered for the class.
    fn field_order(
        &mut self,
        object: &Bound<'py, PyAny>,
        pairs: &[Option<Py<PyAny>>],
    ) -> Result<Arc<FieldOrder>, Error> {
        let names = || pairs.iter().step_by(2).map(Option::as_ref);
        if let Some(order) = &self.plans.plan(object)?.order
            && order.fits(names())
        {
            return Ok(order.clone());
        }
        let class = self.plans.plan(object)?.name.clone();
        let mut fields = Vec::new();
        for (place, name) in names().enumerate() {
            let Some(name) = name else { continue };
            let name = name.bind(self.py);
            if self.plans.is_hashed(&class, &name.str()?.to_string_lossy()) {
                fields.push((place, self.isolated(name)?));
            }
        }
        fields.sort_by(|a, b| a.1.cmp(&b.1));
        let names = names().flatten().map(|name| name.clone_ref(self.py)).collect();
        let order = Arc::new(FieldOrder { names, fields });
        self.plans.plan(object)?.order = Some(order.clone());
        Ok(order)
    }

    fn dict(&mut self, saved: &'a Saved, entry: &'a Entry, path: PathId) -> Result<(), Error> {
        let pairs = saved.references(entry);
        self.out.push(b'd');
        emit::count(&mut self.out, pairs.len() / 2)?;
        let mut sorted = Vec::with_capacity(pairs.len() / 2);
        for pair in pairs.chunks_exact(2) {
            let [Some(key), Some(value)] = pair else { continue };
            let key = key.bind(self.py);
            if !self.is_plain_key(key)? {
                let elements: Vec<_> = self.references(saved, entry).flatten().collect();
                self.sequence(path, elements.into_iter());
                return Ok(());
            }
            let start = self.keys.len();
            if let Ok(text) = key.cast_exact::<PyString>() {
                emit::text(&mut self.keys, text)?;
            } else if let Ok(int) = key.cast_exact::<PyInt>() {
                emit::int(&mut self.keys, int)?;
            } else {
                let encoded = self.isolated(key)?;
                self.keys.extend_from_slice(&encoded);
            }
            sorted.push((start, self.keys.len(), key, value.bind(self.py)));
        }
        let keys = &self.keys;
        sorted.sort_by(|a, b| keys.get(a.0..a.1).cmp(&keys.get(b.0..b.1)));
        let start = self.tasks.len();
        for (from, to, key, value) in sorted {
            let path = self.place(path, value, || Step::Key(key.clone()));
            self.push(value.clone(), path, (from, to));
        }
        self.reverse(start);
        Ok(())
    }

    fn slots(
        &mut self,
        object: &Bound<'py, PyAny>,
        saved: &'a Saved,
        entry: &'a Entry,
        path: PathId,
    ) -> Result<(), Error> {
        let slots = self.plans.plan(object)?.slots.clone();
        let mut sorted: Vec<_> = slots.iter().zip(saved.references(entry)).collect();
        sorted.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        self.out.push(b'F');
        emit::count(&mut self.out, sorted.len())?;
        let start = self.tasks.len();
        for (slot, value) in sorted {
            let name = PyString::new(self.py, &slot.name);
            let from = self.keys.len();
            emit::text(&mut self.keys, &name)?;
            let key = (from, self.keys.len());
            match value {
                Some(value) => {
                    let value = value.bind(self.py).clone();
                    let path = self.place(path, &value, || Step::Attribute(name.into_any()));
                    self.push(value, path, key);
                }
                None => self.tasks.push(Task::Unset { path }),
            }
        }
        self.reverse(start);
        Ok(())
    }

    fn array(&mut self, object: &Bound<'py, PyAny>, saved: Option<&[u8]>) -> Result<(), Error> {
        let array = object.cast::<PyUntypedArray>()?;
        let swap = emit::array_head(&mut self.out, array)?;
        match saved {
            Some(bytes) if !swap => {
                self.sink.write(&self.out);
                self.sink.write(bytes);
                self.written += self.out.len() + bytes.len();
                self.out.clear();
            }
            Some(bytes) => emit::elements(&mut self.out, &array.dtype(), swap, bytes),
            None => {
                let mut bytes = Vec::new();
                append_bytes(array, &mut bytes)?;
                emit::elements(&mut self.out, &array.dtype(), swap, &bytes);
            }
        }
        Ok(())
    }

    /// Elements in the order of their own encodings.
    fn set(
        &mut self,
        tag: u8,
        elements: Vec<Bound<'py, PyAny>>,
        path: PathId,
    ) -> Result<(), Error> {
        self.out.push(tag);
        emit::count(&mut self.out, elements.len())?;
        let mut sorted = Vec::with_capacity(elements.len());
        for element in elements {
            sorted.push((self.isolated(&element)?, element));
        }
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let start = self.tasks.len();
        for (_, element) in sorted {
            self.child(element, path, || Step::Element);
        }
        self.reverse(start);
        Ok(())
    }

    fn function(&mut self, function: &Bound<'py, PyAny>, path: PathId) -> Result<(), Error> {
        let closure = function.getattr(pyo3::intern!(self.py, "__closure__"))?;
        let Ok(cells) = closure.cast::<PyTuple>() else { return self.named(function) };
        if !self.is_new(function)? {
            return Ok(());
        }
        self.out.push(b'k');
        emit::name(&mut self.out, &name_of(function, "__qualname__"))?;
        emit::count(&mut self.out, cells.len())?;
        let names = function.getattr("__code__")?.getattr("co_freevars")?;
        let start = self.tasks.len();
        for (cell, name) in cells.iter().zip(names.cast::<PyTuple>()?.iter()) {
            self.child(cell, path, || Step::Attribute(name));
        }
        self.reverse(start);
        Ok(())
    }

    fn named(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Error> {
        self.out.push(b'q');
        let mut name = name_of(value, "__qualname__");
        if name.is_empty() {
            name = name_of(value, "__name__");
        }
        if name.is_empty() {
            name = value.str()?.to_string_lossy().into_owned();
        }
        emit::name(&mut self.out, &name)
    }

    /// An object that was copied because nothing is known of it: by its pickled form.
    fn copied(
        &mut self,
        object: &Bound<'py, PyAny>,
        class: &Arc<str>,
        path: PathId,
    ) -> Result<(), Error> {
        if self.is_lenient {
            return Ok(());
        }
        match self.reduced.forms.get(&(object.as_ptr() as usize)) {
            Some(Ok(form)) => {
                self.out.push(b'R');
                emit::name(&mut self.out, class)?;
                self.child(form.bind(self.py).clone(), path, || Step::Part(""));
                Ok(())
            }
            Some(Err(cause)) => Err(self.unencodable(class, path, cause.clone())),
            None => Err(self.unencodable(class, path, "it was not copied".to_owned())),
        }
    }

    /// An immutable value: by its pickled form, which has nothing to do with the rest of the state.
    fn constant(
        &mut self,
        value: &Bound<'py, PyAny>,
        class: &Arc<str>,
        path: PathId,
    ) -> Result<(), Error> {
        let form = pickled_form(value)
            .map_err(|error| self.unencodable(class, path, error.to_string()))?;
        let mut saved = Saved::default();
        Walk::new(self.py, self.plans, &mut saved, None).run(&form)?;
        let reduced = Reduced::default();
        let depth = self.deeper()?;
        let mut writer = Writer::new(self.py, self.plans, &saved, &reduced, ByteSink::default());
        writer.depth = depth;
        writer.root("", &form)?;
        let bytes = writer.sink.bytes;
        self.out.push(b'R');
        emit::name(&mut self.out, class)?;
        self.out.extend_from_slice(&bytes);
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
