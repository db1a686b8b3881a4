//! Where the values of a state are found: the paths in messages, such as `agents[1].pos`.

use pyo3::prelude::*;
use rustc_hash::FxHashMap;

use super::sink::PathId;

/// One step of a path.
pub(super) enum Step<'py> {
    Root(String),
    Attribute(Bound<'py, PyAny>),
    Key(Bound<'py, PyAny>),
    Index(usize),
    Element,
    Part(&'static str),
}

struct Place<'py> {
    parent: PathId,
    step: Step<'py>,
    object: Bound<'py, PyAny>,
}

/// How an object was reached: a readable path, and the objects from the root down to it.
pub(crate) struct Trail<'py> {
    pub(crate) path: String,
    pub(crate) objects: Vec<Bound<'py, PyAny>>,
}

/// The places that one walk came by, as a tree.
#[derive(Default)]
pub(crate) struct Places<'py> {
    places: Vec<Place<'py>>,
    /// The nearest place of each object that has an identity, with the path to it.
    nearest: FxHashMap<usize, String>,
}

impl<'py> Places<'py> {
    pub(super) fn add(
        &mut self,
        parent: PathId,
        step: Step<'py>,
        object: &Bound<'py, PyAny>,
    ) -> PathId {
        self.places.push(Place { parent, step, object: object.clone() });
        self.places.len() - 1
    }

    /// From each object to its shortest path, if this walk went level by level.
    pub(super) fn shortest(&self, is_wanted: impl Fn(usize) -> bool) -> FxHashMap<usize, String> {
        let mut nearest = FxHashMap::default();
        for (at, place) in self.places.iter().enumerate() {
            let address = place.object.as_ptr() as usize;
            if is_wanted(address) && !nearest.contains_key(&address) {
                nearest.insert(address, self.path(at));
            }
        }
        nearest
    }

    /// Makes paths start at the shortest way to the object that holds the value.
    pub(super) fn shorten(&mut self, nearest: FxHashMap<usize, String>) {
        self.nearest = nearest;
    }

    /// The way to the first place at which an object was found.
    pub(super) fn trail(&self, object: &Bound<'py, PyAny>) -> Option<Trail<'py>> {
        let mut at = self.places.iter().position(|place| place.object.is(object))?;
        let path = self.path(at);
        let mut objects = Vec::new();
        while let Some(place) = self.places.get(at) {
            objects.push(place.object.clone());
            if matches!(place.step, Step::Root(_)) {
                break;
            }
            at = place.parent;
        }
        objects.reverse();
        Some(Trail { path, objects })
    }

    /// A path as a person would write it.
    pub(super) fn path(&self, mut at: PathId) -> String {
        let mut steps = Vec::new();
        let mut path = String::new();
        while let Some(place) = self.places.get(at) {
            if !steps.is_empty()
                && let Some(nearest) = self.nearest.get(&(place.object.as_ptr() as usize))
            {
                path.clone_from(nearest);
                break;
            }
            steps.push(&place.step);
            if matches!(place.step, Step::Root(_)) {
                break;
            }
            at = place.parent;
        }
        for step in steps.into_iter().rev() {
            step.append_to(&mut path);
        }
        path
    }
}

impl Step<'_> {
    fn append_to(&self, path: &mut String) {
        let dotted = |path: &mut String, name: &str| {
            if !path.is_empty() && !name.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        };
        match self {
            Self::Root(name) => path.push_str(name),
            Self::Attribute(name) => dotted(path, &name.to_string()),
            Self::Part(name) => dotted(path, name),
            Self::Index(index) => path.push_str(&format!("[{index}]")),
            Self::Key(key) => {
                let key = key.repr().map(|key| key.to_string_lossy().into_owned());
                path.push_str(&format!("[{}]", key.unwrap_or_default()));
            }
            Self::Element => path.push_str("{…}"),
        }
    }
}
