//! Splits and merges made by hand, step by step: what their parts say and do to one another is all that a gateway sees of one.

use std::ops::ControlFlow;

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_hashing::{Position, TypedKey};
use shardwright_quorum::log::ClientId;
use shardwright_server::shard::{Identity, ReadLevel, Transaction, Write};
use shardwright_sql::shards::Ran;
use shardwright_store::{Error as StoreError, Member, Params, Snapshot, Value};
use shardwright_topology::{
    KeyRange, KeyspaceName, Operation, OperationId, OperationKind, Phase, ShardId, ShardRecord,
};

use crate::cluster::{Cluster, PATIENCE, wait};

/// The note of a sealed shard.
const SEALED: &str = "elastic.sealed";

/// The version in front of what a shard remembers of a statement.
const VERSION: u16 = 1;

/// An operation on the shards of a cluster.
pub(crate) struct ByHand {
    cluster: Cluster,
    operation: Operation,
    targets: Vec<(ShardId, KeyRange)>,
}

/// What a shard has, and what is made of it elsewhere.
#[derive(Default)]
struct Contents {
    schema: Vec<String>,
    rows: Vec<(String, Vec<Value>)>,
    notes: Vec<(String, Value)>,
    memory: Vec<(Identity, Vec<u8>)>,
}

impl ByHand {
    /// Begins to split a shard in two halves.
    pub(crate) async fn split(cluster: &Cluster, number: u32, source: &str) -> Self {
        let source = ShardId::new(source).expect("a name");
        let range = range_of(cluster, &source).await;
        let (lower, upper) = range.halve().expect("more than one position");
        Self::begin(
            cluster,
            number,
            OperationKind::Split,
            vec![source],
            &[lower, upper],
        )
        .await
    }

    /// Begins to merge two neighbours.
    pub(crate) async fn merge(cluster: &Cluster, number: u32, sources: [&ShardId; 2]) -> Self {
        let lower = range_of(cluster, sources[0]).await;
        let upper = range_of(cluster, sources[1]).await;
        let range = lower.join(&upper).expect("neighbours");
        let sources = sources.map(Clone::clone).to_vec();
        Self::begin(cluster, number, OperationKind::Merge, sources, &[range]).await
    }

    async fn begin(
        cluster: &Cluster,
        number: u32,
        kind: OperationKind,
        sources: Vec<ShardId>,
        ranges: &[KeyRange],
    ) -> Self {
        let id = OperationId::new(format!("op-{number}")).expect("a name");
        let name = |index| ShardId::new(format!("part-{number}-{index}")).expect("a name");
        let targets = ranges.iter().enumerate();
        let targets: Vec<_> = targets
            .map(|(index, range)| (name(index), *range))
            .collect();
        let operation = Operation {
            id: id.clone(),
            keyspace: KeyspaceName::main(),
            kind,
            sources,
            targets: targets.iter().map(|(target, _)| target.clone()).collect(),
            phase: Phase::Created,
            paused: false,
            members: None,
            error: None,
        };
        let registry = cluster.registry();
        let created = registry.operations().create(&id, operation.clone()).await;
        created.expect("it is new");
        for source in &operation.sources {
            let hold = |record: &ShardRecord| Ok(record.hold_by(&id).expect("it is free"));
            let held = registry.shards().update(source, hold).await;
            held.expect("the store answers");
        }
        for (target, range) in &targets {
            let keyspace = KeyspaceName::main();
            let record = ShardRecord::target_of(id.clone(), keyspace, target.clone(), *range);
            let created = registry.shards().create(target, record.replicated()).await;
            created.expect("it is new");
        }
        for (target, _) in &targets {
            cluster.leading(&PartitionId::from(target.clone())).await;
        }
        Self {
            cluster: cluster.clone(),
            operation,
            targets,
        }
    }

    pub(crate) fn targets(&self) -> Vec<ShardId> {
        self.operation.targets.clone()
    }

    /// Seals the sources, each as soon as no change is announced to it.
    pub(crate) async fn seal(&self) {
        for source in &self.operation.sources {
            self.seal_one(source).await;
        }
    }

    /// Seals one of the sources, if it is not sealed.
    pub(crate) async fn seal_one(&self, source: &ShardId) {
        wait("a seal", async || {
            let sealed = Write::new(seal(self.operation.id.as_str()));
            self.write(source, sealed).await
        })
        .await;
    }

    /// Opens the sources again.
    pub(crate) async fn abort(&self) {
        self.decide(Phase::Aborting).await;
        for source in &self.operation.sources {
            wait("an opened shard", async || {
                let opened = Write::new(|member: &mut Member<'_>| {
                    let delete = format!("DELETE FROM main._meta WHERE key = '{SEALED}'");
                    member.execute(&delete, ())?;
                    Ok(Vec::new())
                });
                self.write(source, opened).await
            })
            .await;
        }
        self.resolve().await;
    }

    /// Lets the targets own the range.
    pub(crate) async fn commit(&self) {
        self.decide(Phase::Committed).await;
    }

    /// Writes what was decided into the shards. Those that own nothing any more lose their copies with that.
    pub(crate) async fn resolve(&self) {
        let registry = self.cluster.registry();
        let operation = registry.operations().get(&self.operation.id).await;
        let operation = operation.expect("the store answers").expect("it is there");
        let (sources, targets) = (&self.operation.sources, &self.operation.targets);
        for shard in sources.iter().chain(targets) {
            let resolve = |record: &ShardRecord| Ok(record.resolve(&operation.value).expect("so"));
            let resolved = registry.shards().update(shard, resolve).await;
            resolved.expect("the store answers");
        }
    }

    /// Seals, copies and commits.
    pub(crate) async fn finish(&self) {
        self.seal().await;
        self.copy().await;
        self.commit().await;
        self.resolve().await;
    }

    /// Gives the targets what the sources have.
    pub(crate) async fn copy(&self) {
        let mut contents = Vec::new();
        for source in &self.operation.sources {
            let (_, shard) = self.cluster.leading(&source.clone().into()).await;
            let fresh = shard.fresh(ReadLevel::Consistent, PATIENCE).await;
            let file = fresh.expect("it leads").file;
            contents.push(contents_of(&file.snapshot().expect("a snapshot")));
        }
        for (index, (target, range)) in self.targets.iter().enumerate() {
            let part = part_of(&contents, *range, index == 0);
            self.fill(target, part).await;
        }
    }

    async fn fill(&self, target: &ShardId, part: Contents) {
        for sql in part.schema {
            let define = move |member: &mut Member<'_>| {
                member.execute(&sql, ())?;
                Ok(Vec::new())
            };
            self.must(target, Write::new(define)).await;
        }
        let (rows, notes) = (part.rows, part.notes);
        let insert = move |member: &mut Member<'_>| {
            for (sql, values) in &rows {
                member.execute(sql, Params::from(values))?;
            }
            for (key, value) in &notes {
                let values = [Value::from(&**key), value.clone()];
                let note = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
                    ON CONFLICT(key) DO UPDATE SET value = max(value, excluded.value)";
                member.execute(note, &values)?;
            }
            Ok(Vec::new())
        };
        self.must(target, Write::new(insert)).await;
        for (identity, outcome) in part.memory {
            let remember = move |member: &mut Member<'_>| {
                member.execute("SELECT 1", ())?;
                Ok(outcome.clone())
            };
            let remember = Write::new(remember).identified(identity, Vec::new());
            self.must(target, remember).await;
        }
    }

    async fn must(&self, shard: &ShardId, write: Write) {
        let (_, copy) = self.cluster.leading(&shard.clone().into()).await;
        let written = copy.write(write).await;
        written.expect("nobody disturbs a target");
    }

    async fn write(&self, shard: &ShardId, write: Write) -> Option<()> {
        let (_, copy) = self.cluster.leading(&shard.clone().into()).await;
        copy.write(write).await.ok().map(drop)
    }

    async fn decide(&self, phase: Phase) {
        let to = |operation: &Operation| {
            Ok(Operation {
                phase,
                ..operation.clone()
            })
        };
        let operations = self.cluster.registry().operations();
        let decided = operations.update(&self.operation.id, to).await;
        decided.expect("the store answers");
    }
}

/// Seals a shard, unless a change is announced to it.
fn seal(operation: &str) -> impl Transaction + use<> {
    let note = [Value::from(SEALED), Value::from(operation)];
    move |member: &mut Member<'_>| {
        let mut is_announced = false;
        let look = "SELECT value % 2 FROM main._meta WHERE key = 'sql.announced'";
        let _ = member.query(look, (), |row| {
            is_announced = row.get(0).as_i64() == Some(1);
            ControlFlow::<()>::Continue(())
        })?;
        if is_announced {
            return Err(StoreError::Interrupted);
        }
        let seal = "INSERT OR IGNORE INTO main._meta(key, value) VALUES (?1, ?2)";
        member.execute(seal, &note)?;
        Ok(Vec::new())
    }
}

async fn range_of(cluster: &Cluster, shard: &ShardId) -> KeyRange {
    wait("a shard", async || {
        let record = cluster.registry().shards().get(shard).await;
        record.expect("the store answers")?.value.range
    })
    .await
}

/// All that a file has: its tables, whose first columns are keys, and what it remembers.
fn contents_of(snapshot: &Snapshot) -> Contents {
    let mut contents = Contents::default();
    let mut tables = Vec::new();
    let schema = "SELECT sql, type, name FROM sqlite_schema WHERE sql IS NOT NULL
        AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid";
    each(snapshot, schema, |row| {
        let text = |at: usize| row[at].as_str().expect("text").to_owned();
        if text(1) == "table" {
            tables.push(text(2));
        }
        contents.schema.push(text(0));
    });
    for table in tables {
        each(snapshot, &format!("SELECT * FROM main.{table}"), |row| {
            let marks = vec!["?"; row.len()].join(",");
            let insert = format!("INSERT OR IGNORE INTO main.{table} VALUES ({marks})");
            contents.rows.push((insert, row));
        });
    }
    let notes = format!("SELECT key, value FROM _meta WHERE key LIKE '%.%' AND key <> '{SEALED}'");
    each(snapshot, &notes, |row| {
        let key = row[0].as_str().expect("text").to_owned();
        contents.notes.push((key, row[1].clone()));
    });
    let memory = "SELECT client, sequence, outcome FROM _dedup WHERE length(client) = 16";
    each(snapshot, memory, |row| {
        let blob = |at: usize| row[at].as_ref().as_bytes().expect("bytes").to_vec();
        let (sequence, mut outcome) = (row[1].as_i64().expect("a number"), blob(2));
        let sequence = match sequence {
            // The last one of a stream has its number in front.
            -2 => {
                let rest = outcome.split_off(8);
                let number = outcome.try_into().expect("eight bytes");
                outcome = rest;
                u64::from_be_bytes(number)
            }
            sequence => u64::try_from(sequence).expect("nothing is forgotten"),
        };
        // In front of it is where the key of the write is, if it has one.
        let outcome = match outcome.split_first() {
            Some((0, outcome)) => outcome.to_vec(),
            Some((_, rest)) => rest[8..].to_vec(),
            None => outcome,
        };
        let client = ClientId(blob(0).try_into().expect("an id"));
        contents
            .memory
            .push((Identity { client, sequence }, outcome));
    });
    contents
}

fn each(snapshot: &Snapshot, sql: &str, mut take: impl FnMut(Vec<Value>)) {
    let read = snapshot.query(sql, (), |row| {
        take(row.to_values());
        ControlFlow::<()>::Continue(())
    });
    let _all = read.expect("it can be read");
}

/// What of the sources is a target's.
fn part_of(sources: &[Contents], range: KeyRange, is_first: bool) -> Contents {
    let mut part = Contents {
        schema: sources[0].schema.clone(),
        ..Contents::default()
    };
    for source in sources {
        let mine = |(insert, row): &&(String, Vec<Value>)| {
            // A reference table of these tests has this name.
            insert.contains("main.units ") || range.contains(position(insert, &row[0]))
        };
        part.rows.extend(source.rows.iter().filter(mine).cloned());
        part.notes.extend(source.notes.iter().cloned());
        for (identity, outcome) in &source.memory {
            let outcome = match is_first {
                true => outcome.clone(),
                false => elsewhere(outcome),
            };
            let known = part.memory.iter_mut().find(|(known, _)| known == identity);
            match known {
                Some((_, known)) => *known = of_both(known, &outcome),
                None => part.memory.push((*identity, outcome)),
            }
        }
    }
    // Of a stream the last one counts, whichever source knows it.
    part.memory.sort_by_key(|(identity, _)| identity.sequence);
    part
}

fn position(insert: &str, key: &Value) -> Position {
    let table = insert.split(['.', ' ']).nth(5).expect("a table");
    let key = match key {
        Value::Integer(key) => TypedKey::Integer(*key),
        key => TypedKey::text(key.as_str().expect("a text")),
    };
    key.position_in(table)
}

fn decode(outcome: &[u8]) -> Option<Vec<Ran>> {
    let (version, rest) = postcard::take_from_bytes::<u16>(outcome).ok()?;
    (version == VERSION).then(|| postcard::from_bytes(rest).ok())?
}

fn encode(ran: Vec<Ran>) -> Vec<u8> {
    postcard::to_stdvec(&(VERSION, ran)).expect("memory")
}

fn elsewhere(outcome: &[u8]) -> Vec<u8> {
    match decode(outcome) {
        Some(ran) => encode(ran.into_iter().map(Ran::into_elsewhere).collect()),
        None => outcome.to_vec(),
    }
}

fn of_both(one: &[u8], other: &[u8]) -> Vec<u8> {
    match (decode(one), decode(other)) {
        (Some(mut ran), Some(more)) => {
            ran.extend(more);
            encode(ran)
        }
        _ => one.to_vec(),
    }
}
