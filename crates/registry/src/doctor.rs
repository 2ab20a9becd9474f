//! What a store says of its own setting: what `doctor` prints.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Good,
    /// It cannot be seen from here: somebody has to look.
    Unknown,
    /// It works, and is not meant for production.
    Warning,
    /// Records may be lost.
    Problem,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

impl Finding {
    /// Returns a finding and what to do about it.
    #[must_use]
    pub fn new(level: Level, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            advice: advice.into(),
        }
    }

    /// Returns a finding of something that is as it should be.
    #[must_use]
    pub fn good(what: impl Into<String>) -> Self {
        Self::new(Level::Good, what, "")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.level, self.what)?;
        if self.advice.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.advice)
    }
}
