//! The files of migrations.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use shardwright_sql::statement::split;

use super::MigrationError;

/// A migration in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Migration {
    pub(crate) version: u64,
    /// The name of the file.
    pub(crate) name: String,
    pub(crate) statements: Vec<String>,
    /// The SHA-256 of the file, in hexadecimal digits. Ends of lines count as one character, whoever has checked the file out.
    pub(crate) sha256: String,
}

impl Migration {
    /// Reads the migrations in a directory, in the order of their numbers. Files that do not end in `.sql` are none.
    ///
    /// # Errors
    /// [`MigrationError`] of the first file that cannot be one.
    pub(crate) fn read_all(directory: &Path) -> Result<Vec<Self>, MigrationError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| MigrationError::Io { path, source }
        };
        let mut found: BTreeMap<u64, Self> = BTreeMap::new();
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            paths.push(entry.map_err(failed(directory))?.path());
        }
        paths.sort();
        let is_sql = |path: &&PathBuf| path.extension().is_some_and(|end| end == "sql");
        for path in paths.iter().filter(is_sql) {
            let text = fs::read_to_string(path).map_err(failed(path))?;
            let migration = Self::of(path, &text)?;
            let version = migration.version;
            if let Some(other) = found.get(&version) {
                return Err(MigrationError::Twice {
                    version,
                    one: other.name.clone(),
                    other: migration.name,
                });
            }
            found.insert(version, migration);
        }
        Ok(found.into_values().collect())
    }

    fn of(path: &Path, text: &str) -> Result<Self, MigrationError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = |name: &str| {
            let rest = name.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let is_apart = rest.starts_with(['_', '-', '.']);
            let digits = &name[..name.len() - rest.len()];
            let version = digits.parse().ok().filter(|_| is_apart)?;
            i64::try_from(version).ok().map(|_| version)
        };
        let found = name.and_then(|name| Some((name.to_owned(), number(name)?)));
        let (name, version) = found.ok_or_else(|| MigrationError::BadName {
            path: path.to_owned(),
        })?;
        let statements = split(text).into_iter().map(str::trim);
        let statements: Vec<String> = statements
            .filter(|statement| !statement.is_empty())
            .map(str::to_owned)
            .collect();
        if statements.is_empty() {
            return Err(MigrationError::Empty { version });
        }
        let digest = Sha256::digest(text.replace("\r\n", "\n"));
        Ok(Self {
            version,
            name,
            statements,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_the_order_of_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("10_b.sql", "CREATE TABLE b(id INTEGER PRIMARY KEY);\r\n");
        write(
            "9-a.sql",
            "CREATE TABLE a(x TEXT PRIMARY KEY); CREATE INDEX i ON a(x)",
        );
        write("README.md", "no migration");
        let read = || Migration::read_all(directory.path());
        let found = read().unwrap();
        let versions: Vec<u64> = found.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, [9, 10]);
        assert_eq!(found[0].statements.len(), 2);
        write("10_b.sql", "CREATE TABLE b(id INTEGER PRIMARY KEY);\n");
        assert_eq!(read().unwrap(), found, "the ends of lines do not count");
        write("0009_c.sql", "DROP TABLE a");
        assert!(matches!(
            read(),
            Err(MigrationError::Twice { version: 9, .. })
        ));
        write("0009_c.sql", " -- nothing\n");
        assert!(read().is_err());
        fs::remove_file(directory.path().join("0009_c.sql")).unwrap();
        write("a.sql", "DROP TABLE a");
        assert!(matches!(read(), Err(MigrationError::BadName { .. })));
    }
}
