//! How many records went which way.

use std::{collections::BTreeMap, fmt};

use super::running::Outcome;

/// Counts of outcomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    passed: u64,
    wrong: u64,
    refused_selects: u64,
    crashed: u64,
    /// Refusals by code, those of statements that read included.
    refused: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts an outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Wrong { .. } => self.wrong += 1,
            Outcome::Crashed { .. } => self.crashed += 1,
            Outcome::Refused {
                code, is_select, ..
            } => {
                self.refused_selects += u64::from(*is_select);
                *self.refused.entry(code.clone()).or_default() += 1;
            }
        }
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.passed += other.passed;
        self.wrong += other.wrong;
        self.refused_selects += other.refused_selects;
        self.crashed += other.crashed;
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }

    /// Whether anything happened that must not: a wrong answer, a refusal to read, or a crash.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.wrong + self.refused_selects + self.crashed > 0
    }

    /// How often each code refused something.
    #[must_use]
    pub fn refusals(&self) -> &BTreeMap<String, u64> {
        &self.refused
    }

    /// The last line of a run.
    #[must_use]
    pub fn total(&self) -> String {
        format!("total: {self}")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused: u64 = self.refused.values().sum();
        write!(
            f,
            "{} passed, {} wrong, {refused} refused ({} selects), {} crashed",
            self.passed, self.wrong, self.refused_selects, self.crashed
        )
    }
}
