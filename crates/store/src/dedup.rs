//! Which requests of which clients were executed already, and with what outcome.
//!
//! The table `_dedup` has a row for each executed request within the window, keyed by client and
//! sequence. What left the window leaves a floor behind: the highest sequence of the client that was
//! forgotten, in a row with the sequence -1. When floors become too many, those of the clients that
//! were quiet the longest are forgotten too, and only the highest id of such a client is kept, in a row
//! with no client. A client id at or below it without rows of its own is taken for a forgotten one, so
//! ids should grow with the time they were made (as UUIDs of version 7 do): then only a client that
//! returns from long ago is told [`Seen::Expired`], and takes a new id.

use std::{collections::BTreeMap, ops::ControlFlow};

use crate::{
    Params, ReplicaError, Result, Row, ShardFile, ValueRef, connection::Connection,
    replica::in_range,
};

/// The outcome of a request, to be stored with the changes that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The client.
    pub client: [u8; 16],
    /// The number of its request; at most 2^63 - 1.
    pub sequence: u64,
    /// What it is to be told, also if it asks again.
    pub outcome: &'a [u8],
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was executed, with this outcome.
    Known(Vec<u8>),
    /// It was not executed.
    New,
    /// It is older than the window: it may have been executed, and must not be again.
    Expired,
}

/// How many outcomes are kept.
///
/// Part of the record that makes the copies forget, so that all forget the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Of each client, the newest by sequence.
    pub per_client: u64,
    /// Of all clients together, the newest by position.
    pub total: u64,
    /// The floors of clients that have no outcomes left, the newest by position.
    pub floors: u64,
}

impl Default for Window {
    /// 1,024 outcomes of a client, 65,536 of all, 65,536 floors.
    fn default() -> Self {
        Self {
            per_client: 1 << 10,
            total: 1 << 16,
            floors: 1 << 16,
        }
    }
}

/// The sequence of a row that holds a floor.
const FLOOR: i64 = -1;

/// The highest forgotten client's id is kept under this client.
const NOBODY: &[u8] = &[];

const FIND: &str = "SELECT outcome FROM main._dedup WHERE client = ?1 AND sequence = ?2";

impl ShardFile {
    /// Returns what is known of a request.
    ///
    /// # Errors
    ///
    /// As [`ShardFile::snapshot`], [`ReplicaError::NotReplicated`] and [`ReplicaError::OutOfRange`].
    pub fn find(&self, client: &[u8; 16], sequence: u64) -> Result<Seen> {
        find(self.snapshot()?.connection(), client, sequence)
    }
}

/// Looks a request up.
pub(crate) fn find(connection: &Connection, client: &[u8; 16], sequence: u64) -> Result<Seen> {
    let number = in_range("sequence", sequence)?;
    if let Some(outcome) = value(connection, client, number, |value| {
        value.as_bytes().unwrap_or_default().to_vec()
    })? {
        return Ok(Seen::Known(outcome));
    }
    let floor = value(connection, client, FLOOR, |value| value.as_i64())?.flatten();
    if floor.is_some_and(|floor| number <= floor) {
        return Ok(Seen::Expired);
    }
    let forgotten = value(connection, NOBODY, FLOOR, |highest| {
        highest
            .as_bytes()
            .is_some_and(|highest| client.as_slice() <= highest)
    })?;
    if forgotten != Some(true) || floor.is_some() {
        return Ok(Seen::New);
    }
    let known = connection.query_row(
        "SELECT 1 FROM main._dedup WHERE client = ?1 LIMIT 1",
        Params::from(&[ValueRef::Blob(client)]),
        |_| (),
    )?;
    Ok(match known {
        Some(()) => Seen::New,
        None => Seen::Expired,
    })
}

fn value<T>(
    connection: &Connection,
    client: &[u8],
    sequence: i64,
    map: impl Fn(ValueRef<'_>) -> T,
) -> Result<Option<T>> {
    connection.query_row(
        FIND,
        Params::from(&[ValueRef::Blob(client), ValueRef::Integer(sequence)]),
        |row| map(row.get(0)),
    )
}

/// Stores the outcomes of a batch.
pub(crate) fn store(connection: &Connection, lsn: u64, entries: &[Entry<'_>]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let lsn = in_range("lsn", lsn)?;
    let mut statement = connection.prepare(
        "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for entry in entries {
        let values = [
            ValueRef::Blob(&entry.client),
            ValueRef::Integer(in_range("sequence", entry.sequence)?),
            ValueRef::Integer(lsn),
            ValueRef::Blob(entry.outcome),
        ];
        Params::from(&values).bind(&mut statement)?;
        let stored = statement
            .raw_execute()
            .map_err(|error| connection.error(error))?;
        if stored == 0 {
            return Err(ReplicaError::DuplicateEntry {
                sequence: entry.sequence,
            }
            .into());
        }
    }
    Ok(())
}

/// Forgets what is outside the window, as a function of what the table holds.
pub(crate) fn expire(connection: &Connection, window: &Window) -> Result<()> {
    let mut floors = Floors::new();
    let limits = [(window.per_client, PER_CLIENT), (window.total, TOTAL)];
    for (limit, sql) in limits {
        let limit = [ValueRef::Integer(i64::try_from(limit).unwrap_or(i64::MAX))];
        let _all = connection.query(sql, Params::from(&limit), |row| {
            note_floor(&mut floors, row);
            ControlFlow::<()>::Continue(())
        })?;
    }
    for (client, (sequence, lsn)) in floors {
        connection.execute(
            "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
             VALUES (?1, -1, ?3, ?2) ON CONFLICT DO UPDATE
             SET lsn = max(lsn, excluded.lsn), outcome = max(outcome, excluded.outcome)",
            Params::from(&[
                ValueRef::Blob(&client),
                ValueRef::Integer(sequence),
                ValueRef::Integer(lsn),
            ]),
        )?;
    }
    forget_clients(connection, window.floors)
}

/// The floors that rise: of each client the highest forgotten sequence, and its newest position.
type Floors = BTreeMap<Vec<u8>, (i64, i64)>;

const PER_CLIENT: &str = "/* shardwright */ DELETE FROM main._dedup WHERE (client, sequence) IN (
     SELECT client, sequence FROM (
         SELECT client, sequence, row_number() OVER (PARTITION BY client ORDER BY sequence DESC) AS place
         FROM main._dedup WHERE sequence >= 0)
     WHERE place > ?1)
     RETURNING client, sequence, lsn";

const TOTAL: &str = "/* shardwright */ DELETE FROM main._dedup WHERE (client, sequence) IN (
     SELECT client, sequence FROM main._dedup WHERE sequence >= 0
     ORDER BY lsn DESC, client DESC, sequence DESC LIMIT -1 OFFSET ?1)
     RETURNING client, sequence, lsn";

const CLIENTS: &str =
    "/* shardwright */ DELETE FROM main._dedup WHERE sequence = -1 AND client IN (
     SELECT client FROM main._dedup AS floor WHERE sequence = -1 AND client <> x''
     AND NOT EXISTS (SELECT 1 FROM main._dedup WHERE client = floor.client AND sequence >= 0)
     ORDER BY lsn DESC, client DESC LIMIT -1 OFFSET ?1)
     RETURNING client";

fn note_floor(floors: &mut Floors, row: &Row<'_>) {
    let client = row.get(0).as_bytes().unwrap_or_default().to_vec();
    let sequence = row.get(1).as_i64().unwrap_or_default();
    let lsn = row.get(2).as_i64().unwrap_or_default();
    let floor = floors.entry(client).or_insert((sequence, lsn));
    *floor = (floor.0.max(sequence), floor.1.max(lsn));
}

/// Forgets clients of which only floors are left.
fn forget_clients(connection: &Connection, floors: u64) -> Result<()> {
    let limit = [ValueRef::Integer(i64::try_from(floors).unwrap_or(i64::MAX))];
    let mut highest: Option<Vec<u8>> = None;
    let _all = connection.query(CLIENTS, Params::from(&limit), |row| {
        let client = row.get(0).as_bytes().map(<[u8]>::to_vec);
        highest = highest.take().max(client);
        ControlFlow::<()>::Continue(())
    })?;
    if let Some(highest) = highest {
        connection.execute(
            "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
             VALUES (x'', -1, 0, ?1) ON CONFLICT DO UPDATE SET outcome = max(outcome, excluded.outcome)",
            Params::from(&[ValueRef::Blob(&highest)]),
        )?;
    }
    Ok(())
}
