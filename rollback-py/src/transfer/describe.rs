//! A saved state as a plain value.

use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyComplex, PyComplexMethods, PyFrozenSet, PyList, PyString, PyTuple,
};
use rustc_hash::FxHashMap;

use super::{
    TUPLES_MAX, canonical_bytes, code, is_kept, leads_to, names_a_node, order_of, place_of,
};
use crate::errors::Error;
use crate::snapshot::{Entry, Kind, Part, Plans, Saved};

/// Describes one saved state.
pub(crate) struct Describer<'a, 'py> {
    py: Python<'py>,
    plans: &'a mut Plans,
    saved: &'a Saved,
    boundary: &'a [Py<PyAny>],
    /// From the address of each node to its number.
    numbers: FxHashMap<usize, usize>,
    nodes: Vec<Bound<'py, PyAny>>,
    /// What cannot travel.
    culprit: Option<Bound<'py, PyAny>>,
}

impl<'a, 'py> Describer<'a, 'py> {
    pub(crate) fn new(
        py: Python<'py>,
        plans: &'a mut Plans,
        saved: &'a Saved,
        boundary: &'a [Py<PyAny>],
    ) -> Self {
        let numbers = FxHashMap::default();
        Self { py, plans, saved, boundary, numbers, nodes: Vec::new(), culprit: None }
    }

    /// The state that the roots lead to. With an error of an object that cannot travel comes that object.
    pub(crate) fn describe(
        mut self,
        roots: &[Bound<'py, PyAny>],
    ) -> Result<Bound<'py, PyList>, (Error, Option<Bound<'py, PyAny>>)> {
        self.state(roots).map_err(|error| (error, self.culprit.take()))
    }

    fn state(&mut self, roots: &[Bound<'py, PyAny>]) -> Result<Bound<'py, PyList>, Error> {
        let named = self.values(roots.iter().cloned())?;
        let nodes = PyList::empty(self.py);
        while let Some(object) = self.nodes.get(nodes.len()).cloned() {
            nodes.append(self.node(&object)?)?;
        }
        Ok(PyList::new(self.py, [named, nodes])?)
    }

    fn node(&mut self, object: &Bound<'py, PyAny>) -> Result<Bound<'py, PyTuple>, Error> {
        let (_, kind) = self.plans.of(object)?;
        let class = self.plans.plan(object)?.name.clone();
        let entries = PyList::empty(self.py);
        let parts = self.saved.parts(object);
        if parts.is_empty() {
            let (name, leads) = leads_to(object, kind)?;
            let values = self.values(leads)?;
            entries.append(("n", name, values))?;
        }
        for entry in parts {
            entries.append(self.entry(object, entry)?)?;
        }
        Ok((&*class, entries).into_pyobject(self.py)?)
    }

    fn entry(
        &mut self,
        object: &Bound<'py, PyAny>,
        entry: &Entry,
    ) -> Result<Bound<'py, PyTuple>, Error> {
        let (py, saved) = (self.py, self.saved);
        let code = code(entry.part);
        let references = || saved.references(entry).iter();
        let present = || references().flatten().map(|value| value.bind(py).clone());
        Ok(match entry.part {
            Part::Fields => (code, self.fields(object, present())?).into_pyobject(py)?,
            Part::Slots => {
                let values = PyList::empty(py);
                for value in references() {
                    match value {
                        Some(value) => values.append(self.value(value.bind(py), 0)?)?,
                        None => values.append(("u",))?,
                    }
                }
                (code, values).into_pyobject(py)?
            }
            Part::Dict | Part::OrderedDict | Part::List | Part::Cell => {
                (code, self.values(present())?).into_pyobject(py)?
            }
            Part::Set => (code, self.sorted(present().collect())?).into_pyobject(py)?,
            Part::Deque => {
                let values = self.values(present())?;
                (code, object.getattr("maxlen")?, values).into_pyobject(py)?
            }
            Part::ObjectArray => {
                let values = self.values(present())?;
                (code, object.getattr("shape")?, values).into_pyobject(py)?
            }
            Part::Array | Part::StridedArray => {
                let Some(order) = order_of(object)? else {
                    return Err(self.untransferable(object, "its memory is in an order of its own"));
                };
                (code, order, array(object, saved.bytes(entry))?).into_pyobject(py)?
            }
            Part::ArrayView => {
                let owner = match crate::snapshot::owner_of(object)? {
                    Some(owner) => self.value(&owner, 0)?,
                    None => py.None().into_bound(py),
                };
                let (offset, strides) = place_of(object)?;
                let array = array(object, saved.bytes(entry))?;
                (code, owner, offset, strides, array).into_pyobject(py)?
            }
            Part::ByteArray => (code, PyBytes::new(py, saved.bytes(entry))).into_pyobject(py)?,
            Part::RandomState => {
                let state = present().next().unwrap_or_else(|| py.None().into_bound(py));
                (code, state).into_pyobject(py)?
            }
            Part::Coordinates => {
                let numbers = present()
                    .next()
                    .map(|tuple| Ok::<_, Error>(tuple.cast::<PyTuple>()?.to_list()));
                (code, numbers.transpose()?).into_pyobject(py)?
            }
            Part::TypedArray => {
                let raw = present().next().map(|copy| copy.call_method0("tobytes")).transpose()?;
                (code, object.getattr("typecode")?, raw).into_pyobject(py)?
            }
            Part::Copied => {
                return Err(self.untransferable(object, "only a copy of it can be made"));
            }
        })
    }

    fn fields(
        &mut self,
        object: &Bound<'py, PyAny>,
        references: impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyList>, Error> {
        let class = self.plans.plan(object)?.name.clone();
        let fields = PyList::empty(self.py);
        let references: Vec<_> = references.collect();
        for pair in references.chunks_exact(2) {
            let [name, value] = pair else { continue };
            let Ok(name) = name.cast_exact::<PyString>() else {
                return Err(self
                    .untransferable(object, "a field of it is named by something else than text"));
            };
            if self.plans.is_hashed(&class, &name.to_string_lossy()) {
                fields.append(name)?;
                fields.append(self.value(value, 0)?)?;
            }
        }
        Ok(fields)
    }

    fn values(
        &mut self,
        values: impl IntoIterator<Item = Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyList>, Error> {
        self.values_at(values, 0)
    }

    fn values_at(
        &mut self,
        values: impl IntoIterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<Bound<'py, PyList>, Error> {
        let list = PyList::empty(self.py);
        for value in values {
            list.append(self.value(&value, depth)?)?;
        }
        Ok(list)
    }

    /// The elements of a set, in the order of their own encodings.
    fn sorted(&mut self, elements: Vec<Bound<'py, PyAny>>) -> Result<Bound<'py, PyList>, Error> {
        let mut sorted = Vec::with_capacity(elements.len());
        for element in elements {
            sorted.push((canonical_bytes(self.plans, self.saved, &element)?, element));
        }
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        self.values(sorted.into_iter().map(|(_, element)| element))
    }

    fn value(
        &mut self,
        value: &Bound<'py, PyAny>,
        depth: usize,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let py = self.py;
        if let Some(place) = self.boundary.iter().position(|object| object.is(value)) {
            return Ok(("B", place).into_pyobject(py)?.into_any());
        }
        if is_kept(self.plans, self.saved, value)? {
            let bytes = canonical_bytes(self.plans, self.saved, value)?;
            return Ok(("k", PyBytes::new(py, &bytes)).into_pyobject(py)?.into_any());
        }
        let (number, kind) = self.plans.of(value)?;
        let exact = self.plans.plan(value)?.exact;
        let plain = self.plans.is_plain_value(number);
        if depth > TUPLES_MAX {
            return Err(Error::TooDeep { max: TUPLES_MAX });
        }
        Ok(match kind {
            Kind::None | Kind::Bool | Kind::Int | Kind::Float | Kind::Str | Kind::Bytes
                if plain =>
            {
                value.clone()
            }
            Kind::NumpyScalar => value.clone(),
            Kind::Complex if plain => {
                let value = value.cast::<PyComplex>()?;
                ("c", value.real(), value.imag()).into_pyobject(py)?.into_any()
            }
            Kind::Tuple if plain => {
                let elements = self.values_at(value.cast::<PyTuple>()?.iter(), depth + 1)?;
                if exact {
                    ("t", elements).into_pyobject(py)?.into_any()
                } else {
                    let class = self.plans.plan(value)?.name.clone();
                    ("T", &*class, elements).into_pyobject(py)?.into_any()
                }
            }
            Kind::FrozenSet if plain && exact => {
                let elements = self.sorted(value.cast::<PyFrozenSet>()?.iter().collect())?;
                if names_a_node(elements.as_any()) {
                    // It would be made, and its elements hashed, before they have their fields.
                    return Err(
                        self.untransferable(value, "it is a frozenset that leads to objects")
                    );
                }
                ("z", elements).into_pyobject(py)?.into_any()
            }
            Kind::Opaque => return Err(self.untransferable(value, "Python cannot see its state")),
            _ if kind.is_leaf() || matches!(kind, Kind::Tuple | Kind::FrozenSet) => {
                return Err(self.untransferable(value, "it is a value with fields of its own"));
            }
            _ => {
                let next = self.nodes.len();
                let number = *self.numbers.entry(value.as_ptr() as usize).or_insert(next);
                if number == next {
                    self.nodes.push(value.clone());
                }
                ("r", number).into_pyobject(py)?.into_any()
            }
        })
    }

    fn untransferable(&mut self, object: &Bound<'py, PyAny>, cause: &'static str) -> Error {
        self.culprit = Some(object.clone());
        let class = object.get_type().fully_qualified_name();
        let class = class.map_or_else(|_| String::new(), |name| name.to_string_lossy().into());
        Error::Untransferable { path: String::new(), class, cause }
    }
}

/// An array of these elements, formed as `like`.
fn array<'py>(like: &Bound<'py, PyAny>, bytes: &[u8]) -> Result<Bound<'py, PyAny>, Error> {
    let numpy = like.py().import("numpy")?;
    let dtype = like.getattr("dtype")?;
    let array = match bytes.is_empty() {
        true => numpy.call_method1("empty", (0, dtype))?,
        false => numpy.call_method1("frombuffer", (PyByteArray::new(like.py(), bytes), dtype))?,
    };
    Ok(array.call_method1("reshape", (like.getattr("shape")?,))?)
}
