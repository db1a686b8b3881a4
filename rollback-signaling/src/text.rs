//! Text of bounded length without control characters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text of at most `BYTES_MAX` bytes of UTF-8, without control characters other than tab, carriage
/// return and line feed (so that JSON never more than doubles its length).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const BYTES_MAX: usize>(String);

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a string is no [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It has more bytes than its kind allows.
    #[error("expected at most {max} bytes of text, got {got}")]
    TooLong {
        /// The most bytes allowed.
        max: usize,
        /// The bytes there are.
        got: usize,
    },
    /// It holds a control character other than tab, carriage return or line feed.
    #[error("expected text without control characters, got one at byte {at}")]
    ControlCharacter {
        /// Where it is, in bytes from the start.
        at: usize,
    },
}

impl<const BYTES_MAX: usize> TryFrom<String> for Text<BYTES_MAX> {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        if text.len() > BYTES_MAX {
            return Err(TextError::TooLong { max: BYTES_MAX, got: text.len() });
        }
        let control = |character: char| {
            character.is_ascii_control() && !matches!(character, '\t' | '\r' | '\n')
        };
        match text.find(control) {
            Some(at) => Err(TextError::ControlCharacter { at }),
            None => Ok(Self(text)),
        }
    }
}

impl<const BYTES_MAX: usize> From<Text<BYTES_MAX>> for String {
    fn from(text: Text<BYTES_MAX>) -> Self {
        text.0
    }
}

impl<const BYTES_MAX: usize> fmt::Display for Text<BYTES_MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<const BYTES_MAX: usize> fmt::Debug for Text<BYTES_MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_accepted_at_its_limit_and_refused_one_byte_past_it() {
        assert_eq!(Text::<4>::try_from("abcd".to_owned()).unwrap().as_str(), "abcd");
        let past = Text::<4>::try_from("abcde".to_owned());
        assert_eq!(past, Err(TextError::TooLong { max: 4, got: 5 }));
    }

    #[test]
    fn line_ends_are_text_and_other_control_characters_are_not() {
        assert!(Text::<9>::try_from("a\r\n\tb".to_owned()).is_ok());
        let with_nul = Text::<9>::try_from("a\0b".to_owned());
        assert_eq!(with_nul, Err(TextError::ControlCharacter { at: 1 }));
    }
}
