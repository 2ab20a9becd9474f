//! Directories that go away after a test, and questions to a database.

use tempfile::TempDir;

use crate::command::run;

/// A directory for one test.
#[derive(Debug)]
pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        Self { directory }
    }

    /// A path in the directory as text, for command lines.
    pub(crate) fn arg(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    }
}

/// One JSON line of each statement.
#[track_caller]
pub(crate) fn ask(database: &str, sql: &str) -> String {
    run(["sql", database, "-o", "json", "-e", sql]).success()
}
