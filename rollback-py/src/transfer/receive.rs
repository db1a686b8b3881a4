//! A described state, written into this process's own objects.

use std::collections::VecDeque;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyComplex, PyDict, PyFrozenSet, PyList, PySet, PyTuple};
use rustc_hash::{FxHashMap, FxHashSet};

use super::node::{Content, Node, refused};
use super::{TUPLES_MAX, code, is_kept, leads_to, names_a_node, order_of, place_of};
use crate::errors::Error;
use crate::snapshot::{Kind, Part, Plans, Saved, restore};

/// Writes one described state over the live one, which `live` holds.
pub(crate) struct Receiver<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) plans: &'a mut Plans,
    pub(super) live: &'a Saved,
    boundary: &'a [Py<PyAny>],
    /// The addresses of what is reached without the roots, and so is not written to.
    constants: &'a Bound<'py, PySet>,
    pub(super) nodes: Vec<Node<'py>>,
    /// The object of each node, once one was found or made, and whether it was found.
    pub(super) objects: Vec<Option<(Bound<'py, PyAny>, bool)>>,
    /// The addresses of the own objects that stand for a node.
    taken: FxHashSet<usize>,
    /// Nodes whose content is to be made.
    pending: VecDeque<usize>,
    /// Entries whose values have no place of their own, after all that do.
    later: VecDeque<(usize, usize)>,
    /// Own values by their encoding, once they are needed.
    pub(super) kept: Option<FxHashMap<Vec<u8>, Bound<'py, PyAny>>>,
    /// The fields of an own object of each class, as far as they were looked for.
    pub(super) siblings: FxHashMap<usize, Option<Bound<'py, PyDict>>>,
    pub(super) made: Saved,
}

impl<'a, 'py> Receiver<'a, 'py> {
    pub(crate) fn new(
        py: Python<'py>,
        plans: &'a mut Plans,
        live: &'a Saved,
        boundary: &'a [Py<PyAny>],
        constants: &'a Bound<'py, PySet>,
    ) -> Self {
        Self {
            py,
            plans,
            live,
            boundary,
            constants,
            nodes: Vec::new(),
            objects: Vec::new(),
            taken: FxHashSet::default(),
            pending: VecDeque::new(),
            later: VecDeque::new(),
            kept: None,
            siblings: FxHashMap::default(),
            // The order of a set depends on what was in it before.
            made: Saved::received(),
        }
    }

    /// Writes the state into what the roots lead to. After an error the live state is undefined.
    pub(crate) fn receive(
        mut self,
        roots: &[Bound<'py, PyAny>],
        described: &Bound<'py, PyAny>,
    ) -> Result<(), Error> {
        let (named, nodes) = Node::all(described)?;
        self.objects = vec![None; nodes.len()];
        self.nodes = nodes;
        if named.len() != roots.len() {
            return Err(refused("another number of roots"));
        }
        for (tree, root) in named.iter().zip(roots) {
            if !self.make(tree, Some(root), 0)?.is(root) {
                return Err(refused("another environment"));
            }
        }
        loop {
            if let Some(number) = self.pending.pop_front() {
                self.fill(number)?;
            } else if let Some((number, entry)) = self.later.pop_front() {
                self.fill_entry(number, entry)?;
            } else {
                break;
            }
        }
        restore(self.py, self.plans, &self.made)
    }

    /// Makes a value; `own` is what stands at its place here.
    pub(super) fn make(
        &mut self,
        tree: &Bound<'py, PyAny>,
        own: Option<&Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let py = self.py;
        let content = Content::of(tree)?;
        if depth > TUPLES_MAX {
            return Err(Error::TooDeep { max: TUPLES_MAX });
        }
        Ok(match content {
            Content::Plain => tree.clone(),
            Content::Complex(re, im) => PyComplex::from_doubles(py, re, im).into_any(),
            Content::Node(number) => self.object(number, own)?,
            Content::Boundary(place) => match self.boundary.get(place) {
                Some(object) => object.bind(py).clone(),
                None => return Err(refused("an unknown object")),
            },
            Content::Kept(bytes) => self.keep(bytes.as_bytes(), own)?,
            Content::Tuple(elements) => {
                let elements = self.elements(&elements, own, depth + 1)?;
                PyTuple::new(py, elements)?.into_any()
            }
            Content::NamedTuple(class, elements) => {
                let class = self.class(&class, Kind::Tuple)?;
                let elements = self.elements(&elements, own, depth + 1)?;
                py.get_type::<PyTuple>().call_method1("__new__", (class, elements))?
            }
            Content::FrozenSet(elements) => {
                if names_a_node(elements.as_any()) {
                    return Err(refused("a frozenset that leads to objects"));
                }
                let elements = self.elements(&elements, None, depth + 1)?;
                PyFrozenSet::new(py, elements)?.into_any()
            }
            Content::Unset => return Err(refused("a place without a value")),
        })
    }

    fn elements(
        &mut self,
        trees: &Bound<'py, PyList>,
        own: Option<&Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<Vec<Bound<'py, PyAny>>, Error> {
        let own = own.and_then(|own| own.cast::<PyTuple>().ok());
        let mut made = Vec::with_capacity(trees.len());
        for (index, tree) in trees.iter().enumerate() {
            let own = own.and_then(|own| own.get_item(index).ok());
            made.push(self.make(&tree, own.as_ref(), depth)?);
        }
        Ok(made)
    }

    /// The object of a node: the own one at this place if it is such a one, or one that is made.
    fn object(
        &mut self,
        number: usize,
        own: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyAny>, Error> {
        match self.objects.get(number) {
            Some(Some((object, _))) => return Ok(object.clone()),
            Some(None) => {}
            None => return Err(refused("an unknown object")),
        }
        let found = match own {
            Some(own) if self.fits(number, own)? && self.taken.insert(own.as_ptr() as usize) => {
                Some(own.clone())
            }
            _ => None,
        };
        let is_found = found.is_some();
        let object = match found {
            Some(object) => object,
            None => self.new_object(number)?,
        };
        if let Some(place) = self.objects.get_mut(number) {
            *place = Some((object.clone(), is_found));
        }
        self.pending.push_back(number);
        Ok(object)
    }

    /// Whether an own object can stand for a node.
    fn fits(&mut self, number: usize, own: &Bound<'py, PyAny>) -> Result<bool, Error> {
        let Some(node) = self.nodes.get(number) else { return Ok(false) };
        if self.constants.contains(own.as_ptr() as usize)? {
            return Ok(false);
        }
        if self.boundary.iter().any(|object| object.is(own)) || is_kept(self.plans, self.live, own)?
        {
            return Ok(false);
        }
        let plan = self.plans.plan(own)?;
        let (kind, is_of_class) = (plan.kind, *plan.name == *node.class);
        let parts = self.live.parts(own);
        if !is_of_class || matches!(kind, Kind::Tuple | Kind::FrozenSet) || kind.is_leaf() {
            return Ok(false);
        }
        if let [only] = &node.entries[..]
            && only.code == "n"
        {
            let (name, leads) = leads_to(own, kind)?;
            let is_as_long = only.list(2)?.len() == leads.len();
            return Ok(parts.is_empty() && only.text(1)? == name && is_as_long);
        }
        if parts.len() != node.entries.len() {
            return Ok(false);
        }
        for (entry, part) in node.entries.iter().zip(parts) {
            let is_same = code(part.part) == entry.code
                && match part.part {
                    Part::Array | Part::StridedArray => {
                        entry.is_array_like(2, own)? && order_of(own)? == Some(&*entry.text(1)?)
                    }
                    Part::ArrayView => {
                        let (offset, strides) = place_of(own)?;
                        entry.is_array_like(4, own)?
                            && entry.at(2)?.eq(offset)?
                            && entry.at(3)?.eq(strides)?
                    }
                    Part::ObjectArray => entry.at(1)?.eq(own.getattr("shape")?)?,
                    Part::Deque => entry.at(1)?.eq(own.getattr("maxlen")?)?,
                    Part::TypedArray => entry.at(1)?.eq(own.getattr("typecode")?)?,
                    _ => true,
                };
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An object for a node without a counterpart: an empty container, or an instance of a class that was seen.
    fn new_object(&mut self, number: usize) -> Result<Bound<'py, PyAny>, Error> {
        let py = self.py;
        let Some(node) = self.nodes.get(number) else { return Err(refused("an unknown object")) };
        let codes: Vec<&str> = node.entries.iter().map(|entry| &*entry.code).collect();
        let class = node.class.clone();
        Ok(match (&*class, &codes[..], node.entries.first()) {
            ("list", ["l"], _) => PyList::empty(py).into_any(),
            ("dict", ["d"], _) => PyDict::new(py).into_any(),
            ("set", ["s"], _) => PySet::empty(py)?.into_any(),
            ("bytearray", ["b"], _) => PyByteArray::new(py, &[]).into_any(),
            ("OrderedDict", ["D", "F"], _) => {
                py.import("collections")?.call_method0("OrderedDict")?
            }
            ("deque", ["q"], Some(entry)) => {
                let maxlen = entry.at(1)?;
                py.import("collections")?.call_method1("deque", (PyList::empty(py), maxlen))?
            }
            ("ndarray", ["a"], Some(entry)) => match &*entry.text(1)? {
                "C" => entry.array(2)?,
                "F" => py.import("numpy")?.call_method1("asfortranarray", (entry.array(2)?,))?,
                _ => return Err(refused("an array in an unknown order")),
            },
            (_, ["F"] | ["F", "S"] | ["S"], _) => {
                if self.plans.has_unhashed(&class) {
                    return Err(refused(&format!("a new {class}, of which fields are not hashed")));
                }
                let class = self.class(&class, Kind::Object)?;
                py.get_type::<PyAny>().call_method1("__new__", (class,))?
            }
            (_, ["x"], _) => match self.plans.class_named(py, &class, Kind::Vector) {
                Some(vector) => vector.call0()?,
                None => self.class(&class, Kind::Rect)?.call1((0, 0, 0, 0))?,
            },
            _ => return Err(refused(&format!("a {class} that is not at the same place here"))),
        })
    }

    /// The only class of this name and kind of which an instance was seen.
    fn class(&self, name: &str, kind: Kind) -> Result<Bound<'py, PyAny>, Error> {
        let Some(class) = self.plans.class_named(self.py, name, kind) else {
            return Err(refused(&format!("a {name}, which no state here has had so far")));
        };
        match class.hasattr("__del__")? {
            true => Err(refused(&format!("a new {name}, which would run its `__del__`"))),
            false => Ok(class),
        }
    }

    /// Makes the content of a node.
    fn fill(&mut self, number: usize) -> Result<(), Error> {
        let count = self.nodes.get(number).map_or(0, |node| node.entries.len());
        for entry in 0..count {
            let is_set = self.nodes.get(number).is_some_and(|node| node.is_set(entry));
            match is_set {
                true => self.later.push_back((number, entry)),
                false => self.fill_entry(number, entry)?,
            }
        }
        Ok(())
    }
}
