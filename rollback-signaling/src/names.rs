//! The names of rooms and members, parsed once and valid ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most characters of a room name: it is the path of a link that people read to each other.
pub const ROOM_NAME_CHARS_MAX: usize = 64;

/// Most bytes of a member name.
pub const MEMBER_NAME_BYTES_MAX: usize = 64;

/// Names that no room may have, because the server answers something else at these paths.
pub const RESERVED_ROOM_NAMES: [&str; 3] = ["admin", "console", "health"];

/// The name of a room: 1 to 64 characters of `a-z`, `0-9`, `_` and `-`, none of the reserved names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

/// What a member calls itself, for people to read: 1 to 64 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberName(String);

/// Why a string is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    #[error("expected a name, got an empty one")]
    Empty,
    /// It is too long.
    #[error("expected a name of at most {max} bytes, got {got}")]
    TooLong {
        /// The most bytes allowed.
        max: usize,
        /// The bytes there are.
        got: usize,
    },
    /// It holds a character that such a name may not have.
    #[error("the character {character:?} cannot be in such a name")]
    Character {
        /// The first such character.
        character: char,
    },
    /// The server uses this path for something else.
    #[error("this name is reserved: the server answers something else there")]
    Reserved,
}

impl RoomName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MemberName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoomName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        check_length(&name, ROOM_NAME_CHARS_MAX)?;
        let allowed = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '_' | '-');
        if let Some(character) = name.chars().find(|&character| !allowed(character)) {
            return Err(NameError::Character { character });
        }
        if RESERVED_ROOM_NAMES.contains(&name.as_str()) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for MemberName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        check_length(&name, MEMBER_NAME_BYTES_MAX)?;
        match name.chars().find(|character| character.is_control()) {
            Some(character) => Err(NameError::Character { character }),
            None => Ok(Self(name)),
        }
    }
}

impl FromStr for RoomName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        name.to_owned().try_into()
    }
}

impl FromStr for MemberName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        name.to_owned().try_into()
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> Self {
        name.0
    }
}

impl From<MemberName> for String {
    fn from(name: MemberName) -> Self {
        name.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn check_length(name: &str, max: usize) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        got if got > max => Err(NameError::TooLong { max, got }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_is_lower_case_letters_digits_underscore_and_hyphen() {
        assert_eq!("kitchen_2-b".parse::<RoomName>().unwrap().as_str(), "kitchen_2-b");
        for (name, character) in [("Kitchen", 'K'), ("a/b", '/'), ("..", '.'), ("küche", 'ü')] {
            assert_eq!(name.parse::<RoomName>(), Err(NameError::Character { character }));
        }
    }

    #[test]
    fn a_room_name_has_1_to_64_characters() {
        assert_eq!("".parse::<RoomName>(), Err(NameError::Empty));
        assert!("a".repeat(64).parse::<RoomName>().is_ok());
        let past = "a".repeat(65).parse::<RoomName>();
        assert_eq!(past, Err(NameError::TooLong { max: 64, got: 65 }));
    }

    #[test]
    fn a_reserved_path_is_no_room() {
        assert_eq!("health".parse::<RoomName>(), Err(NameError::Reserved));
    }

    #[test]
    fn a_member_name_is_anything_readable() {
        assert_eq!("Jürgen 3".parse::<MemberName>().unwrap().as_str(), "Jürgen 3");
        let bell = "a\u{7}".parse::<MemberName>();
        assert_eq!(bell, Err(NameError::Character { character: '\u{7}' }));
    }
}
