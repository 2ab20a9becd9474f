//! Tokens: what a caller shows to be let in.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use shardwright_hashing::sha256_hex;
use subtle::ConstantTimeEq;

/// The shortest token, in bytes.
pub const TOKEN_MIN: usize = 16;

/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 4_096;

/// What stands in front of the token in a header.
const SCHEME: &str = "Bearer ";

/// A secret that all processes of a cluster share. It is never printed.
#[derive(Clone)]
pub struct Token {
    /// `Bearer` and the secret, marked as sensitive.
    header: HeaderValue,
    digest: Arc<str>,
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
        let header = HeaderValue::from_str(&format!("{SCHEME}{text}"));
        let mut header = header.map_err(|_| InvalidToken::Malformed)?;
        header.set_sensitive(true);
        Ok(Self {
            header,
            digest: sha256_hex(text).into(),
        })
    }

    /// Reads the token from a file that only its owner may read. White space around the token is left out.
    ///
    /// # Errors
    /// [`InvalidToken`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, InvalidToken> {
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
        Self::new(fs::read_to_string(path).map_err(unreadable)?.trim())
    }

    /// Returns the value of the header `authorization` that shows it.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Returns its bytes, for proofs that do not show them.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.header.as_bytes()[SCHEME.len()..]
    }

    /// Returns whether a text is the token, in a time that does not depend on how much of it is right.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        let presented = sha256_hex(presented);
        self.digest.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Returns whether the headers of a request show it, as `Bearer` in upper or lower case and the token.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        presented(headers).is_some_and(|text| self.is(text))
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
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
        assert_eq!(token.secret(), TEXT.as_bytes());
        for other in ["", "correct-horse-batterz", "correct-horse-batter"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn the_header_shows_the_token_and_is_never_printed() {
        let token = Token::new(TEXT).expect("a token");
        let shown =
            |value: HeaderValue| token.is_in(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
        assert!(shown(token.header()));
        assert!(!format!("{:?}", token.header()).contains(TEXT));
        for (scheme, right) in [("Bearer", true), ("bearer", true), ("Basic", false)] {
            let value = HeaderValue::from_str(&format!("{scheme} {TEXT}")).expect("a header");
            assert_eq!(shown(value), right, "{scheme}");
        }
        for wrong in [TEXT, "Bearer", "Bearer correct-horse-batter", ""] {
            assert!(!shown(HeaderValue::from_static(wrong)), "{wrong:?}");
        }
        assert!(!token.is_in(&HeaderMap::new()));
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
        let message = Token::read(&path).expect_err("0640").to_string();
        assert!(message.contains("has mode 0640"), "{message}");
        mode(0o600).expect("a mode");
        assert!(Token::read(&path).expect("0600").is(TEXT));
        let missing = Token::read(directory.path().join("missing"));
        assert!(matches!(missing, Err(InvalidToken::Unreadable { .. })));
        fs::write(&path, "fifteen-letters\n").expect("a file");
        assert!(matches!(Token::read(&path), Err(InvalidToken::Malformed)));
    }
}
