//! Reads gymnasium's space objects. The only place that knows their attributes.

use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::node::{Elements, Limits, Node};
use crate::errors::Error;

/// How deep spaces may be nested.
const DEPTH_MAX: usize = 16;

/// Discrete spaces up to this size keep their numpy integers ready.
const TABLE_MAX: u64 = 1024;

/// The form of the actions of an agent's space.
pub(super) fn node(agent: &str, space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    nested(agent, space, 0)
}

fn nested(agent: &str, space: &Bound<'_, PyAny>, depth: usize) -> Result<Node, Error> {
    let refuse = |reason: &'static str| -> Result<Node, Error> {
        let space = space.repr()?.to_string_lossy().into_owned();
        Err(Error::UnsupportedSpace { agent: agent.to_owned(), space, reason })
    };
    if depth > DEPTH_MAX {
        return refuse("it is nested too deep");
    }
    for class in space.get_type().mro() {
        let name = class.getattr("__name__")?.extract::<String>()?;
        return match name.as_str() {
            "Discrete" => discrete(space),
            "MultiDiscrete" => multi_discrete(space),
            "MultiBinary" => multi_binary(space),
            "Box" => bounded(space),
            "Text" => text(space),
            "Tuple" => {
                let mut nodes = Vec::new();
                for inner in space.getattr("spaces")?.try_iter()? {
                    nodes.push(nested(agent, &inner?, depth + 1)?);
                }
                Ok(Node::Tuple(nodes))
            }
            "Dict" => {
                let mut nodes = Vec::new();
                for item in space.getattr("spaces")?.call_method0("items")?.try_iter()? {
                    let item = item?.cast_into::<PyTuple>().map_err(PyErr::from)?;
                    let node = nested(agent, &item.get_item(1)?, depth + 1)?;
                    nodes.push((item.get_item(0)?.unbind(), node));
                }
                Ok(Node::Dict(nodes))
            }
            "Sequence" => refuse("a Sequence has no fixed length"),
            "Graph" => refuse("a Graph has no fixed size"),
            "OneOf" => refuse("the members of a OneOf have different sizes"),
            "Space" => refuse("its class is not known"),
            _ => continue,
        };
    }
    refuse("it is not a gymnasium space")
}

fn discrete(space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    let count = space.getattr("n")?.extract::<u64>()?;
    let start = space.getattr("start")?.extract::<i64>()?;
    let class = space.getattr("dtype")?.getattr("type")?;
    let mut table = Vec::new();
    if count <= TABLE_MAX {
        for offset in 0..count {
            table.push(class.call1((i128::from(start) + i128::from(offset),))?.unbind());
        }
    }
    Ok(Node::Discrete { count, start, class: class.unbind(), table })
}

fn multi_discrete(space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    let int64 = space.py().import("numpy")?.getattr("int64")?;
    let flat = |name: &str| -> Result<Vec<i64>, Error> {
        let values = space.getattr(name)?.call_method1("astype", (&int64,))?;
        Ok(values.call_method0("ravel")?.call_method0("tolist")?.extract()?)
    };
    let counts = flat("nvec")?;
    let starts = if space.hasattr("start")? { flat("start")? } else { vec![0; counts.len()] };
    let limits = counts
        .iter()
        .zip(&starts)
        .map(|(count, start)| (i128::from(*start), i128::from(*start) + i128::from(*count) - 1))
        .collect();
    Ok(Node::Array { elements: elements(space)?, limits: Limits::Offset(limits) })
}

fn multi_binary(space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    let elements = elements(space)?;
    let limits = Limits::Offset(vec![(0, 1); elements.count]);
    Ok(Node::Array { elements, limits })
}

fn bounded(space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    let elements = elements(space)?;
    let flat = |name: &str| -> Result<Bound<'_, PyAny>, Error> {
        Ok(space.getattr(name)?.call_method0("ravel")?.call_method0("tolist")?)
    };
    let limits = match elements.kind {
        b'f' => {
            let low: Vec<f64> = flat("low")?.extract()?;
            let high: Vec<f64> = flat("high")?.extract()?;
            Limits::Real(low.into_iter().zip(high).collect())
        }
        _ => {
            let low: Vec<i128> = flat("low")?.extract()?;
            let high: Vec<i128> = flat("high")?.extract()?;
            Limits::Whole(low.into_iter().zip(high).collect())
        }
    };
    Ok(Node::Array { elements, limits })
}

fn elements(space: &Bound<'_, PyAny>) -> Result<Elements, Error> {
    let dtype = space.getattr("dtype")?;
    let dtype = PyArrayDescr::new(space.py(), dtype)?;
    let little = dtype.call_method1("newbyteorder", ("<",))?;
    let shape = space.getattr("shape")?.cast_into::<PyTuple>().map_err(PyErr::from)?;
    let count = shape.extract::<Vec<usize>>()?.iter().product();
    Ok(Elements {
        kind: dtype.kind(),
        size: dtype.itemsize(),
        count,
        shape: shape.unbind(),
        dtype: dtype.into_any().unbind(),
        little: little.unbind(),
    })
}

fn text(space: &Bound<'_, PyAny>) -> Result<Node, Error> {
    // The order of `character_set` differs between processes; that of the sorted one does not.
    let mut characters = Vec::new();
    for character in space.getattr("character_set")?.try_iter()? {
        characters.push(character?.cast::<PyString>()?.to_str()?.to_owned());
    }
    characters.sort();
    Ok(Node::Text {
        shortest: space.getattr("min_length")?.extract()?,
        longest: space.getattr("max_length")?.extract()?,
        characters,
    })
}
