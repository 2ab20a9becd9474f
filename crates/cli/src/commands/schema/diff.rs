//! `schema diff`: what the schema has otherwise than the migrations that were made say, and what shards have otherwise than the schema.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context as _;
use shardwright_sql::{
    Access, CreateOptions, DriftKind, ShardedDatabase, schema::SchemaObject, shards::Call,
};

use super::Compared;
use crate::{
    migrations::{Migration, MigrationError, State, Target, notes, plan},
    output::{self, ListingFormat, Sheet},
};

/// Compare the schema with the migrations that were made, and each shard with the schema.
///
/// The files of the migrations that were made are replayed on an empty database. Exit code 1 if there is a difference. One that a change that is under way
/// makes is none a moment later.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright schema diff migrations shop
  shardwright schema diff migrations --node http://10.0.0.7:7561 -o json")]
pub(crate) struct Diff {
    #[command(flatten)]
    compared: Compared,

    /// How the differences are printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

impl Diff {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let files = Migration::read_all(&self.compared.files)?;
        let opened = self.compared.open(Access::ReadOnly)?;
        let target = opened.target();
        let planned = plan(&files, &notes(&target)?);
        let made = |file: &&Migration| {
            let planned = planned.iter().find(|one| one.version == file.version);
            planned.is_some_and(|one| one.state == State::Made)
        };
        let expected = replay(files.iter().filter(made))?;
        let mut sheet = Sheet::with_columns(&["where", "object", "difference"]);
        let mut add = |place: &str, object: &str, kind: DriftKind| {
            sheet.rows.push(vec![
                output::text(place),
                output::text(object),
                output::text(words(kind)),
            ]);
        };
        for (name, kind) in differences(&expected, &target.objects()?) {
            add("schema", &name, kind);
        }
        for drift in target.standing()?.drift {
            add(&drift.place, &drift.object, drift.kind);
        }
        output::write_listing(out, self.output, &sheet)?;
        match sheet.rows.len() as u64 {
            0 => Ok(()),
            count => {
                out.flush()?;
                let found = output::count(count, "difference");
                Err(MigrationError::Drift { found }.into())
            }
        }
    }
}

/// What migrations make of an empty database.
fn replay<'a>(
    migrations: impl Iterator<Item = &'a Migration>,
) -> anyhow::Result<Vec<SchemaObject>> {
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let create = CreateOptions {
        shards: 1,
        ..CreateOptions::default()
    };
    let database = ShardedDatabase::create(directory.path().join("empty"), &create)?;
    for migration in migrations {
        let calls = migration.statements.iter();
        let calls: Vec<Call<'_>> = calls.map(|sql| Call::new(&**sql, ())).collect();
        let made = database.execute_together(&calls);
        made.with_context(|| format!("replay {}", migration.name))?;
    }
    Target::Files(&database).objects()
}

/// In which objects a schema differs from another one, by their names.
fn differences(expected: &[SchemaObject], found: &[SchemaObject]) -> Vec<(String, DriftKind)> {
    let by_name = |objects: &[SchemaObject]| -> BTreeMap<String, String> {
        let named = objects.iter();
        named
            .map(|object| (object.name.to_ascii_lowercase(), object.sql.clone()))
            .collect()
    };
    let (expected, found) = (by_name(expected), by_name(found));
    let mut differences = Vec::new();
    for (name, sql) in &expected {
        match found.get(name) {
            Some(found) if found == sql => {}
            Some(_) => differences.push((name.clone(), DriftKind::Different)),
            None => differences.push((name.clone(), DriftKind::Missing)),
        }
    }
    let more = found.keys().filter(|name| !expected.contains_key(*name));
    differences.extend(more.map(|name| (name.clone(), DriftKind::Unknown)));
    differences
}

fn words(kind: DriftKind) -> &'static str {
    match kind {
        DriftKind::Missing => "missing",
        DriftKind::Unknown => "unknown",
        DriftKind::Different => "different",
    }
}
