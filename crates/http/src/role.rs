//! Roles: what the caller with a token may do.

use std::str::FromStr;

/// What the caller with a token may do. Each one may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read rows, and look at the cluster.
    Read,
    /// Run any statement.
    Write,
    /// Anything, such as processes of the cluster do.
    Admin,
}

/// A text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is read, write or admin")]
pub struct UnknownRole;

impl Role {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let all = [Self::Read, Self::Write, Self::Admin];
        let named = all.into_iter().find(|role| role.as_str() == text);
        named.ok_or(UnknownRole)
    }
}
