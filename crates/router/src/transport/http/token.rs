//! Tokens: what a caller shows to be let in.

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

/// A secret that all nodes of a cluster share. It is never printed.
#[derive(Clone)]
pub struct Token {
    /// `Bearer` and the secret, marked as sensitive.
    header: HeaderValue,
    expected: Arc<[u8]>,
}

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has at least one character, and only visible ASCII ones: generate another")]
pub struct InvalidToken;

impl Token {
    /// Accepts `secret` as a token.
    ///
    /// # Errors
    /// [`InvalidToken`] unless it is one or more visible ASCII characters.
    pub fn new(secret: &str) -> Result<Self, InvalidToken> {
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidToken);
        }
        let expected = format!("Bearer {secret}");
        let mut header = HeaderValue::from_str(&expected).map_err(|_| InvalidToken)?;
        header.set_sensitive(true);
        Ok(Self {
            header,
            expected: expected.into_bytes().into(),
        })
    }

    /// Returns the value of the header `authorization` that shows it.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Returns whether headers show it. The time that this takes does not depend on how much of it is right.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        headers
            .get(AUTHORIZATION)
            .is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(&self.expected)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_let_in_and_it_is_never_printed() {
        let token = Token::new("s3cret").unwrap();
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            token.is_shown(&headers)
        };
        assert!(shown("Bearer s3cret"));
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret2",
            "s3cret",
            "Basic s3cret",
            "",
        ] {
            assert!(!shown(wrong), "{wrong}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
        assert!(!format!("{token:?}{:?}", token.header()).contains("s3cret"));
    }

    #[test]
    fn a_text_that_no_header_takes_is_no_token() {
        for text in ["", "a b", "a\n", "ä"] {
            assert_eq!(Token::new(text).err(), Some(InvalidToken), "{text:?}");
        }
    }
}
