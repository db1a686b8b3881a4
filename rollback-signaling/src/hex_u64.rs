//! A `u64` as sixteen lower-case hexadecimal digits: JSON numbers above 2^53 are rounded by many
//! readers, and a session id that one member rounds differs for ever.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:016x}"))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 16 || !is_hex {
        return Err(D::Error::custom("expected 16 lower-case hexadecimal digits"));
    }
    u64::from_str_radix(&text, 16).map_err(D::Error::custom)
}
