//! How each class is saved and encoded, decided once per class. It knows classes, never objects.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use rustc_hash::FxHashMap;

use crate::errors::Error;

/// What an object is, as far as saving and hashing are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Immutable values, encoded directly.
    None,
    Bool,
    Int,
    Float,
    Complex,
    Str,
    Bytes,
    NumpyScalar,
    Enum,
    /// Immutable values, encoded through their `__reduce_ex__`.
    Constant,
    /// Classes, modules, dtypes: shared, encoded by name.
    Named,
    /// Locks, loggers, spaces, surfaces: shared, encoded as nothing but their class.
    Skipped,
    /// Immutable containers: shared, their elements are visited.
    Tuple,
    FrozenSet,
    Function,
    BoundMethod,
    BoundBuiltin,
    Partial,
    Generator,
    /// Mutable things that are saved and restored in place.
    Cell,
    List,
    Dict,
    OrderedDict,
    Set,
    Deque,
    ByteArray,
    TypedArray,
    Array,
    BitGenerator,
    RandomState,
    PythonRandom,
    Rect,
    Vector,
    Object,
    /// State that Python cannot see: copied with `copy.deepcopy`.
    Opaque,
}

impl Kind {
    /// Whether nothing below the object has to be visited.
    pub(crate) fn is_leaf(self) -> bool {
        matches!(
            self,
            Self::None
                | Self::Bool
                | Self::Int
                | Self::Float
                | Self::Complex
                | Self::Str
                | Self::Bytes
                | Self::NumpyScalar
                | Self::Enum
                | Self::Constant
                | Self::Named
                | Self::Skipped
        )
    }
}

/// The decision about one class.
pub(crate) struct Plan {
    /// Held so that the address in the map is never reused.
    class: Py<PyType>,
    pub(crate) kind: Kind,
    /// Whether the class is the built-in itself, not something derived from it.
    pub(crate) exact: bool,
    pub(crate) has_dict: bool,
    pub(crate) slots: Arc<Vec<Slot>>,
    /// The class's `__qualname__`. The module is left out on purpose: a file run as a program calls
    /// itself `__main__`, and the same file imported by the partner does not.
    pub(crate) name: Arc<str>,
    /// Whether the class says itself how it is copied, so that it can own opaque parts.
    pub(crate) hooked: bool,
    pub(crate) order: Option<Arc<FieldOrder>>,
}

/// One name of a class's `__slots__`.
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) descriptor: Py<PyAny>,
}

/// The canonical order of the fields of a class's usual instance.
pub(crate) struct FieldOrder {
    /// The names in the order in which the instance holds them.
    pub(crate) names: Vec<Py<PyAny>>,
    /// For each field in canonical order: its place in `names`, and its encoded name. Fields that are
    /// not to be hashed are left out.
    pub(crate) fields: Vec<(usize, Vec<u8>)>,
}

/// The decisions made so far.
#[derive(Default)]
pub(crate) struct Plans {
    by_class: FxHashMap<usize, u32>,
    plans: Vec<Plan>,
    shared: Vec<Py<PyType>>,
    /// Fields that are saved but not hashed, each as `Class.field`.
    unhashed: Vec<String>,
}

impl Plans {
    pub(crate) fn new(shared: Vec<Py<PyType>>, unhashed: Vec<String>) -> Self {
        Self { shared, unhashed, ..Self::default() }
    }

    /// Whether a field is part of the hash.
    pub(crate) fn is_hashed(&self, class: &str, field: &str) -> bool {
        self.unhashed.is_empty() || !self.unhashed.contains(&format!("{class}.{field}"))
    }

    /// Whether any field of a class is not part of the hash.
    pub(crate) fn has_unhashed(&self, class: &str) -> bool {
        let classes = self.unhashed.iter().filter_map(|field| field.rsplit_once('.'));
        classes.into_iter().any(|(of, _)| of == class)
    }

    /// The class with this name of which an object was seen, if it is the only one. What is made by calling its class must
    /// be of a built-in one.
    pub(crate) fn class_named<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        kind: Kind,
    ) -> Option<Bound<'py, PyAny>> {
        let is_called = matches!(kind, Kind::Rect | Kind::Vector);
        let plans = self.plans.iter().filter(|plan| plan.exact || !is_called);
        let mut found = plans.filter(|plan| plan.kind == kind && *plan.name == *name);
        let only = found.next().filter(|_| found.next().is_none())?;
        Some(only.class.bind(py).clone().into_any())
    }

    /// The number of the plan for an object's class, and its kind.
    pub(crate) fn of(&mut self, object: &Bound<'_, PyAny>) -> Result<(u32, Kind), Error> {
        let address = object.get_type_ptr() as usize;
        if let Some(&number) = self.by_class.get(&address)
            && let Some(plan) = self.plans.get(number as usize)
        {
            return Ok((number, plan.kind));
        }
        let plan = self.classify(&object.get_type())?;
        let kind = plan.kind;
        let number = u32::try_from(self.plans.len())
            .map_err(|_| Error::TooManyObjects { max: u32::MAX as usize })?;
        self.plans.push(plan);
        self.by_class.insert(address, number);
        Ok((number, kind))
    }

    /// The plan for an object's class.
    pub(crate) fn plan(&mut self, object: &Bound<'_, PyAny>) -> Result<&mut Plan, Error> {
        let (number, _) = self.of(object)?;
        self.plans.get_mut(number as usize).ok_or(Error::EmptySnapshot)
    }

    fn classify(&self, class: &Bound<'_, PyType>) -> Result<Plan, Error> {
        let mut names = Vec::new();
        for base in class.mro() {
            names.push(full_name(base.cast::<PyType>()?)?);
        }
        let own = names.first().map_or("", String::as_str);
        let matched = KINDS.iter().find(|(name, _)| names.iter().any(|base| base == name));
        let shared = self
            .shared
            .iter()
            .any(|base| class.is_subclass(base.bind(class.py())).unwrap_or(false));
        let slots = slots(class)?;
        let has_dict = class.getattr("__dictoffset__")?.extract::<isize>()? != 0;
        let (kind, exact) = match matched {
            _ if shared => (Kind::Skipped, false),
            Some((name, kind)) => (*kind, own == *name || is_family(*kind)),
            None if own.starts_with("numpy.dtype") => (Kind::Named, true),
            None if has_plain_layout(class, slots.len())? => (Kind::Object, false),
            None => (Kind::Opaque, false),
        };
        Ok(Plan {
            class: class.clone().unbind(),
            kind,
            exact,
            has_dict: has_dict && has_fields(kind),
            slots: Arc::new(if has_fields(kind) { slots } else { Vec::new() }),
            name: class.qualname()?.to_string_lossy().as_ref().into(),
            hooked: is_hooked(class, &names)?,
            order: None,
        })
    }

    /// Whether nothing of an object of this plan has to be saved, given that its kind is a leaf.
    pub(crate) fn is_plain_value(&self, number: u32) -> bool {
        self.plans.get(number as usize).is_none_or(|plan| !plan.has_dict && plan.slots.is_empty())
    }

    /// Whether objects of this plan have a `__dict__`, and their slots if there are any.
    pub(crate) fn layout(&self, number: u32) -> (bool, Option<Arc<Vec<Slot>>>) {
        self.plans.get(number as usize).map_or((false, None), |plan| {
            (plan.has_dict, (!plan.slots.is_empty()).then(|| plan.slots.clone()))
        })
    }

    /// Makes instances of the object's class be copied as a whole from now on.
    pub(crate) fn make_opaque(&mut self, object: &Bound<'_, PyAny>) -> Result<(), Error> {
        self.plan(object)?.kind = Kind::Opaque;
        Ok(())
    }
}

fn full_name(class: &Bound<'_, PyType>) -> Result<String, Error> {
    let module = class.getattr("__module__")?;
    let module = module.extract::<String>().unwrap_or_default();
    Ok(format!("{module}.{}", class.qualname()?.to_string_lossy()))
}

/// Kinds whose members differ only in ways that their own encoding already tells.
fn is_family(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NumpyScalar
            | Kind::Enum
            | Kind::Named
            | Kind::Skipped
            | Kind::Constant
            | Kind::BitGenerator
    )
}

/// Kinds of which a Python class can be derived that has fields of its own.
fn has_fields(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Object
            | Kind::Int
            | Kind::Float
            | Kind::Str
            | Kind::Bytes
            | Kind::Tuple
            | Kind::FrozenSet
            | Kind::List
            | Kind::Dict
            | Kind::OrderedDict
            | Kind::Set
            | Kind::Deque
            | Kind::ByteArray
            | Kind::Array
            | Kind::PythonRandom
            | Kind::RandomState
            | Kind::Rect
            | Kind::Vector
            | Kind::TypedArray
    )
}

/// The slots that the class and its bases declare.
fn slots(class: &Bound<'_, PyType>) -> Result<Vec<Slot>, Error> {
    let mut found = Vec::new();
    for base in class.mro() {
        let Ok(members) = base.getattr("__dict__") else { continue };
        if !members.contains("__slots__")? {
            continue;
        }
        for item in members.call_method0("items")?.try_iter()? {
            let item = item?;
            let item = item.cast::<PyTuple>()?;
            let descriptor = item.get_item(1)?;
            if descriptor.get_type().name()? == "member_descriptor" {
                found.push(Slot {
                    name: item.get_item(0)?.extract()?,
                    descriptor: descriptor.unbind(),
                });
            }
        }
    }
    Ok(found)
}

/// Whether instances hold nothing but a `__dict__`, weak references and slots: a class of C or C++
/// needs more room for what it hides. `copyreg` decides by the same comparison.
fn has_plain_layout(class: &Bound<'_, PyType>, slots: usize) -> Result<bool, Error> {
    let word = size_of::<usize>();
    let of = |name: &str| -> Result<isize, Error> { Ok(class.getattr(name)?.extract::<isize>()?) };
    let object = class.py().get_type::<PyAny>();
    let head = object.getattr("__basicsize__")?.extract::<isize>()?.unsigned_abs();
    let dict = if of("__dictoffset__")? > 0 { word } else { 0 };
    let weak = if of("__weakrefoffset__")? > 0 { word } else { 0 };
    let room = head + dict + weak + slots * word;
    Ok(of("__itemsize__")? == 0 && of("__basicsize__")?.unsigned_abs() <= room)
}

/// Whether the class says itself how it is copied. `EzPickle` does not count: it drops the state.
fn is_hooked(class: &Bound<'_, PyType>, names: &[String]) -> Result<bool, Error> {
    if names.iter().any(|name| name.ends_with(".EzPickle")) {
        return Ok(false);
    }
    let object = class.py().get_type::<PyAny>();
    for hook in ["__reduce_ex__", "__reduce__", "__getstate__", "__deepcopy__"] {
        let own = class.getattr(hook).ok();
        let default = object.getattr(hook).ok();
        match (own, default) {
            (Some(own), Some(default)) if !own.is(&default) && !own.eq(&default)? => {
                return Ok(true);
            }
            (Some(_), None) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// The names of a dictionary's keys, compared by address with a remembered order.
impl FieldOrder {
    pub(crate) fn fits<'a>(
        &self,
        names: impl ExactSizeIterator<Item = Option<&'a Py<PyAny>>>,
    ) -> bool {
        names.len() == self.names.len()
            && names.zip(&self.names).all(|(a, b)| a.is_some_and(|a| a.is(b)))
    }
}

/// The fields of an object, as its live `__dict__`.
pub(crate) fn fields<'py>(object: &Bound<'py, PyAny>) -> Result<Bound<'py, PyDict>, Error> {
    let fields = object.getattr(pyo3::intern!(object.py(), "__dict__"))?;
    Ok(fields.cast_into::<PyDict>().map_err(PyErr::from)?)
}

/// The classes that are known by name, the more particular first. A class is of the first kind of
/// which it or one of its bases is a member.
const KINDS: &[(&str, Kind)] = &[
    ("builtins.NoneType", Kind::None),
    ("builtins.bool", Kind::Bool),
    ("enum.Enum", Kind::Enum),
    ("numpy.generic", Kind::NumpyScalar),
    ("numpy.dtype", Kind::Named),
    ("numpy.ufunc", Kind::Named),
    ("builtins.type", Kind::Named),
    ("builtins.module", Kind::Named),
    ("builtins.int", Kind::Int),
    ("builtins.float", Kind::Float),
    ("builtins.complex", Kind::Complex),
    ("builtins.str", Kind::Str),
    ("builtins.bytes", Kind::Bytes),
    ("builtins.tuple", Kind::Tuple),
    ("builtins.list", Kind::List),
    ("collections.OrderedDict", Kind::OrderedDict),
    ("builtins.dict", Kind::Dict),
    ("builtins.set", Kind::Set),
    ("builtins.frozenset", Kind::FrozenSet),
    ("builtins.bytearray", Kind::ByteArray),
    ("collections.deque", Kind::Deque),
    ("array.array", Kind::TypedArray),
    ("builtins.function", Kind::Function),
    ("builtins.method", Kind::BoundMethod),
    ("builtins.builtin_function_or_method", Kind::BoundBuiltin),
    ("builtins.method-wrapper", Kind::BoundBuiltin),
    ("builtins.cell", Kind::Cell),
    ("functools.partial", Kind::Partial),
    ("numpy.ndarray", Kind::Array),
    ("numpy.random._generator.Generator", Kind::Generator),
    ("numpy.random.bit_generator.BitGenerator", Kind::BitGenerator),
    ("numpy.random.mtrand.RandomState", Kind::RandomState),
    ("random.Random", Kind::PythonRandom),
    ("pygame.rect.Rect", Kind::Rect),
    ("pygame.rect.FRect", Kind::Rect),
    ("pygame.math.Vector2", Kind::Vector),
    ("pygame.math.Vector3", Kind::Vector),
    // Immutable, told by their pickled form.
    ("builtins.range", Kind::Constant),
    ("builtins.slice", Kind::Constant),
    ("builtins.ellipsis", Kind::Constant),
    ("builtins.NotImplementedType", Kind::Constant),
    ("datetime.date", Kind::Constant),
    ("datetime.time", Kind::Constant),
    ("datetime.timedelta", Kind::Constant),
    ("datetime.tzinfo", Kind::Constant),
    ("decimal.Decimal", Kind::Constant),
    ("fractions.Fraction", Kind::Constant),
    ("uuid.UUID", Kind::Constant),
    ("re.Pattern", Kind::Constant),
    ("pathlib.PurePath", Kind::Constant),
    ("operator.itemgetter", Kind::Constant),
    ("operator.attrgetter", Kind::Constant),
    ("operator.methodcaller", Kind::Constant),
    // Neither state nor ours to copy: see the module documentation of `canonical`.
    ("gymnasium.spaces.space.Space", Kind::Skipped),
    ("gym.spaces.space.Space", Kind::Skipped),
    ("gymnasium.envs.registration.EnvSpec", Kind::Skipped),
    ("gymnasium.envs.registration.WrapperSpec", Kind::Skipped),
    ("logging.Filterer", Kind::Skipped),
    ("logging.LoggerAdapter", Kind::Skipped),
    ("logging.Manager", Kind::Skipped),
    ("_thread.lock", Kind::Skipped),
    ("_thread.RLock", Kind::Skipped),
    ("_thread._local", Kind::Skipped),
    ("threading.Condition", Kind::Skipped),
    ("threading.Event", Kind::Skipped),
    ("threading.Semaphore", Kind::Skipped),
    ("threading.Thread", Kind::Skipped),
    ("_io._IOBase", Kind::Skipped),
    ("builtins.weakref", Kind::Skipped),
    ("weakref.ReferenceType", Kind::Skipped),
    ("weakref.ProxyType", Kind::Skipped),
    ("builtins.weakproxy", Kind::Skipped),
    ("functools._lru_cache_wrapper", Kind::Skipped),
    ("pygame.surface.Surface", Kind::Skipped),
    ("pygame.Surface", Kind::Skipped),
    ("pygame.font.Font", Kind::Skipped),
    ("pygame.freetype.Font", Kind::Skipped),
    ("pygame.time.Clock", Kind::Skipped),
    ("pygame.Clock", Kind::Skipped),
    ("pygame.mixer.Sound", Kind::Skipped),
    ("pygame.mask.Mask", Kind::Skipped),
    ("builtins.code", Kind::Named),
    ("builtins.property", Kind::Named),
    ("builtins.staticmethod", Kind::Named),
    ("builtins.classmethod", Kind::Named),
    ("builtins.wrapper_descriptor", Kind::Named),
    ("builtins.method_descriptor", Kind::Named),
    ("builtins.getset_descriptor", Kind::Named),
    ("builtins.member_descriptor", Kind::Named),
    ("builtins.classmethod_descriptor", Kind::Named),
    ("types.GenericAlias", Kind::Named),
    ("types.UnionType", Kind::Named),
];
