//! What a check found, and how it is told.
#![expect(clippy::print_stderr, reason = "a check tells people what it found")]

use std::fmt;

use anyhow::bail;

/// One thing to repair, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    /// Counted from 1; 0 stands for the file as a whole.
    line: usize,
    message: String,
}

impl Problem {
    /// A problem in one line of a file, counted from 1.
    pub(crate) fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }

    /// A problem of a file as a whole.
    pub(crate) fn of(path: &str, message: impl Into<String>) -> Self {
        Self::at(path, 0, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Prints `problems` in order of place.
///
/// # Errors
///
/// When there is any.
pub(crate) fn conclude(check: &str, mut problems: Vec<Problem>) -> anyhow::Result<()> {
    problems.sort();
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => {
            eprintln!("{check}: nothing to repair");
            Ok(())
        }
        count => bail!("{check}: {count} to repair"),
    }
}

/// The problems as the lines that a test compares.
#[cfg(test)]
pub(crate) fn lines(mut problems: Vec<Problem>) -> String {
    problems.sort();
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}
