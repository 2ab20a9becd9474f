//! Tokens: what a caller shows to be let in.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use shardwright_hashing::sha256_hex;
use subtle::ConstantTimeEq;

use crate::Role;

/// The shortest token, in bytes.
pub const TOKEN_MIN: usize = 16;

/// The longest token, in bytes.
pub const TOKEN_MAX: usize = 4_096;

/// What stands in front of the token in a header.
const SCHEME: &str = "Bearer ";

/// A secret that all processes of a cluster share, and the tokens of callers that may do less. None of them is ever printed.
#[derive(Clone)]
pub struct Token {
    /// `Bearer` and the secret, marked as sensitive.
    header: HeaderValue,
    digest: Arc<str>,
    /// Of other callers: what they may do, and the digests of their tokens.
    others: Arc<[(Role, String)]>,
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
    /// A line of the file is neither a token nor a role and a token.
    #[error("line {line} of token file {} is not a role, `read`, `write` or `admin`, and a token", .path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from one.
        line: usize,
    },
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
            others: Arc::default(),
        })
    }

    /// Lets a caller with another token do what a role may.
    ///
    /// # Errors
    /// [`InvalidToken::Malformed`].
    pub fn and(self, role: Role, text: &str) -> Result<Self, InvalidToken> {
        let other = Self::new(text)?;
        let more = (role, other.digest.to_string());
        Ok(Self {
            others: self.others.iter().cloned().chain([more]).collect(),
            ..self
        })
    }

    /// Reads the token from a file that only its owner may read. White space around the token is left out.
    ///
    /// Further lines are for other callers, each with a [`Role`] and a token. Empty lines, and those that begin with `#`, say nothing.
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
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::in_lines(&text).map_err(|bad| match bad {
            None => InvalidToken::Malformed,
            Some(line) => InvalidToken::BadLine {
                path: path.to_owned(),
                line,
            },
        })
    }

    /// Takes the lines of a file. `Err` names one that is wrong, if it is not the first of them.
    fn in_lines(text: &str) -> Result<Self, Option<usize>> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let first = lines.next().map_or("", |(_, line)| line);
        let token = Self::new(first).map_err(|_| None)?;
        lines.try_fold(token, |token, (number, line)| {
            let bad = Some(number);
            let (role, text) = line.split_once(char::is_whitespace).ok_or(bad)?;
            let role = role.parse().map_err(|_| bad)?;
            token.and(role, text.trim()).map_err(|_| bad)
        })
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

    /// Returns whether the headers of a request show it, as `Bearer` in upper or lower case and the token, or that of another caller who
    /// may do anything.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        self.role_in(headers) == Some(Role::Admin)
    }

    /// Returns what the caller may do whose token the headers of a request show; `None` if they show none that is known. The time that this
    /// takes does not depend on how much of a token is right.
    #[must_use]
    pub fn role_in(&self, headers: &HeaderMap) -> Option<Role> {
        let digest = sha256_hex(presented(headers)?);
        let own = (Role::Admin, &*self.digest);
        let others = self.others.iter().map(|(role, digest)| (*role, &**digest));
        // All of them are looked at, whichever it is.
        others.chain([own]).fold(None, |found, (role, known)| {
            let is_it: bool = known.as_bytes().ct_eq(digest.as_bytes()).into();
            found.max(is_it.then_some(role))
        })
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

    #[test]
    fn each_caller_has_its_role_and_no_other() {
        let text = format!(
            "# the cluster's\n{TEXT}\n\nread  reader-reader-reader\nwrite writer-writer-writer\nadmin other-other-other-other\n"
        );
        let token = Token::in_lines(&text).expect("tokens");
        let shown = |text: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {text}")).expect("a header");
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            (token.role_in(&headers), token.is_in(&headers))
        };
        assert_eq!(shown(TEXT), (Some(Role::Admin), true));
        assert_eq!(shown("other-other-other-other"), (Some(Role::Admin), true));
        assert_eq!(shown("writer-writer-writer"), (Some(Role::Write), false));
        assert_eq!(shown("reader-reader-reader"), (Some(Role::Read), false));
        assert_eq!(shown("reader-reader-readez"), (None, false));
        assert_eq!(token.role_in(&HeaderMap::new()), None);
        // Only the first is the cluster's own.
        assert_eq!(token.secret(), TEXT.as_bytes());
        assert!(!token.is("other-other-other-other"));
        assert!(Role::Read < Role::Write && Role::Write < Role::Admin);
    }

    #[test]
    fn lines_that_say_nothing_known_are_refused() {
        for (text, bad) in [
            ("", None),
            ("read reader-reader-reader", None),
            ("correct-horse-battery\nreader-reader-reader", Some(2)),
            (
                "correct-horse-battery\n\nroot reader-reader-reader",
                Some(3),
            ),
            ("correct-horse-battery\nread short", Some(2)),
            (
                "correct-horse-battery\nread two words-words-words-words",
                Some(2),
            ),
        ] {
            assert_eq!(Token::in_lines(text).map(drop), Err(bad), "{text:?}");
        }
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
