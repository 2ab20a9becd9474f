//! The part of some changes that concerns some of the rows, and several changes as one.

use super::{Change, ChangeSet, ChangedKey, ChangedTable, Encoder, Head, RowChange, Values};
use crate::{META_TABLE, Value, ValueRef};

impl ChangeSet {
    /// Returns the changes as a copy needs them that has only some of the rows: those that `keeps` says of a table and the values of its
    /// stored columns.
    ///
    /// A row that an update makes one of them comes, and one that it makes none of them goes. Changes of the schema and of settings stay.
    #[must_use]
    pub fn filter(&self, mut keeps: impl FnMut(&ChangedTable, Values<'_>) -> bool) -> Self {
        let mut encoder = Encoder::new();
        self.write_to(&mut encoder, &mut keeps);
        encoder.finish()
    }

    /// Returns the changes of some tables' rows alone, with their rowids raised by as much as `raises` says of the table, where no column shows
    /// them; `None` leaves the table out. Nothing else stays, not even settings.
    #[must_use]
    pub fn only(&self, mut raises: impl FnMut(&ChangedTable) -> Option<i64>) -> Self {
        let mut encoder = Encoder::new();
        for change in self.changes() {
            match change {
                Change::Border => encoder.border(),
                Change::Row(row) => {
                    if let Some(by) = raises(row.table()) {
                        write_row(&mut encoder, &row, by, &mut |_, _| true);
                    }
                }
                _ => {}
            }
        }
        encoder.finish()
    }

    /// Returns the changes that make notes in `_meta` what they are to be: of each its key, its value before, and after; `None` if there is
    /// none.
    #[must_use]
    pub fn of_notes<'n>(
        notes: impl IntoIterator<Item = (&'n str, Option<&'n Value>, Option<&'n Value>)>,
    ) -> Self {
        let key = ChangedKey::Columns(vec![0]);
        let mut head = Head::new(META_TABLE, &key, 2);
        let mut encoder = Encoder::new();
        for (name, old, new) in notes {
            let row = |value: &'n Value| {
                [ValueRef::Text(name.as_bytes()), ValueRef::from(value)].into_iter()
            };
            match (old, new) {
                (None, None) => {}
                (None, Some(new)) => encoder.insert(&mut head, None, row(new)),
                (Some(old), None) => encoder.delete(&mut head, None, row(old)),
                (Some(old), Some(new)) => encoder.update(&mut head, None, row(old), row(new)),
            }
        }
        encoder.finish()
    }

    /// Returns several changes as one: each is applied after those before it.
    #[must_use]
    pub fn joined<'c>(all: impl IntoIterator<Item = &'c Self>) -> Self {
        let mut encoder = Encoder::new();
        for changes in all {
            encoder.border();
            changes.write_to(&mut encoder, &mut |_, _| true);
        }
        encoder.finish()
    }

    /// Returns whether the schema changes, other than by statistics about its tables.
    #[must_use]
    pub fn changes_schema(&self) -> bool {
        let is_schema = |change| {
            matches!(
                change,
                Change::Schema {
                    digest: Some(_),
                    ..
                }
            )
        };
        self.changes().any(is_schema)
    }

    fn write_to(
        &self,
        encoder: &mut Encoder,
        keeps: &mut impl FnMut(&ChangedTable, Values<'_>) -> bool,
    ) {
        for change in self.changes() {
            match change {
                Change::Row(row) => write_row(encoder, &row, 0, keeps),
                Change::Schema { sql, digest } => encoder.schema(sql, digest),
                Change::Sequences(values) => encoder.sequences(values.len() / 3, values),
                Change::Setting { setting, old, new } => encoder.setting(setting, old, new),
                Change::Border => encoder.border(),
            }
        }
    }
}

fn write_row(
    encoder: &mut Encoder,
    row: &RowChange<'_>,
    raise: i64,
    keeps: &mut impl FnMut(&ChangedTable, Values<'_>) -> bool,
) {
    let table = row.table();
    let mut head = Head::new(&table.name, &table.key, table.columns);
    let rowid = row.rowid().map(|rowid| rowid.saturating_add(raise));
    let mut kept = |values: Option<_>| values.filter(|values| keeps(table, *values));
    match (kept(row.before()), kept(row.after())) {
        (None, None) => {}
        (None, Some(new)) => encoder.insert(&mut head, rowid, new),
        (Some(old), None) => encoder.delete(&mut head, rowid, old),
        (Some(old), Some(new)) => encoder.update(&mut head, rowid, old, new),
    }
}
