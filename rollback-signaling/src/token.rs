//! The secret with which a member returns to its slot.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 128 random bits that name one member's slot; as JSON, 32 lower-case hexadecimal digits.
/// Whoever has it is that member, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token([u8; 16]);

/// The string is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a token of 32 lower-case hexadecimal digits")]
pub struct TokenError;

impl Token {
    /// The token of these bytes, which must come from a secure source of randomness.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Token {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !is_hex {
            return Err(TokenError);
        }
        let value = u128::from_str_radix(&text, 16).map_err(|_| TokenError)?;
        Ok(Self(value.to_be_bytes()))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        format!("{:032x}", u128::from_be_bytes(token.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_form_and_debug_hides_it() {
        let token = Token::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        let text = String::from(token);
        assert_eq!(text, "000102030405060708090a0b0c0d0eff");
        assert_eq!(Token::try_from(text), Ok(token));
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }

    #[test]
    fn only_32_lower_case_digits_are_a_token() {
        for text in
            ["", "00", "000102030405060708090A0B0C0D0EFF", "+00102030405060708090a0b0c0d0eff"]
        {
            assert_eq!(Token::try_from(text.to_owned()), Err(TokenError));
        }
    }
}
