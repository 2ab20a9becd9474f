//! A primary and a copy that follows it.

use std::ops::ControlFlow;

use shardwright_store::{
    Applied, ChangeSet, Config, Entry, Error, Identity, Member, Replica, Result, Scrub, Scrubbed,
    ShardFile, Value,
};
use tempfile::TempDir;

pub(crate) type Step<'a> = Box<dyn FnMut(&mut Member<'_>) -> Result<()> + 'a>;

/// Two files at the same position.
pub(crate) struct Pair {
    pub(crate) directory: TempDir,
    pub(crate) primary: ShardFile,
    pub(crate) copy: ShardFile,
    pub(crate) applied: Applied,
    installs: u8,
}

/// What became of the members of [`Pair::run`], in their order.
pub(crate) type Results = Vec<Option<Result<()>>>;

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(&Identity::new("shop", "shard-0"))
    }

    pub(crate) fn with(identity: &Identity) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let create = |name: &str, id: u8| {
            let file = ShardFile::create(directory.path().join(name), identity, &config()).unwrap();
            let replica = Replica {
                id: [id; 16],
                applied: Applied::default(),
            };
            file.writer().unwrap().start_replica(&replica).unwrap();
            file
        };
        Self {
            primary: create("primary.db", 1),
            copy: create("copy.db", 2),
            directory,
            applied: Applied::default(),
            installs: 2,
        }
    }

    /// A pair whose files went through these statements, one batch each.
    pub(crate) fn after(statements: &[&str]) -> Self {
        let mut pair = Self::new();
        for sql in statements {
            pair.execute(sql);
        }
        pair
    }

    pub(crate) fn next(&self) -> Applied {
        Applied {
            epoch: 1,
            lsn: self.applied.lsn + 1,
            hash: [(self.applied.lsn + 1) as u8; 32],
        }
    }

    /// Runs a batch of one statement on the primary and its changes on the copy.
    #[track_caller]
    pub(crate) fn execute(&mut self, sql: &str) -> ChangeSet {
        let (mut results, mut changes) = self.run(&mut [statements(&[sql])]);
        if let Some(Err(error)) = results.remove(0) {
            panic!("{sql}: {error}");
        }
        changes.pop().unwrap()
    }

    /// Runs a batch on the primary, and what it leaves out in batches of their own; commits each, applies
    /// its changes to the copy, and compares the two.
    #[track_caller]
    pub(crate) fn run(&mut self, members: &mut [Step<'_>]) -> (Results, Vec<ChangeSet>) {
        let mut results: Results = members.iter().map(|_| None).collect();
        let mut sets = Vec::new();
        let mut batches = vec![(0..members.len()).collect::<Vec<_>>()];
        while let Some(batch) = batches.pop() {
            let next = self.next();
            let mut writer = self.primary.writer().unwrap();
            let first = batch.first().copied().unwrap_or(0);
            let captured = match &batch[..] {
                [alone] => writer.execute_batch(&mut members[*alone..=*alone]),
                _ => writer.execute_batch(members),
            }
            .unwrap();
            let alone = captured.alone.iter().rev();
            batches.extend(alone.map(|place| vec![first + place]));
            for executed in captured.executed {
                results[first + executed.member] = Some(executed.result);
            }
            writer.commit_at(next, &[]).unwrap();
            drop(writer);
            self.applied = next;
            self.follow(&captured.changes, &[]).unwrap();
            self.compare();
            sets.push(captured.changes);
        }
        (results, sets)
    }

    /// Has both files remember outcomes, which are given with the client and the number.
    pub(crate) fn remember(&mut self, outcomes: &[([u8; 16], u64, &[u8])]) {
        let entries = outcomes.iter().map(|&(client, sequence, outcome)| Entry {
            client,
            sequence,
            outcome,
        });
        let entries: Vec<_> = entries.collect();
        self.applied = self.next();
        for file in [&self.primary, &self.copy] {
            let mut writer = file.writer().unwrap();
            writer.advance(self.applied, &entries).unwrap();
        }
    }

    /// Applies changes to the copy, as the log would carry them.
    pub(crate) fn follow(&self, changes: &ChangeSet, entries: &[Entry<'_>]) -> Result<()> {
        let changes = ChangeSet::from_bytes(changes.as_bytes())?;
        let mut writer = self.copy.writer()?;
        writer.apply(self.applied, &changes, entries)
    }

    /// Checks that both files hold the same.
    #[track_caller]
    pub(crate) fn compare(&self) {
        let (primary, copy) = (digest(&self.primary), digest(&self.copy));
        if primary != copy {
            let (primary, copy) = (dump(&self.primary), dump(&self.copy));
            let only = |left: &[String], right: &[String]| -> Vec<String> {
                let mut lines = left.to_vec();
                lines.retain(|line| !right.contains(line));
                lines
            };
            panic!(
                "the files differ: {:#?} only in the primary, {:#?} only in the copy",
                only(&primary, &copy),
                only(&copy, &primary)
            );
        }
    }

    /// Closes both files and opens them again.
    pub(crate) fn reopen(self) -> Self {
        let open = |file: ShardFile| {
            let path = file.path().to_path_buf();
            file.close().unwrap();
            ShardFile::open(path, &config()).unwrap()
        };
        Self {
            primary: open(self.primary),
            copy: open(self.copy),
            ..self
        }
    }

    /// Replaces the copy by a snapshot of the primary.
    pub(crate) fn reinstall(self) -> Self {
        let received = self.directory.path().join("received.db");
        let copied = self
            .primary
            .snapshot()
            .unwrap()
            .copy_to(&received, |_, _| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(copied.source.applied, self.applied);
        let path = self.copy.path().to_path_buf();
        self.copy.close().unwrap();
        let id = [self.installs + 1; 16];
        let copy = ShardFile::install(&received, &path, &id, &config()).unwrap();
        assert_eq!(copy.replica().unwrap().unwrap().id, id);
        Self {
            copy,
            installs: self.installs + 1,
            ..self
        }
    }

    /// Lets the copy be the primary and the primary the copy.
    pub(crate) fn swap(self) -> Self {
        Self {
            primary: self.copy,
            copy: self.primary,
            ..self
        }
    }

    pub(crate) fn one(&self, sql: &str) -> Value {
        value(&self.copy, sql)
    }
}

pub(crate) fn config() -> Config {
    Config {
        synchronous: shardwright_store::Synchronous::Off,
        ..Config::default()
    }
}

/// A member that runs statements and stops at the first that fails.
pub(crate) fn statements<'a>(statements: &'a [&'a str]) -> Step<'a> {
    Box::new(move |member| {
        for sql in statements {
            member.execute(*sql, ())?;
        }
        Ok(())
    })
}

pub(crate) fn digest(file: &ShardFile) -> Scrubbed {
    let mut scrub = Scrub::new(file.snapshot().unwrap()).unwrap();
    loop {
        if let Some(scrubbed) = scrub.slice(7).unwrap() {
            return scrubbed;
        }
    }
}

pub(crate) fn value(file: &ShardFile, sql: &str) -> Value {
    file.reader()
        .unwrap()
        .query_row(sql, (), |row| row.get(0).to_value())
        .unwrap()
        .unwrap_or_default()
}

/// Shows the schema and the rows of a file, for the message of a test that fails.
fn dump(file: &ShardFile) -> Vec<String> {
    let snapshot = file.snapshot().unwrap();
    let mut lines = Vec::new();
    let mut queries = vec!["SELECT name, sql FROM sqlite_schema".to_owned()];
    for table in snapshot.tables().unwrap() {
        queries.push(match table.key {
            shardwright_store::RowKey::RowId(name) => {
                format!("SELECT '{0}', {name}, * FROM \"{0}\"", table.name)
            }
            shardwright_store::RowKey::Columns(_) => {
                format!("SELECT '{0}', * FROM \"{0}\"", table.name)
            }
        });
    }
    for query in queries {
        let _all = snapshot
            .query(&query, (), |row| {
                let values: Vec<_> = row
                    .iter()
                    .map(|value| match value.as_str() {
                        Some(text) => format!("{text:?}"),
                        None => format!("{value:?}"),
                    })
                    .collect();
                lines.push(values.join(" | "));
                ControlFlow::<()>::Continue(())
            })
            .unwrap();
    }
    lines
}

/// Returns the error that a member failed with.
#[track_caller]
pub(crate) fn error_of(result: Option<Result<()>>) -> Error {
    result.unwrap().unwrap_err()
}
