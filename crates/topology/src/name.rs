//! Names: short texts that are safe in a path, a URL and a registry key.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const NAME_MAX: usize = 63;

/// A text that cannot name anything.
///
/// A name has 1 to 63 ASCII letters, digits, `_`, `.` or `-`, begins with a letter or a digit, does not end with a
/// dot and has no two dots in a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name: use 1 to 63 letters, digits, '_', '-' or single '.', and begin with a letter or a digit"
)]
pub struct InvalidName {
    /// The text that was refused.
    pub text: String,
}

fn check(text: &str) -> Result<(), InvalidName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = text.len() <= NAME_MAX
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
        && !text.ends_with('.')
        && !text.contains("..");
    if valid {
        Ok(())
    } else {
        Err(InvalidName {
            text: text.to_owned(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts `text` as a name.
            ///
            /// # Errors
            /// [`InvalidName`] says what a name may hold.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                check(text)?;
                Ok(Self(text.into()))
            }

            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// Names a shard, the unit of ownership, placement and movement, within its keyspace.
    ///
    /// A shard keeps its name and its range for life; a split or a merge makes new shards with new names.
    ShardId
}

name! {
    /// Names a node: one process that may hold shards, across its restarts.
    NodeId
}

name! {
    /// Names a keyspace: one sharded database, whose shards tile one hash space.
    KeyspaceName
}

name! {
    /// Names one elastic operation: a split, a merge or a migration.
    OperationId
}

impl ShardId {
    /// Returns the name of the shard with a number: `shard-0`, `shard-1` and so on.
    #[must_use]
    pub fn numbered(number: u32) -> Self {
        Self(format!("shard-{number}").into())
    }

    /// Returns the name of a keyspace's catalog shard, which has no range and holds the global tables.
    #[must_use]
    pub fn catalog() -> Self {
        Self("catalog".into())
    }
}

impl KeyspaceName {
    /// Returns the name of the keyspace that exists where nobody named one: `main`.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str) {
        assert_eq!(
            ShardId::new(text),
            Err(InvalidName {
                text: text.to_owned()
            })
        );
    }

    #[test]
    fn a_name_that_is_unsafe_in_a_path_is_refused() {
        for text in [
            "", ".", "..", "a/b", "a\\b", "-a", ".a", "a.", "a..b", "a b", "ä", "a\0",
        ] {
            refused(text);
        }
        refused(&"a".repeat(NAME_MAX + 1));
    }

    #[test]
    fn ordinary_names_are_accepted() {
        for text in ["shard-0", "n1", "7", "eu.west_1-a", &"a".repeat(NAME_MAX)] {
            assert_eq!(ShardId::new(text).expect("a valid name").as_str(), text);
        }
        assert_eq!(ShardId::new("shard-12"), Ok(ShardId::numbered(12)));
        assert_eq!(ShardId::new("catalog"), Ok(ShardId::catalog()));
        assert_eq!(KeyspaceName::new("main"), Ok(KeyspaceName::main()));
    }

    #[test]
    fn a_stored_name_is_checked_when_it_is_read() {
        assert_eq!(
            serde_json::to_string(&ShardId::numbered(3)).expect("a text"),
            "\"shard-3\""
        );
        let read: Result<ShardId, _> = serde_json::from_str("\"../etc\"");
        let message = read.expect_err("no name").to_string();
        assert!(message.contains("is no name"), "{message}");
    }
}
