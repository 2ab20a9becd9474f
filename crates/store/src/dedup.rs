//! Which requests of which clients were executed already, and with what outcome.
//!
//! The table `_dedup` has a row for each executed request within the window, keyed by client and
//! sequence. What left the window leaves a floor behind: the highest sequence of the client that was
//! forgotten, in a row with the sequence -1. A stream has one row, that of its last request, which is a
//! floor as well, with the sequence -2. When floors become too many, those of the clients that were quiet
//! the longest are forgotten too, and only the highest id of such a client is kept, in a row with no client; another
//! such row is for streams. A client id at or below it without rows of its own is taken for a forgotten
//! one, so ids should grow with the time they were made (as UUIDs of version 7 do): then only a client
//! that returns from long ago is told [`Seen::Expired`], and takes a new id.
//!
//! An id that is a [name](is_name) has no such order. Forgetting it says nothing about others: a name that
//! returns after it was forgotten is a new one.

use std::{cmp::Ordering, collections::BTreeMap, ops::ControlFlow};

use crate::{
    Both, Params, ReplicaError, Result, ShardFile, Snapshot, Value, ValueRef,
    connection::Connection, replica::in_range,
};

/// The outcome of a request, to be stored with the changes that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The client; [`is_stream`] says which ids are those of streams.
    pub client: [u8; 16],
    /// The number of its request; at most 2^63 - 1. In a stream, each is higher than those before.
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

/// The sequence of the row of a stream. Its outcome has the number of the last request in front, the highest byte first, so that the row
/// changes in its place.
const LAST: i64 = -2;

/// Splits what the row of a stream holds.
fn split_last(value: ValueRef<'_>) -> (Option<i64>, Option<&[u8]>) {
    let parts = value.as_bytes().and_then(<[u8]>::split_first_chunk);
    parts
        .map(|(sequence, outcome)| (i64::from_be_bytes(*sequence), outcome))
        .unzip()
}

/// What the id of a stream begins with.
const STREAM: u8 = 0xff;

/// The bit of an id that is a name.
const NAME: u8 = 0x80;

/// Returns whether the id is that of a *stream*: a client that has one request at a time, with growing numbers, so that only the last
/// outcome is ever asked for. Of a stream no other is kept, whatever the window; an earlier request is [`Seen::Expired`].
///
/// The ids of streams begin with the byte 255, those of other clients with any other.
#[must_use]
pub fn is_stream(client: &[u8]) -> bool {
    client.first() == Some(&STREAM)
}

/// Returns whether the id is a *name*: one that did not grow with the time it was made, as that of a hash.
///
/// Names have the first bit set, names of streams the one after [their first byte](is_stream).
#[must_use]
pub fn is_name(client: &[u8]) -> bool {
    let rest = client.strip_prefix(&[STREAM]).unwrap_or(client);
    rest.first().is_some_and(|first| first & NAME != 0)
}

/// Returns the client under which the highest id of a forgotten client is kept, or of a forgotten stream.
fn nobody(of_streams: bool) -> &'static [u8] {
    if of_streams { &[STREAM] } else { &[] }
}

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

impl Snapshot {
    /// Returns the number and the outcome of the last request of a [stream](is_stream); `None` if nothing is kept of it.
    ///
    /// # Errors
    ///
    /// What SQLite reports.
    pub fn last_of(&self, stream: &[u8; 16]) -> Result<Option<(u64, Vec<u8>)>> {
        let key = [ValueRef::Blob(stream), ValueRef::Integer(LAST)];
        let sql = "SELECT outcome FROM main._dedup WHERE client = ?1 AND sequence = ?2";
        let last = self.query_row(sql, &key, |row| {
            let (sequence, outcome) = split_last(row.get(0));
            Some((sequence?.cast_unsigned(), outcome?.to_vec()))
        })?;
        Ok(last.flatten())
    }
}

/// Looks a request up.
pub(crate) fn find(connection: &Connection, client: &[u8; 16], sequence: u64) -> Result<Seen> {
    let number = in_range("sequence", sequence)?;
    let near = near(connection, client, number)?;
    if let Some(outcome) = near.outcome {
        return Ok(Seen::Known(outcome));
    }
    if near.last.is_some_and(|last| number <= last) {
        return Ok(Seen::Expired);
    }
    if near.last.is_some() {
        return Ok(Seen::New);
    }
    let key = [
        ValueRef::Blob(nobody(is_stream(client))),
        ValueRef::Integer(FLOOR),
    ];
    let sql = "SELECT outcome FROM main._dedup WHERE client = ?1 AND sequence = ?2";
    let forgotten = connection.query_row(sql, Params::from(&key), |row| {
        let highest = row.get(0).as_bytes();
        highest.is_some_and(|highest| client.as_slice() <= highest)
    })?;
    if forgotten != Some(true) {
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

/// What is kept of a client that says something about one of its requests.
#[derive(Default)]
struct Near {
    /// The request's own outcome.
    outcome: Option<Vec<u8>>,
    /// The highest request that is known to be forgotten, or to be the last one of a stream.
    last: Option<i64>,
}

fn near(connection: &Connection, client: &[u8; 16], number: i64) -> Result<Near> {
    let mut near = Near::default();
    // A list of numbers would be made a table each time.
    let key = [ValueRef::Blob(client), ValueRef::Integer(number)];
    let (sql, key) = if is_stream(client) {
        (
            "SELECT sequence, outcome FROM main._dedup WHERE client = ?1 AND sequence < 0",
            &key[..1],
        )
    } else {
        (
            "SELECT sequence, outcome FROM main._dedup WHERE client = ?1 AND sequence = ?2
             UNION ALL SELECT sequence, outcome FROM main._dedup WHERE client = ?1 AND sequence = -1",
            &key[..],
        )
    };
    let _all = connection.query(sql, Params::from(key), |row| {
        let (sequence, value) = (row.get(0).as_i64(), row.get(1));
        let (sequence, outcome) = match sequence {
            Some(FLOOR) => (value.as_i64(), None),
            Some(LAST) => split_last(value),
            other => (other, value.as_bytes()),
        };
        match outcome {
            Some(outcome) if sequence == Some(number) => near.outcome = Some(outcome.to_vec()),
            _ => near.last = near.last.max(sequence),
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(near)
}

/// Stores the outcomes of a batch.
pub(crate) fn store(connection: &Connection, lsn: u64, entries: &[Entry<'_>]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let lsn = in_range("lsn", lsn)?;
    let mut insert = connection.prepare(
        "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut replace = connection.prepare(
        "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET lsn = excluded.lsn, outcome = excluded.outcome
         WHERE substr(outcome, 1, 8) < substr(excluded.outcome, 1, 8)",
    )?;
    let mut last = Vec::new();
    for entry in entries {
        let sequence = in_range("sequence", entry.sequence)?;
        let (statement, place, outcome) = if is_stream(&entry.client) {
            last.clear();
            last.extend_from_slice(&sequence.to_be_bytes());
            last.extend_from_slice(entry.outcome);
            (&mut replace, LAST, last.as_slice())
        } else {
            (&mut insert, sequence, entry.outcome)
        };
        let values = [
            ValueRef::Blob(&entry.client),
            ValueRef::Integer(place),
            ValueRef::Integer(lsn),
            ValueRef::Blob(outcome),
        ];
        Params::from(&values).bind(statement)?;
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

/// Takes in what another file remembers, which is attached as `other`. Its records are those of another log.
pub(crate) fn join(connection: &Connection, both: &Both) -> Result<()> {
    let mut twice = Vec::new();
    let sql = "SELECT here.client, here.sequence, here.outcome, other.outcome
         FROM other._dedup AS other JOIN main._dedup AS here USING (client, sequence)";
    let _all = connection.query(sql, Params::NONE, |row| {
        let (here, other) = (row.get(2), row.get(3));
        let bytes = |value: ValueRef<'_>| value.as_bytes().unwrap_or_default().to_vec();
        let outcome = match row.get(1).as_i64() {
            // Floors: numbers, or the ids of clients.
            Some(FLOOR) => match (here.as_i64(), other.as_i64()) {
                (Some(here), Some(other)) => Value::Integer(here.max(other)),
                _ => Value::from(bytes(here).max(bytes(other))),
            },
            Some(LAST) => {
                let ((last, outcome), (other_last, other_outcome)) =
                    (split_last(here), split_last(other));
                Value::from(match last.cmp(&other_last) {
                    Ordering::Less => bytes(other),
                    Ordering::Greater => bytes(here),
                    Ordering::Equal => {
                        let number = last.unwrap_or_default().to_be_bytes();
                        let outcomes = [outcome, other_outcome].map(Option::unwrap_or_default);
                        [&number[..], &both(outcomes[0], outcomes[1])].concat()
                    }
                })
            }
            _ => Value::from(both(&bytes(here), &bytes(other))),
        };
        twice.push([row.get(0).to_value(), row.get(1).to_value(), outcome]);
        ControlFlow::<()>::Continue(())
    })?;
    for values in twice {
        let sql = "UPDATE main._dedup SET outcome = ?3 WHERE client = ?1 AND sequence = ?2";
        connection.execute(sql, Params::from(&values))?;
    }
    let sql = "INSERT INTO main._dedup (client, sequence, lsn, outcome)
         SELECT client, sequence, 0, outcome FROM other._dedup WHERE 1 ON CONFLICT DO NOTHING";
    connection.execute(sql, Params::NONE).map(drop)
}

/// Lets a part of a file remember of each outcome what it is told to. The records that they came with are those of another log.
pub(crate) fn share(
    connection: &Connection,
    remembers: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<()> {
    connection.run_script("UPDATE main._dedup SET lsn = 0")?;
    let mut changed = Vec::new();
    let sql = "SELECT client, sequence, outcome FROM main._dedup WHERE sequence <> -1";
    let _all = connection.query(sql, Params::NONE, |row| {
        let key = [row.get(0).to_value(), row.get(1).to_value()];
        let is_last = row.get(1).as_i64() == Some(LAST);
        let (number, outcome) = match row.get(2).as_bytes().unwrap_or_default() {
            last if is_last => last.split_at(last.len().min(8)),
            outcome => (&[][..], outcome),
        };
        let shared = remembers(outcome);
        if shared.as_deref() != Some(outcome) {
            let shared = shared.map(|shared| [number, &shared].concat());
            changed.push((key, shared));
        }
        ControlFlow::<()>::Continue(())
    })?;
    for ([client, sequence], shared) in changed {
        let values = [client, sequence, shared.map_or(Value::Null, Value::from)];
        let sql = match values[2] {
            Value::Null => {
                "DELETE FROM main._dedup WHERE client = ?1 AND sequence = ?2 AND ?3 IS NULL"
            }
            _ => "UPDATE main._dedup SET outcome = ?3 WHERE client = ?1 AND sequence = ?2",
        };
        connection.execute(sql, Params::from(&values))?;
    }
    Ok(())
}

/// Forgets what is outside the window, as a function of what the table holds.
pub(crate) fn expire(connection: &Connection, window: &Window) -> Result<()> {
    let mut delete = connection
        .prepare("/* shardwright */ DELETE FROM main._dedup WHERE client = ?1 AND sequence = ?2")?;
    let mut floors = Floors::new();
    for (lsn, client, sequence) in outside(connection, window)? {
        let place = if is_stream(&client) { LAST } else { sequence };
        let key = [ValueRef::Blob(&client), ValueRef::Integer(place)];
        Params::from(&key).bind(&mut delete)?;
        delete
            .raw_execute()
            .map_err(|error| connection.error(error))?;
        let floor = floors.entry(client).or_insert((sequence, lsn));
        *floor = (floor.0.max(sequence), floor.1.max(lsn));
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

/// An outcome: its position, its client, and its sequence.
type Kept = (i64, Vec<u8>, i64);

/// Returns the outcomes outside the window.
///
/// Read in the order of their keys and sorted here, which takes a fraction of what the same takes in SQL.
fn outside(connection: &Connection, window: &Window) -> Result<Vec<Kept>> {
    let limit = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut kept, mut outside) = (Vec::<Kept>::new(), Vec::new());
    // How many of the last ones are those of one client.
    let mut of_client = 0;
    let _all = connection.query(
        "SELECT lsn, client, sequence, CASE sequence WHEN -2 THEN outcome END FROM main._dedup
         WHERE sequence <> -1 ORDER BY client, sequence",
        Params::NONE,
        |row| {
            let client = row.get(1).as_bytes().unwrap_or_default();
            if kept.last().is_none_or(|last| last.1 != client) {
                let surplus = of_client - limit(window.per_client).min(of_client);
                let first = kept.len() - of_client;
                outside.extend(kept.drain(first..first + surplus));
                of_client = 0;
            }
            let number = |column| row.get(column).as_i64().unwrap_or_default();
            let sequence = split_last(row.get(3)).0.unwrap_or(number(2));
            kept.push((number(0), client.to_vec(), sequence));
            of_client += 1;
            ControlFlow::<()>::Continue(())
        },
    )?;
    let surplus = of_client - limit(window.per_client).min(of_client);
    let first = kept.len() - of_client;
    outside.extend(kept.drain(first..first + surplus));
    let surplus = kept.len() - limit(window.total).min(kept.len());
    if surplus > 0 {
        kept.select_nth_unstable(surplus - 1);
        outside.extend(kept.drain(..surplus));
    }
    outside.sort_unstable_by(|left, right| (&left.1, left.2).cmp(&(&right.1, right.2)));
    Ok(outside)
}

/// The floors that rise: of each client the highest forgotten sequence, and its newest position.
type Floors = BTreeMap<Vec<u8>, (i64, i64)>;

const CLIENTS: &str =
    "/* shardwright */ DELETE FROM main._dedup WHERE sequence = -1 AND client IN (
     SELECT client FROM main._dedup AS floor WHERE sequence = -1 AND length(client) > 1
     AND NOT EXISTS (SELECT 1 FROM main._dedup WHERE client = floor.client AND sequence <> -1)
     ORDER BY lsn DESC, client DESC LIMIT -1 OFFSET ?1)
     RETURNING client";

/// Forgets clients of which only floors are left.
fn forget_clients(connection: &Connection, floors: u64) -> Result<()> {
    let limit = [ValueRef::Integer(i64::try_from(floors).unwrap_or(i64::MAX))];
    let mut highest: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
    let _all = connection.query(CLIENTS, Params::from(&limit), |row| {
        let client = row.get(0).as_bytes().unwrap_or_default();
        if is_name(client) {
            return ControlFlow::Continue(());
        }
        let highest = highest.entry(is_stream(client)).or_default();
        if client > highest.as_slice() {
            *highest = client.to_vec();
        }
        ControlFlow::<()>::Continue(())
    })?;
    for (of_streams, highest) in highest {
        connection.execute(
            "/* shardwright */ INSERT INTO main._dedup (client, sequence, lsn, outcome)
             VALUES (?1, -1, 0, ?2) ON CONFLICT DO UPDATE SET outcome = max(outcome, excluded.outcome)",
            Params::from(&[
                ValueRef::Blob(nobody(of_streams)),
                ValueRef::Blob(&highest),
            ]),
        )?;
    }
    Ok(())
}
