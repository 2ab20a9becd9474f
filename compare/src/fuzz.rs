//! Random cases one after the other, until one fails or there were enough.

use std::{fmt, ops::ControlFlow, path::Path};

use shardwright_sql::{
    Options, ShardedDatabase,
    adopt::{self, AdoptOptions},
};
use shardwright_store::Synchronous;
use shardwright_testkit::{
    Database, Failure, FailureKind,
    sqlgen::{Case, Profile},
};

use crate::{
    Embedded,
    embedded::failure_of,
    random::{self, Maker, Origin, Tally, Trouble},
};

/// How large the cases are.
pub const PROFILE: Profile = Profile {
    statements: 40,
    writes: 25,
};

/// Of so many cases one gets its rows by an import.
const IMPORTED: u64 = 4;

/// The embedded engine on so many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(pub usize);

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shards", self.0)
    }
}

impl Maker for Shards {
    /// # Panics
    /// When there is no place for temporary files.
    fn create(&self) -> Box<dyn Database> {
        Box::new(Embedded::create(None, self.0).expect("an empty database"))
    }

    fn import(&self, file: &Path) -> Result<Box<dyn Database>, Failure> {
        let unusable = |error: std::io::Error| Failure {
            kind: FailureKind::Sql,
            message: error.to_string(),
        };
        let directory = tempfile::tempdir().map_err(unusable)?;
        let path = directory.path().join("db");
        let adopted = AdoptOptions::default();
        adopt::import(file, &path, self.0, &adopted, &mut |_| {})
            .map_err(|error| failure_of(&error))?;
        let options = Options {
            synchronous: Synchronous::Off,
            ..Options::default()
        };
        let opened = ShardedDatabase::open(&path, &options).map_err(|error| failure_of(&error))?;
        Ok(Box::new(Embedded::over(&opened, directory)))
    }
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The seed of the case.
    pub seed: u64,
    /// The trouble, and the smallest case that shows it.
    pub report: String,
}

/// Runs the cases of the seeds from `first` on, each on one of the numbers of `shards`, until one fails or `go_on` says that there were
/// enough. Adds up in `tally` what happened. A case follows from its seed and `shards` alone.
///
/// # Panics
/// When `shards` is empty.
pub fn search(
    first: u64,
    shards: &[usize],
    tally: &mut Tally,
    mut go_on: impl FnMut(u64, &Tally) -> ControlFlow<()>,
) -> Option<Finding> {
    for seed in first.. {
        if go_on(seed, tally).is_break() {
            return None;
        }
        if let Some(finding) = try_seed(seed, shards, tally) {
            return Some(finding);
        }
    }
    None
}

fn try_seed(seed: u64, shards: &[usize], tally: &mut Tally) -> Option<Finding> {
    // Neighbouring seeds take turns, and each number of shards meets imported rows.
    let count = shards.len() as u64;
    let turn = usize::try_from(seed % count).unwrap_or(0);
    let maker = Shards(shards[turn]);
    let origin = if (seed / count) % IMPORTED == IMPORTED - 1 {
        Origin::Import
    } else {
        Origin::Statements
    };
    let case = Case::eventful(seed, PROFILE);
    let found = random::run(&case, &maker, origin, tally).err()?;
    if matches!(found.trouble, Trouble::BadCase(_)) && origin == Origin::Import {
        return None;
    }
    Some(Finding {
        seed,
        report: random::report(case, &maker, origin, found.step),
    })
}
