//! What a place keeps of commits over several places: rows of its table `_meta`, each with the version of its form.
//!
//! ```text
//! commit.count             how many it has had
//! commit.applied.ID        one that it has had: which one of the place that was, and who took part
//! commit.decided.ID        one that it has decided, and that others may still have to hear of
//! commit.prepared.ID       one whose part is lasting here and not visible
//! commit-part.ID           what that part changes, in a form of whoever keeps it
//! ```
//! The keys have a dot, so that [copies](shardwright_store::META_TABLE) of a place have them like rows of any table.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shardwright_store::Value;

use super::{
    CommitId, Party, Prepared, Ticket,
    cut::{Listing, Members},
};

/// Before the name of a commit that this place has decided, and that may not be at all places.
pub const DECIDED: &str = "commit.decided.";

/// Before the name of a commit that this place has had.
pub const APPLIED: &str = "commit.applied.";

/// Before the name of a commit whose part is prepared here.
pub const PREPARED: &str = "commit.prepared.";

/// Before the name of a commit, for what its prepared part changes.
pub const PART: &str = "commit-part.";

/// How many commits over several places this place has had.
pub const COUNT: &str = "commit.count";

/// What the keys of all these notes begin with: they are about the place alone, and not for one that replaces it.
pub const PREFIX: &str = "commit";

/// All notes of commits, without what prepared parts change.
pub const ALL: &str =
    "SELECT key, value FROM main._meta WHERE key >= 'commit.' AND key < 'commit/'";

/// The notes of the part that is prepared, and of the decisions that are not forgotten. A place that has some is not to be replaced by
/// others.
pub const UNRESOLVED: &str = "SELECT key, value FROM main._meta
    WHERE key >= 'commit.decided.' AND key < 'commit.decided/'
       OR key >= 'commit.prepared.' AND key < 'commit.prepared/'";

/// Finds a row if the place has a part that is prepared.
pub const HELD: &str = "SELECT 1 FROM main._meta
    WHERE key >= 'commit.prepared.' AND key < 'commit.prepared/' LIMIT 1";

/// Writes a note that is not there: its key, and what it says.
pub const PUT: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)";

/// Removes a note by its key.
pub const DELETE: &str = "DELETE FROM main._meta WHERE key = ?1";

/// Counts one commit more, and returns how many there were with it.
pub const RAISE: &str = "INSERT INTO main._meta(key, value) VALUES ('commit.count', 1)
    ON CONFLICT(key) DO UPDATE SET value = value + 1 RETURNING value";

/// Removes from the list of commits those with a number up to `?1`, unless this place has decided them and has not forgotten that.
pub const UNLIST: &str = "DELETE FROM main._meta
    WHERE key >= 'commit.applied.' AND key < 'commit.applied/' AND value ->> 'number' <= ?1
      AND 'commit.decided.' || substr(key, 16) NOT IN (SELECT key FROM main._meta)";

/// For how many commits after it one stays listed at least.
pub const LISTED: u64 = 1_000;

/// After how many commits the list is shortened.
pub const UNLIST_EVERY: u64 = 128;

/// The version of the forms that are written here.
const VERSION: u32 = 1;

/// A commit that a place has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedNote {
    version: u32,
    /// Which one of the place it is, counted from one.
    pub number: u64,
    /// Who decided.
    pub first: Party,
    /// All participants, the first one included.
    pub members: Vec<Party>,
}

/// A part that is prepared at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedNote {
    version: u32,
    /// Who decides.
    pub first: Party,
    /// That one's ticket.
    pub first_ticket: Ticket,
    /// All participants, the first one included.
    pub members: Vec<Party>,
}

/// A decision of a place whose others have prepared their parts at their own places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedNote {
    version: u32,
    /// This place.
    pub first: Party,
    /// All participants, this one included.
    pub members: Vec<Party>,
    /// What others have to do is with them.
    #[serde(default)]
    parts: std::collections::BTreeMap<Party, ()>,
}

impl AppliedNote {
    /// A commit that a place has had, with the number that it has there.
    #[must_use]
    pub fn new(number: u64, first: Party, members: Vec<Party>) -> Self {
        Self {
            version: VERSION,
            number,
            first,
            members,
        }
    }

    /// The note.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json(self)
    }

    /// The commit of a note; `None` if it has another form.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        parse(value).filter(|note: &Self| note.version == VERSION)
    }
}

impl PreparedNote {
    /// What is noted of a part.
    #[must_use]
    pub fn new(part: &Prepared) -> Self {
        Self {
            version: VERSION,
            first: part.first.clone(),
            first_ticket: part.first_ticket,
            members: part.participants.clone(),
        }
    }

    /// The note.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json(self)
    }

    /// The part of a note; `None` if it has another form.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        parse(value).filter(|note: &Self| note.version == VERSION)
    }

    /// The part that this says is prepared.
    #[must_use]
    pub fn part(self, id: CommitId) -> Prepared {
        Prepared {
            id,
            first: self.first,
            first_ticket: self.first_ticket,
            participants: self.members,
        }
    }
}

impl DecidedNote {
    /// A decision.
    #[must_use]
    pub fn new(first: Party, members: Vec<Party>) -> Self {
        Self {
            version: VERSION,
            first,
            members,
            parts: std::collections::BTreeMap::new(),
        }
    }

    /// The note.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json(self)
    }

    /// The decision of a note; `None` if it has another form.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        parse(value).filter(|note: &Self| note.version == VERSION)
    }
}

/// What a place has of commits whose parts are prepared at their own places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The parts that are prepared and not resolved.
    pub prepared: Vec<Prepared>,
    /// The decisions that are not forgotten.
    pub decided: Vec<(CommitId, Vec<Party>)>,
}

impl Kept {
    /// Adds one row of [`UNRESOLVED`].
    ///
    /// # Errors
    /// The key of a note that has another form.
    pub fn add(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let unknown = || format!("the note {key} is of a form that this release does not know");
        if let Some(id) = key.strip_prefix(PREPARED) {
            let id = id.parse().map_err(|_| unknown())?;
            let note = PreparedNote::of(value).ok_or_else(unknown)?;
            self.prepared.push(note.part(id));
        } else if let Some(id) = key.strip_prefix(DECIDED) {
            let id = id.parse().map_err(|_| unknown())?;
            let note = DecidedNote::of(value).ok_or_else(unknown)?;
            self.decided.push((id, note.members));
        }
        Ok(())
    }
}

impl Listing {
    /// Adds a part that is prepared.
    pub(crate) fn add_prepared(&mut self, id: CommitId, note: &PreparedNote) {
        let (first, all) = (note.first.clone(), note.members.clone());
        self.prepared.insert(id, Members { first, all });
    }
}

/// The key of a note of a commit.
#[must_use]
pub fn key(prefix: &str, id: CommitId) -> Value {
    Value::from(format!("{prefix}{id}"))
}

pub(crate) fn json<T: Serialize>(value: &T) -> Value {
    let text = serde_json::to_string(value).expect("a note has only fields that JSON knows");
    Value::from(text)
}

pub(crate) fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_str(value.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_other_forms_are_refused() {
        let [one, two] = ["shard-0", "shard-1"].map(Party::new);
        let id = CommitId {
            started: 7,
            author: 9,
        };
        let part = Prepared {
            id,
            first: one.clone(),
            first_ticket: Ticket { term: 3, number: 4 },
            participants: vec![one.clone(), two],
        };
        let mut kept = Kept::default();
        let prepared = PreparedNote::new(&part).to_value();
        kept.add(&format!("{PREPARED}{id}"), &prepared).unwrap();
        let decided = DecidedNote::new(one, part.participants.clone()).to_value();
        kept.add(&format!("{DECIDED}{id}"), &decided).unwrap();
        kept.add(COUNT, &Value::Integer(1)).unwrap();
        assert_eq!(kept.decided, [(id, part.participants.clone())]);
        assert_eq!(kept.prepared, [part]);
        let later = Value::from(r#"{"version":2,"first":"a","members":[]}"#);
        assert!(kept.add(&format!("{DECIDED}{id}"), &later).is_err());
        assert!(kept.add(&format!("{PREPARED}{id}"), &later).is_err());
    }
}
