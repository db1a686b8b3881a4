//! What is known by its canonical encoding alone: never made, only found.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustc_hash::FxHashMap;

use super::node::refused;
use super::receive::Receiver;
use super::{canonical_bytes, is_kept};
use crate::errors::Error;
use crate::snapshot::Kind;

impl<'py> Receiver<'_, 'py> {
    /// The own value with this encoding: the one at the same place, or one elsewhere.
    pub(super) fn keep(
        &mut self,
        bytes: &[u8],
        own: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyAny>, Error> {
        if let Some(own) = own
            && is_kept(self.plans, self.live, own)?
            && canonical_bytes(self.plans, self.live, own)? == bytes
        {
            return Ok(own.clone());
        }
        // What is skipped has nothing in its encoding that tells one from another.
        let found = match bytes.first() {
            Some(b'x') => None,
            _ => self.kept()?.get(bytes).cloned(),
        };
        found.ok_or_else(|| {
            let shown: String = bytes.iter().take(SHOWN_BYTES).map(|b| char::from(*b)).collect();
            let shown: String = shown.chars().filter(|c| c.is_ascii_graphic()).collect();
            refused(&format!("{shown:?}, which is not to be found here"))
        })
    }

    fn kept(&mut self) -> Result<&FxHashMap<Vec<u8>, Bound<'py, PyAny>>, Error> {
        if self.kept.is_none() {
            let mut found = FxHashMap::default();
            let mut values: Vec<Bound<'py, PyAny>> = self
                .live
                .references
                .iter()
                .flatten()
                .map(|value| value.bind(self.py).clone())
                .collect();
            while let Some(value) = values.pop() {
                if let Ok(tuple) = value.cast::<PyTuple>() {
                    values.extend(tuple.iter());
                } else if is_kept(self.plans, self.live, &value)? {
                    if self.plans.of(&value)?.1 == Kind::Enum {
                        let members = value.get_type().getattr("__members__")?;
                        for member in members.call_method0("values")?.try_iter()? {
                            let member = member?;
                            let bytes = canonical_bytes(self.plans, self.live, &member)?;
                            found.insert(bytes, member);
                        }
                    }
                    let bytes = canonical_bytes(self.plans, self.live, &value)?;
                    found.insert(bytes, value);
                }
            }
            self.kept = Some(found);
        }
        self.kept.as_ref().ok_or(Error::EmptySnapshot)
    }
}

/// How much of an encoding is shown in a message.
const SHOWN_BYTES: usize = 80;
