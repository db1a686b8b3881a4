//! What the parts of a described object become here.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyWeakref};

use super::leads_to;
use super::node::{Content, NodeEntry, check_random_state, refused};
use super::receive::Receiver;
use crate::errors::Error;
use crate::snapshot::{Entry, Kind, Part, fields, owner_of};

impl<'a, 'py> Receiver<'a, 'py> {
    pub(super) fn fill_entry(&mut self, number: usize, place: usize) -> Result<(), Error> {
        let live = self.live;
        let Some(Some((object, is_found))) = self.objects.get(number).cloned() else {
            return Ok(());
        };
        let Some(entry) = self.nodes.get(number).and_then(|node| node.entries.get(place)).cloned()
        else {
            return Ok(());
        };
        let part = if is_found { live.parts(&object).get(place) } else { None };
        match &*entry.code {
            "F" => {
                let own = if is_found { Some(fields(&object)?) } else { None };
                let like = if is_found { None } else { self.sibling(&object)? };
                let beside = own.as_ref().or(like.as_ref());
                check_names(&entry.list(1)?, own.as_ref())?;
                let values = self.pairs(&entry.list(1)?, beside, (true, is_found))?;
                let values = self.with_unhashed(&object, own.as_ref(), values)?;
                self.add(&object, Part::Fields, values)
            }
            "d" | "D" => {
                let own = object.cast::<PyDict>()?.clone();
                let values =
                    self.pairs(&entry.list(1)?, is_found.then_some(&own), (false, true))?;
                let part = if entry.code == "d" { Part::Dict } else { Part::OrderedDict };
                self.add(&object, part, values)
            }
            "S" => {
                let trees = entry.list(1)?;
                let slots = self.plans.plan(&object)?.slots.len();
                if trees.len() != slots {
                    return Err(refused("other slots"));
                }
                let values = self.in_order(&trees, part)?;
                self.add_all(&object, Part::Slots, values)
            }
            "l" | "s" | "q" | "O" | "C" => self.fill_sequence(&object, &entry, part),
            "a" if !is_found => Ok(()),
            _ => self.fill_rest(&object, &entry),
        }
    }

    fn fill_sequence(
        &mut self,
        object: &Bound<'py, PyAny>,
        entry: &NodeEntry<'py>,
        part: Option<&'a Entry>,
    ) -> Result<(), Error> {
        let (part_of, trees) = match &*entry.code {
            "l" => (Part::List, entry.list(1)?),
            "s" => (Part::Set, entry.list(1)?),
            "q" => (Part::Deque, entry.list(2)?),
            "O" => (Part::ObjectArray, entry.list(2)?),
            _ => (Part::Cell, entry.list(1)?),
        };
        if part_of == Part::ObjectArray && !object.getattr("size")?.eq(trees.len())? {
            return Err(refused("an array with another number of objects"));
        }
        let part = part.filter(|_| part_of != Part::Set);
        let mut values = self.in_order(&trees, part)?;
        if part_of == Part::Cell {
            values.resize(1, None);
        }
        self.add_all(object, part_of, values)
    }

    /// A part without places for other objects, or that only leads to some.
    fn fill_rest(
        &mut self,
        object: &Bound<'py, PyAny>,
        entry: &NodeEntry<'py>,
    ) -> Result<(), Error> {
        match &*entry.code {
            "a" => self.add_bytes(object, Part::StridedArray, &entry.array_bytes(2)?),
            "v" => {
                let own = owner_of(object)?;
                let tree = entry.at(1)?;
                match &own {
                    None if !tree.is_none() => return Err(refused("a view of another array")),
                    None => {}
                    Some(own) if !self.make(&tree, Some(own), 0)?.is(own) => {
                        return Err(refused("a view of another array"));
                    }
                    Some(_) => {}
                }
                self.add_bytes(object, Part::ArrayView, &entry.array_bytes(4)?)
            }
            "b" => {
                self.add_bytes(object, Part::ByteArray, entry.at(1)?.cast::<PyBytes>()?.as_bytes())
            }
            "R" => {
                let state = entry.at(1)?;
                let is_python = self.plans.of(object)?.1 == Kind::PythonRandom;
                check_random_state(&state, is_python)?;
                self.add(object, Part::RandomState, vec![state])
            }
            "x" => {
                let numbers = entry.list(1)?.to_tuple().into_any();
                self.add(object, Part::Coordinates, vec![numbers])
            }
            "T" => {
                let copy = object.call_method0("__copy__")?;
                copy.call_method1("__delitem__", (pyo3::types::PySlice::full(self.py),))?;
                copy.call_method1("frombytes", (entry.at(2)?,))?;
                self.add(object, Part::TypedArray, vec![copy])
            }
            "n" => {
                let (_, kind) = self.plans.of(object)?;
                let (_, leads) = leads_to(object, kind)?;
                for (tree, own) in entry.list(2)?.iter().zip(leads) {
                    let made = self.make(&tree, Some(&own), 0)?;
                    let is_value =
                        matches!(Content::of(&tree)?, Content::Plain | Content::Tuple(_));
                    if !(made.is(&own) || is_value && made.eq(&own)?) {
                        return Err(refused("a function of another object"));
                    }
                }
                Ok(())
            }
            _ => Err(refused("an unknown part")),
        }
    }

    /// The values of a sequence, each with the own one at its place.
    fn in_order(
        &mut self,
        trees: &Bound<'py, PyList>,
        part: Option<&'a Entry>,
    ) -> Result<Vec<Option<Bound<'py, PyAny>>>, Error> {
        let own = part.map_or(&[][..], |part| self.live.references(part));
        let mut values = Vec::with_capacity(trees.len());
        for (index, tree) in trees.iter().enumerate() {
            if matches!(Content::of(&tree)?, Content::Unset) {
                values.push(None);
                continue;
            }
            let own = own.get(index).and_then(Option::as_ref).map(|own| own.bind(self.py).clone());
            values.push(Some(self.make(&tree, own.as_ref(), 0)?));
        }
        Ok(values)
    }

    /// The fields of an own object of the same class as one that is new.
    fn sibling(&mut self, new: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyDict>>, Error> {
        let class = new.get_type();
        if let Some(found) = self.siblings.get(&(class.as_ptr() as usize)) {
            return Ok(found.clone());
        }
        let mut objects = self.live.entries.iter().filter(|entry| entry.part == Part::Fields);
        let found = objects.find(|entry| entry.object.bind(self.py).get_type().is(&class));
        let found = found.map(|entry| fields(entry.object.bind(self.py))).transpose()?;
        self.siblings.insert(class.as_ptr() as usize, found.clone());
        Ok(found)
    }

    /// Names or keys with their values. Of an object that is not the own one, only what is no state is taken.
    fn pairs(
        &mut self,
        trees: &Bound<'py, PyList>,
        own: Option<&Bound<'py, PyDict>>,
        (are_fields, is_own): (bool, bool),
    ) -> Result<Vec<Bound<'py, PyAny>>, Error> {
        let trees: Vec<_> = trees.iter().collect();
        let mut made = Vec::with_capacity(trees.len());
        for pair in trees.chunks(2) {
            let [key, value] = pair else { return Err(refused("a key without a value")) };
            let key = match key.cast_exact::<PyString>() {
                Ok(name) if are_fields => {
                    PyString::intern(self.py, &name.to_string_lossy()).into_any()
                }
                _ if are_fields => return Err(refused("a field that is not named by text")),
                _ => self.make(key, None, 0)?,
            };
            let own = match own {
                // A key that is new may have nothing yet of which its hash is made.
                Some(own) => own.get_item(&key).ok().flatten(),
                None => None,
            };
            let own = own.filter(|own| is_own || !own.is_instance_of::<PyWeakref>());
            let own = own.filter(|_| is_own || matches!(Content::of(value), Ok(Content::Kept(_))));
            let value = self.make(value, own.as_ref(), 0)?;
            made.extend([key, value]);
        }
        Ok(made)
    }

    /// Fields that are no part of what travels stay as they are.
    fn with_unhashed(
        &mut self,
        object: &Bound<'py, PyAny>,
        own: Option<&Bound<'py, PyDict>>,
        mut values: Vec<Bound<'py, PyAny>>,
    ) -> Result<Vec<Bound<'py, PyAny>>, Error> {
        let class = self.plans.plan(object)?.name.clone();
        if !self.plans.has_unhashed(&class) {
            return Ok(values);
        }
        let names = values.iter().step_by(2);
        for name in names {
            if !self.plans.is_hashed(&class, &name.str()?.to_string_lossy()) {
                return Err(refused("a field that is not hashed"));
            }
        }
        for (name, value) in own.into_iter().flatten() {
            if !self.plans.is_hashed(&class, &name.str()?.to_string_lossy()) {
                values.extend([name, value]);
            }
        }
        Ok(values)
    }

    fn add(
        &mut self,
        object: &Bound<'py, PyAny>,
        part: Part,
        values: Vec<Bound<'py, PyAny>>,
    ) -> Result<(), Error> {
        self.add_all(object, part, values.into_iter().map(Some).collect())
    }

    fn add_all(
        &mut self,
        object: &Bound<'py, PyAny>,
        part: Part,
        values: Vec<Option<Bound<'py, PyAny>>>,
    ) -> Result<(), Error> {
        let (start, len) = (self.made.references.len(), values.len());
        self.made.references.extend(values.into_iter().map(|value| value.map(Bound::unbind)));
        self.made.add(object, part, start, len);
        Ok(())
    }

    fn add_bytes(
        &mut self,
        object: &Bound<'py, PyAny>,
        part: Part,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let start = self.made.bytes.len();
        self.made.bytes.extend_from_slice(bytes);
        self.made.add(object, part, start, bytes.len());
        Ok(())
    }
}

/// Sees that no field is one that Python or numpy looks up by itself, as `__array_interface__` with an address: unless the own
/// object has it.
fn check_names(trees: &Bound<'_, PyList>, own: Option<&Bound<'_, PyDict>>) -> Result<(), Error> {
    for name in trees.iter().step_by(2) {
        let is_known = own.is_some_and(|own| own.contains(&name).unwrap_or(false));
        let Ok(text) = name.cast_exact::<PyString>() else { continue };
        let text = text.to_string_lossy();
        if text.starts_with("__") && text.ends_with("__") && !is_known {
            return Err(refused(&format!("a field {text}, which the object here has not")));
        }
    }
    Ok(())
}
