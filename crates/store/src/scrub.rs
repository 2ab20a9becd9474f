//! A digest of all that copies of a shard have in common, made a slice at a time: of one moment, or each slice of its own moment.

use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use crate::{
    Applied, Digest, Error, META_TABLE, Params, ReplicaError, Result, RowDigest, Snapshot, Table,
    Value, ValueRef, changes::Wire, identity, table::row_sql,
};

/// A digest of a file that is being made.
///
/// It covers the schema, the rows of all tables with their rowids, `sqlite_sequence`, `user_version` and
/// `application_id`, the notes in [`META_TABLE`], and the outcomes of requests; not the id of the copy, the
/// other rows of `_meta` and SQLite's statistics. It holds its snapshot until it is dropped, so the write-ahead log cannot be reset meanwhile.
#[derive(Debug)]
pub struct Scrub {
    snapshot: Snapshot,
    applied: Applied,
    /// The tables that are left, the next one last.
    left: Vec<Table>,
    /// The last key that was read of the next table.
    after: Option<Vec<Value>>,
    rows: RowDigest,
    rows_total: u64,
    hasher: Sha256,
}

/// What a file holds at a position. Copies at the same position have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// The position.
    pub applied: Applied,
    /// The digest of the contents.
    pub digest: Digest,
    /// The number of rows in it.
    pub rows: u64,
}

/// Where a slice begins that is not the first one: behind a row of a table, or in front of the first.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrubPlace {
    table: String,
    after: Option<Vec<Value>>,
}

/// What one slice of a file holds at a position. Copies at the same position have the same, if they begin at the same place.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrubSlice {
    /// The position.
    pub applied: Applied,
    /// The digest of the schema, and of the rows of the slice.
    pub digest: Digest,
    /// The number of rows in it.
    pub rows: u64,
    /// Where the next slice begins; `None` after the last one.
    pub next: Option<ScrubPlace>,
}

/// How many bytes of keys, texts and blobs a slice reads before it takes no further row. Copies that are compared slice by slice agree on
/// it.
const SLICE_BYTES: usize = 1 << 20;

impl Scrub {
    /// Begins a digest of what the snapshot shows.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::NotReplicated`], and what SQLite reports.
    pub fn new(snapshot: Snapshot) -> Result<Self> {
        let replica = snapshot.replica()?.ok_or(ReplicaError::NotReplicated)?;
        let mut hasher = Sha256::new();
        hasher.update(crate::capture::schema_digest(snapshot.connection())?.as_bytes());
        for pragma in ["PRAGMA main.user_version", "PRAGMA main.application_id"] {
            let setting = snapshot.query_row(pragma, (), |row| row.get(0).as_i64())?;
            hasher.update(setting.flatten().unwrap_or(0).to_be_bytes());
        }
        let mut left = Vec::new();
        for name in snapshot.table_names()? {
            match snapshot.table(&name) {
                Ok(_) if name.starts_with("sqlite_stat") => {}
                Ok(table) => left.push(table),
                // No change of its rows can be captured, so there is none.
                Err(Error::NoRowKey { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        left.push(snapshot.table("_dedup")?);
        left.extend(snapshot.notes()?);
        left.reverse();
        Ok(Self {
            snapshot,
            applied: replica.applied,
            left,
            after: None,
            rows: RowDigest::new(),
            rows_total: 0,
            hasher,
        })
    }

    /// Reads at most so many rows, and no more after the first megabyte. Returns the digest once all
    /// rows are read.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn slice(&mut self, rows_max: u64) -> Result<Option<Scrubbed>> {
        let mut budget = rows_max.clamp(1, 1 << 32);
        while budget > 0
            && let Some(table) = self.left.last()
        {
            let (name, keys) = (table.name.clone(), table.key.len());
            let before = self.rows.rows();
            let all = self.read_rows(budget, keys)?;
            budget = budget.saturating_sub(self.rows.rows() - before);
            if !all {
                return Ok(None);
            }
            let rows = std::mem::take(&mut self.rows);
            self.rows_total += rows.rows();
            self.hasher.update((name.len() as u64).to_be_bytes());
            self.hasher.update(name);
            self.hasher.update(rows.finish().as_bytes());
            self.left.pop();
            self.after = None;
        }
        Ok(self.left.is_empty().then(|| Scrubbed {
            applied: self.applied,
            digest: Digest(self.hasher.clone().finalize().into()),
            rows: self.rows_total,
        }))
    }

    /// Reads one slice of what the snapshot shows, of at most so many rows, and returns what it holds. So a large file is read without
    /// holding a snapshot for long: the next slice may be of a later moment.
    ///
    /// A place in a table that is not there any more is behind all rows.
    ///
    /// # Errors
    ///
    /// As [`Scrub::new`].
    pub fn one_slice(
        snapshot: Snapshot,
        from: Option<&ScrubPlace>,
        rows_max: u64,
    ) -> Result<ScrubSlice> {
        let mut scrub = Self::new(snapshot)?;
        if let Some(ScrubPlace { table, after }) = from {
            while scrub.left.last().is_some_and(|next| next.name != *table) {
                scrub.left.pop();
            }
            let keys = scrub.left.last().map(|table| table.key.len());
            let fits = |after: &Vec<Value>| keys.is_none_or(|keys| keys == after.len());
            if after.as_ref().is_none_or(fits) {
                scrub.after.clone_from(after);
            } else {
                // It is another table by that name.
                scrub.left.clear();
            }
        }
        scrub.slice(rows_max)?;
        Ok(scrub.so_far())
    }

    /// Returns what was read.
    fn so_far(&self) -> ScrubSlice {
        let mut hasher = self.hasher.clone();
        let next = self.left.last().map(|table| {
            hasher.update((table.name.len() as u64).to_be_bytes());
            hasher.update(&table.name);
            hasher.update(self.rows.finish().as_bytes());
            ScrubPlace {
                table: table.name.clone(),
                after: self.after.clone(),
            }
        });
        ScrubSlice {
            applied: self.applied,
            digest: Digest(hasher.finalize().into()),
            rows: self.rows_total + self.rows.rows(),
            next,
        }
    }

    /// Reads rows of the next table, and returns whether those were all.
    fn read_rows(&mut self, rows_max: u64, keys: usize) -> Result<bool> {
        let Some(table) = self.left.last() else {
            return Ok(true);
        };
        let terms = table.key.terms();
        let mut sql = format!("SELECT {}", row_sql(table, &terms));
        let mut conditions = Vec::new();
        if self.after.is_some() {
            let values = vec!["?"; keys].join(", ");
            conditions.push(format!("({}) > ({values})", terms.join(", ")));
        }
        if table.name == META_TABLE {
            conditions.push(identity::IS_NOTE.to_owned());
        }
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        sql.push_str(&format!(" ORDER BY {} LIMIT {rows_max}", terms.join(", ")));
        let (mut count, mut bytes, mut last) = (0, 0, None);
        let (rows, after) = (&mut self.rows, self.after.take().unwrap_or_default());
        let flow = self.snapshot.query(&sql, Params::from(&after), |row| {
            rows.add(row);
            count += 1;
            bytes += row
                .iter()
                .map(|value| value.as_bytes().map_or(8, <[u8]>::len))
                .sum::<usize>();
            if count == rows_max || bytes >= SLICE_BYTES {
                last = Some(row.iter().take(keys).map(Value::from).collect());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        self.after = last;
        Ok(flow.is_continue())
    }
}

impl ScrubPlace {
    /// Returns the place as bytes, for whoever compares copies elsewhere.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let after = self.after.as_ref().map(|values| {
            let values = values.iter().map(|value| Wire::from(ValueRef::from(value)));
            values.collect::<Vec<_>>()
        });
        postcard::to_stdvec(&(&self.table, after)).expect("a vector takes everything")
    }

    /// Reads what [`ScrubPlace::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        type Read<'a> = (String, Option<Vec<Wire<'a>>>);
        let read: std::result::Result<Read<'_>, _> = postcard::from_bytes(bytes);
        let (table, after) = read.map_err(|_| ReplicaError::Damaged {
            reason: "it is no place in a file",
        })?;
        let values = |values: Vec<Wire<'_>>| {
            let values = values.into_iter();
            values
                .map(|value| Value::from(ValueRef::from(value)))
                .collect()
        };
        Ok(Self {
            table,
            after: after.map(values),
        })
    }
}
