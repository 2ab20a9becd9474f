//! Which migrations are to be made.

use std::collections::BTreeMap;

use super::{Migration, MigrationError};

/// What is noted of a migration that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Note {
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) sha256: String,
    /// When it was made, by the clock of whoever did.
    pub(crate) made: String,
}

/// A migration, and how it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Planned {
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) made: Option<String>,
}

/// How a migration stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Made,
    Pending,
    /// It was made, and its file is another one now.
    Changed,
    /// It was made, and has no file.
    Lost,
    /// It was not made, and a later one was.
    Late,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Pending => "pending",
            Self::Changed => "changed",
            Self::Lost => "lost",
            Self::Late => "late",
        }
    }
}

/// Compares files with notes. The list is in the order of the numbers.
pub(crate) fn plan(files: &[Migration], notes: &[Note]) -> Vec<Planned> {
    let noted: BTreeMap<u64, &Note> = notes.iter().map(|note| (note.version, note)).collect();
    let last = noted.keys().last().copied().unwrap_or(0);
    let mut all = BTreeMap::new();
    for file in files {
        let note = noted.get(&file.version);
        let state = match note {
            Some(note) if note.sha256 == file.sha256 => State::Made,
            Some(_) => State::Changed,
            None if file.version < last => State::Late,
            None => State::Pending,
        };
        let planned = Planned {
            version: file.version,
            name: file.name.clone(),
            state,
            made: note.map(|note| note.made.clone()),
        };
        all.insert(file.version, planned);
    }
    for note in notes {
        all.entry(note.version).or_insert_with(|| Planned {
            version: note.version,
            name: note.name.clone(),
            state: State::Lost,
            made: Some(note.made.clone()),
        });
    }
    all.into_values().collect()
}

impl Planned {
    /// Refuses what nobody may pass over.
    ///
    /// # Errors
    /// [`MigrationError`] by its state.
    pub(crate) fn check(&self, last: u64) -> Result<(), MigrationError> {
        let version = self.version;
        match self.state {
            State::Made | State::Pending => Ok(()),
            State::Changed => Err(MigrationError::Changed { version }),
            State::Late => Err(MigrationError::Late { version, last }),
            State::Lost => Err(MigrationError::Lost {
                version,
                name: self.name.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u64, sha256: &str) -> Migration {
        Migration {
            version,
            name: format!("{version}_x.sql"),
            statements: vec!["SELECT 1".to_owned()],
            sha256: sha256.to_owned(),
        }
    }

    fn note(version: u64, sha256: &str) -> Note {
        Note {
            version,
            name: format!("{version}_x.sql"),
            sha256: sha256.to_owned(),
            made: "then".to_owned(),
        }
    }

    #[test]
    fn each_migration_is_told_how_it_stands() {
        let files = [
            file(1, "a"),
            file(2, "b"),
            file(3, "c"),
            file(6, "f"),
            file(7, "g"),
        ];
        let notes = [note(1, "a"), note(3, "x"), note(4, "d"), note(5, "e")];
        let planned = plan(&files, &notes);
        let states: Vec<(u64, State)> =
            planned.iter().map(|one| (one.version, one.state)).collect();
        assert_eq!(
            states,
            [
                (1, State::Made),
                (2, State::Late),
                (3, State::Changed),
                (4, State::Lost),
                (5, State::Lost),
                (6, State::Pending),
                (7, State::Pending),
            ]
        );
        let refused: Vec<bool> = planned.iter().map(|one| one.check(5).is_err()).collect();
        assert_eq!(refused, [false, true, true, true, true, false, false]);
    }
}
