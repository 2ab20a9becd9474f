//! The records of several sources on their way to one target.
//!
//! Rows of divided tables come from the source that owns them. What every shard has whole, such as reference tables, comes from the first source
//! alone. Notes that are numbers become the highest that any source has, and a write that several sources have made is remembered as the first of
//! them tells it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use shardwright_quorum::log::BatchMember;
use shardwright_sql::Placement;
use shardwright_store::{
    Change, ChangeSet, Error as StoreError, META_TABLE, Seen, ShardFile, Snapshot, Value, is_stream,
};

use super::{
    SHIFT, SourceRecord,
    import::{Taken, is_about_source, taken},
};

/// How records of one of several sources are taken in.
#[derive(Debug, Clone)]
pub(crate) struct Merging {
    /// Where rows belong.
    pub(crate) placement: Arc<Placement>,
    /// Whether the source is the one whose range the target's begins with.
    pub(crate) is_first: bool,
}

/// The notes that change, with what they are before and after.
type Notes = BTreeMap<String, (Option<Value>, Option<Value>)>;

impl Merging {
    /// Returns what records mean for a target that holds what the file does.
    pub(super) fn take(
        &self,
        records: Vec<SourceRecord>,
        file: &ShardFile,
    ) -> Result<Taken, StoreError> {
        let (changes, members) = taken(records)?;
        let snapshot = file.snapshot()?;
        let members = new_ones(members, file)?;
        let raises = self.raises(&snapshot)?;
        let mut notes = Notes::new();
        let mut rows = Vec::with_capacity(changes.len() + 1);
        for changes in &changes {
            self.note(changes, &snapshot, &mut notes)?;
            rows.push(self.rows(changes, &raises));
        }
        let notes = notes.iter();
        rows.push(ChangeSet::of_notes(notes.map(|(key, (old, new))| {
            (key.as_str(), old.as_ref(), new.as_ref())
        })));
        Ok((rows, members))
    }

    /// By how much the rowids of tables are raised that no column shows.
    fn raises(&self, snapshot: &Snapshot) -> Result<HashMap<String, i64>, StoreError> {
        let mut raises = HashMap::new();
        for table in self.placement.tables() {
            let note = note_of(snapshot, &format!("{SHIFT}{}", table.name))?;
            let raised = note
                .and_then(|note| note.as_i64())
                .filter(|_| !self.is_first);
            raises.insert(table.name.clone(), raised.unwrap_or(0));
        }
        Ok(raises)
    }

    fn rows(&self, changes: &ChangeSet, raises: &HashMap<String, i64>) -> ChangeSet {
        if self.is_first {
            // What AUTOINCREMENT has given out is counted in the target by its rows.
            return changes
                .filter(|table, _| table.name != META_TABLE && table.name != "sqlite_sequence");
        }
        changes.only(|table| {
            let placed = self.placement.table(&table.name)?;
            raises.get(&placed.name).copied()
        })
    }

    /// Notes what becomes of notes.
    fn note(
        &self,
        changes: &ChangeSet,
        snapshot: &Snapshot,
        notes: &mut Notes,
    ) -> Result<(), StoreError> {
        for change in changes.changes() {
            let Change::Row(row) = change else { continue };
            if row.table().name != META_TABLE || is_about_source(row.key().first().copied()) {
                continue;
            }
            let key = row
                .key()
                .first()
                .and_then(|key| key.as_str().map(str::to_owned));
            let Some(key) = key else { continue };
            let new = row.after().and_then(|mut row| row.nth(1)).map(Value::from);
            if !notes.contains_key(&key) {
                let here = note_of(snapshot, &key)?;
                notes.insert(key.clone(), (here.clone(), here));
            }
            let Some((_, now)) = notes.get_mut(&key) else {
                continue;
            };
            let is_higher = match (&now, &new) {
                (Some(Value::Integer(now)), Some(Value::Integer(new))) => new > now,
                (None, Some(_)) => true,
                _ => self.is_first,
            };
            if is_higher {
                *now = new;
            }
        }
        Ok(())
    }
}

fn note_of(snapshot: &Snapshot, key: &str) -> Result<Option<Value>, StoreError> {
    let sql = "SELECT value FROM main._meta WHERE key = ?1";
    snapshot.query_row(sql, &[Value::from(key)], |row| row.get(0).to_value())
}

/// Returns the writes that the target does not know yet. Another source may have made a part of one too: what this one did of it is not told to
/// who asks again. Of a stream only the last is kept.
fn new_ones(members: Vec<BatchMember>, file: &ShardFile) -> Result<Vec<BatchMember>, StoreError> {
    let (mut here, mut kept) = (HashSet::new(), Vec::with_capacity(members.len()));
    for member in members.into_iter().rev() {
        let number = (!is_stream(&member.client.0)).then_some(member.sequence);
        let is_new = here.insert((member.client, number))
            && file.find(&member.client.0, member.sequence)? == Seen::New;
        if is_new {
            kept.push(member);
        }
    }
    kept.reverse();
    Ok(kept)
}
