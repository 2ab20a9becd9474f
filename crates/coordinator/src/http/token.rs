//! The token that callers present.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, header};
use shardwright_hashing::sha256_hex;
use subtle::ConstantTimeEq;

/// The shortest token, in bytes.
pub const TOKEN_MIN: usize = 16;

/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 4_096;

/// A token, of which only the digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digest: String,
}

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidToken {
    /// The file cannot be read.
    #[error("token file {} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write the file. Change its mode to 0600.
    #[error("token file {} has mode {mode:04o}: others may read it, change it to 0600", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The token is too short or too long, or has characters that do not travel in a header.
    #[error(
        "a token has {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters and no spaces, this one is different"
    )]
    Malformed,
}

impl Token {
    /// Takes a text as the token.
    ///
    /// # Errors
    /// [`InvalidToken::Malformed`].
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !(TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) {
            return Err(InvalidToken::Malformed);
        }
        Ok(Self::unchecked(text))
    }

    /// Takes whatever a caller trusts as its token.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self {
            digest: sha256_hex(text),
        }
    }

    /// Reads the text of a token, for those who present it, from a file that only its owner may read. White space around it is
    /// left out.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn read_text(path: impl AsRef<Path>) -> Result<String, InvalidToken> {
        let path = path.as_ref();
        let unreadable = |source| InvalidToken::Unreadable {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if let Some(mode) = exposed(&metadata) {
            let path = path.to_owned();
            return Err(InvalidToken::Exposed { path, mode });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim();
        Self::new(text)?;
        Ok(text.to_owned())
    }

    /// Returns whether a text is the token, in a time that does not depend on how much of it is right.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented = sha256_hex(presented);
        self.digest.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Returns whether a request carries it.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        presented(headers).is_some_and(|text| self.is(text))
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

#[cfg(unix)]
fn exposed(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Access lists are the affair of the file system there.
#[cfg(not(unix))]
fn exposed(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "correct-horse-battery";

    #[test]
    fn only_the_token_itself_is_accepted() {
        let token = Token::new(TEXT).expect("a token");
        assert!(token.is(TEXT));
        for other in ["", "correct-horse-batterz", "correct-horse-batter"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn short_tokens_and_spaces_are_refused() {
        for text in [
            "",
            "fifteen-letters",
            "sixteen letters.",
            "sixteen-lettersé",
        ] {
            let refused = Token::new(text);
            assert!(matches!(refused, Err(InvalidToken::Malformed)), "{text:?}");
        }
        assert!(Token::new("sixteen-letters.").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        fs::write(&path, format!("{TEXT}\n")).expect("a file");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        mode(0o640).expect("a mode");
        let message = Token::read_text(&path).expect_err("0640").to_string();
        assert!(message.contains("has mode 0640"), "{message}");
        mode(0o600).expect("a mode");
        assert_eq!(Token::read_text(&path).expect("0600"), TEXT);
        let missing = Token::read_text(directory.path().join("missing"));
        assert!(matches!(missing, Err(InvalidToken::Unreadable { .. })));
        fs::write(&path, "fifteen-letters\n").expect("a file");
        let short = Token::read_text(&path);
        assert!(matches!(short, Err(InvalidToken::Malformed)));
    }
}
