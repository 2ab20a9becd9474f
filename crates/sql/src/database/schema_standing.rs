//! What each place has of the schema, as it says itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use serde::{Deserialize, Serialize};
use shardwright_store::Value;

use super::ShardedDatabase;
use crate::{
    error::Error,
    schema::{Schema, TableKind, fold},
    shards::{ANNOUNCED_KEY, BROADCAST_KEY, Call, Place, Places, is_announced},
};

/// Which changes the places have, and what differs between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaStanding {
    /// The number of the last change that every place has to have, of the schema or of a reference table.
    pub number: u64,
    /// The shards in the order of their ranges, and the catalog last.
    pub places: Vec<PlaceStanding>,
    /// What a place has otherwise than the schema says, or than the other places. A change that is under way shows here, too.
    pub drift: Vec<Drift>,
}

/// What a place says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceStanding {
    /// Its name.
    pub name: String,
    /// The number of the last change that it has; `None` if it did not answer.
    pub number: Option<u64>,
    /// Whether a change is announced to it.
    pub is_announced: bool,
}

/// Something that a place has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// The place.
    pub place: String,
    /// The name of the table, index, view or trigger.
    pub object: String,
    /// In what it differs.
    pub kind: DriftKind,
}

/// In what an object of a place differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The schema has it, or the other shards, and the place does not.
    Missing,
    /// The schema does not have it.
    Unknown,
    /// It was made by another statement than on the first shard.
    Different,
}

/// The statements that made what a place has, by folded name.
type Objects = BTreeMap<String, String>;

/// What is read of a place.
#[derive(Debug, Default)]
struct Found {
    number: u64,
    announced: u64,
    objects: Objects,
}

const NOTES: &str = "SELECT key, value FROM main._meta WHERE key IN (?1, ?2)";

const OBJECTS: &str = "SELECT name, sql FROM main.sqlite_schema
    WHERE sql IS NOT NULL AND name NOT GLOB '[_]*' AND tbl_name NOT GLOB '[_]*'
      AND name NOT GLOB 'sqlite[_]*'";

impl ShardedDatabase {
    /// Asks every place which changes it has, and compares what it has of the schema. A place that does not answer has no number, and no
    /// drift.
    #[must_use]
    pub fn schema_standing(&self) -> SchemaStanding {
        let state = self.inner.state.load_full();
        let places = &self.inner.places;
        let (mut standings, mut found) = (Vec::new(), Vec::new());
        let shards = (0..places.count()).map(Place::Shard);
        for place in shards.chain([Place::Catalog]) {
            let name = places.name(place).to_owned();
            let read = read(&**places, place).ok();
            standings.push(PlaceStanding {
                name: name.clone(),
                number: read.as_ref().map(|found| found.number),
                is_announced: read
                    .as_ref()
                    .is_some_and(|found| is_announced(found.announced)),
            });
            found.extend(read.map(|found| (place, name, found.objects)));
        }
        SchemaStanding {
            number: state.number(),
            places: standings,
            drift: drift(&state.schema, &found),
        }
    }
}

fn read(places: &dyn Places, place: Place) -> Result<Found, Error> {
    let mut found = Found::default();
    let keys = [Value::from(BROADCAST_KEY), Value::from(ANNOUNCED_KEY)];
    places.read(place, Call::new(NOTES, &keys), &mut |row| {
        let number = row.get(1).as_i64().map_or(0, i64::unsigned_abs);
        match row.get(0).as_str() {
            Some(BROADCAST_KEY) => found.number = number,
            _ => found.announced = number,
        }
        ControlFlow::Continue(())
    })?;
    places.read(place, Call::new(OBJECTS, ()), &mut |row| {
        let text = |column| row.get(column).as_str().unwrap_or_default().to_owned();
        found.objects.insert(fold(&text(0)), text(1));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What places have otherwise than the schema says, or than the first shard.
fn drift(schema: &Schema, places: &[(Place, String, Objects)]) -> Vec<Drift> {
    let objects = schema.stored().objects.iter();
    let known: BTreeSet<String> = objects.map(|object| fold(&object.name)).collect();
    let first = places.iter().find(|(place, ..)| *place != Place::Catalog);
    let mut drift = Vec::new();
    for (place, name, found) in places {
        let mut add = |object: &str, kind| {
            drift.push(Drift {
                place: name.clone(),
                object: object.to_owned(),
                kind,
            });
        };
        let is_catalog = *place == Place::Catalog;
        let tables = schema.tables().filter(|table| match &table.kind {
            TableKind::Sharded(_) => !is_catalog,
            TableKind::Reference => true,
            TableKind::Global => is_catalog,
        });
        for table in tables.filter(|table| table.module.is_none()) {
            if !found.contains_key(&fold(&table.name)) {
                add(&table.name, DriftKind::Missing);
            }
        }
        for object in found.keys().filter(|object| !known.contains(*object)) {
            add(object, DriftKind::Unknown);
        }
        let others = first.filter(|(other, ..)| !is_catalog && other != place);
        for (object, sql) in others.into_iter().flat_map(|(_, _, objects)| objects) {
            match found.get(object) {
                Some(found) if found == sql => {}
                Some(_) => add(object, DriftKind::Different),
                None if schema.table(object).is_none() => add(object, DriftKind::Missing),
                None => {}
            }
        }
        let more = found.keys().filter(|object| {
            let is_first = others.is_none_or(|(_, _, objects)| objects.contains_key(*object));
            !is_first && known.contains(*object)
        });
        for object in more {
            add(object, DriftKind::Different);
        }
    }
    drift.sort();
    drift.dedup();
    drift
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{CreateOptions, Layout, Options};

    #[test]
    fn what_a_file_has_otherwise_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop");
        let create = CreateOptions {
            shards: 3,
            ..CreateOptions::default()
        };
        let database = ShardedDatabase::create(&path, &create).unwrap();
        for sql in [
            "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE codes(code TEXT PRIMARY KEY) /* shardwright: reference */",
            "CREATE TABLE settings(name TEXT PRIMARY KEY) /* shardwright: global */",
            "CREATE INDEX by_name ON users(name)",
            "ALTER TABLE users ADD COLUMN age INTEGER",
            "CREATE VIEW names AS SELECT name FROM users",
            "CREATE TRIGGER lower AFTER INSERT ON users BEGIN UPDATE users SET name = lower(name) WHERE id = new.id; END",
        ] {
            database.execute(sql, ()).unwrap();
        }
        let standing = database.schema_standing();
        assert_eq!(standing.drift, []);
        assert_eq!(standing.places.len(), 4);
        let number = Some(standing.number);
        assert!(standing.places.iter().all(|place| place.number == number));
        database.close().unwrap();

        let layout = Layout::of(&path);
        let change = |place: &str, sql: &str| {
            let connection = Connection::open(layout.shard(place)).unwrap();
            connection.execute_batch(sql).unwrap();
        };
        change("shard-1", "DROP INDEX by_name; CREATE TABLE stray(x)");
        change(
            "shard-2",
            "ALTER TABLE users ADD COLUMN more; DROP TABLE codes",
        );
        change("catalog", "DROP TABLE settings");
        let database = ShardedDatabase::open(&path, &Options::default()).unwrap();
        let drift = database.schema_standing().drift;
        let told = |place: &str, object: &str, kind| Drift {
            place: place.to_owned(),
            object: object.to_owned(),
            kind,
        };
        assert_eq!(
            drift,
            [
                told("catalog", "settings", DriftKind::Missing),
                told("shard-1", "by_name", DriftKind::Missing),
                told("shard-1", "stray", DriftKind::Unknown),
                told("shard-2", "codes", DriftKind::Missing),
                told("shard-2", "users", DriftKind::Different),
            ]
        );
    }
}
