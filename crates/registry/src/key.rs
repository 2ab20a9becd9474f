//! Keys of a store: paths of names.

use std::{fmt, sync::Arc};

/// The longest key, in bytes.
pub const KEY_MAX: usize = 255;

/// The name of one value in a store: names joined by `/`, such as `shard/main/shard-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A set of keys: all of them, or those below a path. Whole names only: `shard/` holds `shard/a`, not `shards/a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<str>);

/// A text that is no key.
///
/// A key has names of letters, digits, `_`, `-` and single `.`, which begin with a letter or a digit and do not end with a
/// dot, joined by single `/`, 255 bytes in all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no key: use names of letters, digits, '_', '-' or single '.', joined by '/'")]
pub struct InvalidKey {
    /// The text that was refused.
    pub text: String,
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(allowed)
        && !name.ends_with('.')
        && !name.contains("..")
}

fn check(path: &str, text: &str) -> Result<(), InvalidKey> {
    if text.len() <= KEY_MAX && path.split('/').all(is_name) {
        Ok(())
    } else {
        Err(InvalidKey {
            text: text.to_owned(),
        })
    }
}

impl Key {
    /// Accepts `text` as a key.
    ///
    /// # Errors
    /// [`InvalidKey`] says what a key may hold.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let text = text.as_ref();
        check(text, text)?;
        Ok(Self(text.into()))
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last name of the key.
    #[must_use]
    pub fn last_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl Prefix {
    /// Returns the set of all keys.
    #[must_use]
    pub fn all() -> Self {
        Self("".into())
    }

    /// Accepts `text` as a prefix: a key with a `/` behind it, or nothing.
    ///
    /// # Errors
    /// [`InvalidKey`] says what a key may hold.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidKey> {
        let text = text.as_ref();
        if text.is_empty() {
            return Ok(Self::all());
        }
        let path = text.strip_suffix('/').ok_or_else(|| InvalidKey {
            text: text.to_owned(),
        })?;
        check(path, text)?;
        Ok(Self(text.into()))
    }

    /// Returns the prefix as text: empty, or ending with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a key is in the set.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        key.0.starts_with(&*self.0)
    }

    /// Returns the key below this prefix with a name.
    ///
    /// # Errors
    /// [`InvalidKey`] if the name is none, or the key would be too long.
    pub fn key(&self, name: impl AsRef<str>) -> Result<Key, InvalidKey> {
        Key::new(format!("{}{}", self.0, name.as_ref()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_names_is_a_key() {
        for text in ["node/n1", "shard/main/shard-0", "a", "a/b.c/d_e"] {
            assert_eq!(Key::new(text).expect("a key").as_str(), text);
        }
        assert_eq!(
            Key::new("shard/main/shard-0").expect("a key").last_name(),
            "shard-0"
        );
    }

    #[test]
    fn other_text_is_no_key() {
        for text in [
            "", "/", "a/", "/a", "a//b", "a/../b", "a b", "a/*", "a/>", "ä",
        ] {
            assert_eq!(
                Key::new(text),
                Err(InvalidKey {
                    text: text.to_owned()
                })
            );
        }
        assert!(Key::new("a".repeat(KEY_MAX + 1)).is_err());
    }

    #[test]
    fn a_prefix_holds_whole_names() {
        let prefix = Prefix::new("shard/main/").expect("a prefix");
        assert!(prefix.holds(&prefix.key("a").expect("a key")));
        assert!(!prefix.holds(&Key::new("shard/mainz/a").expect("a key")));
        assert!(Prefix::all().holds(&Key::new("a").expect("a key")));
        for text in ["shard", "/", "a//"] {
            assert!(Prefix::new(text).is_err(), "{text:?}");
        }
    }
}
