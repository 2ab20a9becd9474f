//! Rowids that tell the rows of all places apart.
//!
//! SQLite keeps track of rows by their rowid when it evaluates OR by several indexes, and RIGHT and FULL JOIN. Each file
//! counts for itself, so two rows of one table may have the same rowid.

use crate::{
    error::Error,
    schema::{Table, TableKind},
    shards::Place,
};

/// Whether the rowid of a row depends on the place that answers. A column of the table does not.
pub(super) fn differs_by_place(table: &Table) -> bool {
    table.rowid_alias.is_none() && table.rowid_name().is_some()
}

/// The rowid under which a gathering statement knows the row with the rowid `own` at `place`, among `shards`.
pub(super) fn over_places(
    table: &Table,
    place: Place,
    shards: usize,
    own: i64,
) -> Result<i64, Error> {
    let Place::Shard(index) = place else {
        return Ok(own);
    };
    if !differs_by_place(table) || matches!(table.kind, TableKind::Reference) {
        return Ok(own);
    }
    let spread = |own: i64| {
        let (index, shards) = (i64::try_from(index).ok()?, i64::try_from(shards).ok()?);
        own.checked_mul(shards)?.checked_add(index)
    };
    spread(own).ok_or_else(|| Error::Unsupported {
        what: format!(
            "rowid {own} of table {}, which is out of the ordinary,",
            table.name
        ),
        hint: "give the table an INTEGER PRIMARY KEY, or let SQLite choose its rowids",
    })
}
