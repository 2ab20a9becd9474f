//! The cluster token of the connections between nodes.

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The shortest token, in bytes.
pub const TOKEN_MIN: usize = 16;

/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 4_096;

/// A secret that all nodes of a cluster share. It is never printed, and never sent: each side proves that it has it.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// A token that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token has {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters and no spaces, this one is different"
)]
pub struct InvalidToken;

impl Token {
    /// Takes a text as the token.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !(TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) {
            return Err(InvalidToken);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What one side computes over what both have said. Nodes without a token have an empty key: they are on loopback.
pub(super) fn mac(token: Option<&Token>, side: &[u8], said: &[u8]) -> Hmac<Sha256> {
    let key = token.map_or(&[][..], |token| token.0.as_bytes());
    let mut mac = Hmac::new_from_slice(key).expect("an HMAC takes keys of every length");
    mac.update(side);
    mac.update(said);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tokens_and_spaces_are_refused_and_none_is_printed() {
        for text in [
            "",
            "fifteen-letters",
            "sixteen letters.",
            "sixteen-lettersé",
        ] {
            assert_eq!(Token::new(text).err(), Some(InvalidToken), "{text:?}");
        }
        let token = Token::new("sixteen-letters.").expect("a token");
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
