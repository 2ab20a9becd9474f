//! Digests that tell whether two copies hold the same rows.

use std::{fmt, ops::ControlFlow};

use sha2::{Digest as _, Sha256};

use crate::{META_TABLE, Result, Row, Snapshot, ValueRef, identity, writer::quote};

/// A digest of rows.
///
/// Equal digests mean equal rows, whatever order they are stored in. It tells copies that went apart
/// by accident; it does not withstand somebody who makes rows up to that end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Adds rows up to a [`Digest`], in any order.
///
/// ```
/// use shardwright_store::{RowDigest, Row, Value};
///
/// let (one, two) = ([Value::from(1)], [Value::from("two")]);
/// let mut forth = RowDigest::new();
/// forth.add(&Row::of_values(&one));
/// forth.add(&Row::of_values(&two));
/// let mut back = RowDigest::new();
/// back.add(&Row::of_values(&two));
/// back.add(&Row::of_values(&one));
/// assert_eq!(forth.finish(), back.finish());
/// ```
#[derive(Clone, Debug, Default)]
pub struct RowDigest {
    /// The sum of the rows' digests, least significant limb first.
    sum: [u64; 4],
    rows: u64,
    encoded: Vec<u8>,
}

impl RowDigest {
    /// The digest of no rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row. Values count with their kind and their bits.
    pub fn add(&mut self, row: &Row<'_>) {
        self.encoded.clear();
        for value in row.iter() {
            encode(value, &mut self.encoded);
        }
        let digest = Sha256::digest(&self.encoded);
        let mut carry = false;
        for (limb, bytes) in self.sum.iter_mut().zip(digest.chunks_exact(8)) {
            let addend = bytes
                .iter()
                .fold(0, |limb, byte| limb << 8 | u64::from(*byte));
            let (sum, first) = limb.overflowing_add(addend);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = first || second;
        }
        self.rows += 1;
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the digest of the rows so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        let mut hasher = Sha256::new();
        for limb in self.sum {
            hasher.update(limb.to_be_bytes());
        }
        hasher.update(self.rows.to_be_bytes());
        Digest(hasher.finalize().into())
    }
}

/// Appends a value so that no two lists of values read the same.
pub(crate) fn encode(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Null => out.push(0),
        ValueRef::Integer(integer) => {
            out.push(1);
            out.extend_from_slice(&integer.to_be_bytes());
        }
        ValueRef::Real(real) => {
            out.push(2);
            out.extend_from_slice(&real.to_bits().to_be_bytes());
        }
        ValueRef::Text(bytes) => encode_bytes(3, bytes, out),
        ValueRef::Blob(bytes) => encode_bytes(4, bytes, out),
    }
}

fn encode_bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

impl Snapshot {
    /// Digests the stored columns of a table's rows; rowids do not count unless a column shows them.
    /// Reads the whole table.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::table`], and what SQLite reports.
    pub fn table_digest(&self, table: &str) -> Result<Digest> {
        let table = self.table(table)?;
        let columns: Vec<_> = table.columns.iter().map(|column| quote(column)).collect();
        let sql = format!(
            "SELECT {} FROM main.{}",
            columns.join(", "),
            quote(&table.name)
        );
        self.digest_of(&sql)
    }

    /// Digests the schema, the rows of all tables but the file's own and SQLite's statistics, and the notes in
    /// [`META_TABLE`](crate::META_TABLE). Two copies of a shard that went through the same writes have the same.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn content_digest(&self) -> Result<Digest> {
        let mut hasher = Sha256::new();
        let schema = self.digest_of(
            "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
             WHERE tbl_name NOT LIKE 'sqlite^_stat%' ESCAPE '^'
             AND tbl_name NOT IN ('_repl', '_dedup')",
        )?;
        hasher.update(schema.0);
        for table in self.tables()? {
            if !table.name.starts_with("sqlite_stat") {
                hasher.update((table.name.len() as u64).to_be_bytes());
                hasher.update(&table.name);
                hasher.update(self.table_digest(&table.name)?.0);
            }
        }
        if self.notes()?.is_some() {
            let sql = format!(
                "SELECT key, value FROM main.{META_TABLE} WHERE {}",
                identity::IS_NOTE
            );
            hasher.update(self.digest_of(&sql)?.0);
        }
        Ok(Digest(hasher.finalize().into()))
    }

    fn digest_of(&self, sql: &str) -> Result<Digest> {
        let mut digest = RowDigest::new();
        let _all = self.query(sql, (), |row| {
            digest.add(row);
            ControlFlow::<()>::Continue(())
        })?;
        Ok(digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn digest(rows: &[&[Value]]) -> String {
        let mut digest = RowDigest::new();
        for row in rows {
            digest.add(&Row::of_values(row));
        }
        digest.finish().to_string()
    }

    #[test]
    fn the_digest_is_a_pinned_format() {
        let row = [
            Value::Null,
            Value::from(-1),
            Value::from(0.5),
            Value::from("a"),
            Value::from(vec![0]),
        ];
        expected(
            "2c34ce1df23b838c5abf2a7f6437cca3d3067ed509ff25f11df6b11b582b51eb",
            &digest(&[]),
        );
        expected(
            "4b71d080716ae941659be850ea8668335652c2dea0ee3dfa265836958b5a3c57",
            &digest(&[&row]),
        );
        expected(
            "796cc5e423e6f65f7cacd2f482c879def7e794ec829b61fb1e042d849cb2992b",
            &digest(&[&row, &row]),
        );
    }

    #[track_caller]
    fn expected(expected: &str, found: &str) {
        assert_eq!(
            expected, found,
            "copies digested by different releases must agree"
        );
    }

    #[test]
    fn rows_differ_by_kind_by_border_and_by_number() {
        let digests = [
            digest(&[]),
            digest(&[&[]]),
            digest(&[&[Value::Null]]),
            digest(&[&[Value::from(1)]]),
            digest(&[&[Value::from(1.0)]]),
            digest(&[&[Value::from("1")]]),
            digest(&[&[Value::from(b"1".as_slice())]]),
            digest(&[&[Value::from("ab"), Value::from("c")]]),
            digest(&[&[Value::from("a"), Value::from("bc")]]),
            digest(&[&[Value::from(1)], &[Value::from(1)]]),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
