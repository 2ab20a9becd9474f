//! Adoption in place: existing files become the shards of a database, and every row stays where it is.
//!
//! [`attach`] makes a directory whose shards are links to the files. A key whose hash says another shard gets an entry in
//! the directory of keys; the files get the tables of one another, empty, and those of the engine. Nothing that was in them
//! changes, so that [`detach`] makes of them what they were.
//!
//! The order makes every moment safe to be killed in. What is about to happen is written into the marker first, each file
//! changes in one transaction, and while the marker is there the directory is no database. A later run takes back what
//! there is of the interrupted one and begins again.

mod detach;
mod key_set;
mod marker;
mod problem;
mod survey;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shardwright_registry::topology::ShardId;
use shardwright_store::{Identity, META_TABLE_SQL};

pub use self::{detach::detach, problem::Problem};
use self::{
    marker::{Adoption, adopted, interrupted},
    survey::Survey,
};
use super::{source::Source, target::Target};
use crate::{
    database::{
        CATALOG, DIRECTORY_TABLES, DirectoryLock, Layout, Options, PUT_ENTRY, ShardedDatabase,
        create_place, create_registry, new_identity, own_value, sqlite_value,
    },
    error::Error,
    schema::{fold, quote_identifier},
};

/// A shard of the database to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSource {
    /// Its name.
    pub name: String,
    /// The file that it is; `None` for a new shard, which begins empty.
    pub file: Option<PathBuf>,
}

/// What is adopted of the files. Names ignore ASCII case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOptions {
    /// The tables to adopt. With none named these are all, without virtual tables and the bookkeeping of migrators.
    pub tables: Vec<String>,
    /// Tables with the columns whose values are their keys, where that is not the first column of the primary key. Where such a
    /// column refers to the key of another table, rows of one key belong together.
    pub keys: Vec<(String, String)>,
}

/// What an adoption in place does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttachReport {
    /// The names of the shards, in the order of their ranges.
    pub shards: Vec<String>,
    /// The tables that are adopted.
    pub tables: Vec<AttachedTable>,
    /// The keys that get entries in the directory, because their hash says another shard.
    pub entries: u64,
    /// Tables, views and triggers that stay in their files and are not in the database, as `shard: name`.
    pub left: Vec<String>,
    /// What is in the way.
    pub problems: Vec<Problem>,
}

/// A table that is adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttachedTable {
    /// Its name.
    pub name: String,
    /// The column of its key; `None` if nothing says which that is.
    pub key: Option<String>,
    /// The rows in each shard, in the order of the shards.
    pub rows_by_shard: Vec<u64>,
}

impl AttachReport {
    /// The rows of all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let tables = self.tables.iter();
        tables.flat_map(|table| &table.rows_by_shard).sum()
    }
}

/// Says what [`attach`] would do, and what is in its way. Nothing changes, neither the files nor anything beside them.
///
/// # Errors
/// [`Error::Io`], [`Error::NotSqlite`] and [`Error::Damaged`] for a file that cannot be read, [`Error::UnlikeKeys`] and
/// [`Error::BadDeclaration`] for a schema that has no meaning here, and [`Error::BadShardCount`].
#[doc(alias = "dryRun")]
pub fn inspect_attach(
    shards: &[ShardSource],
    options: &AttachOptions,
) -> Result<AttachReport, Error> {
    Ok(Survey::of(shards, options)?.report)
}

/// Checks the tables of one file: whether it could be a shard. Nothing changes.
///
/// # Errors
/// As [`inspect_attach`].
#[doc(alias = "validateTableForSharding")]
pub fn validate(file: &Path, options: &AttachOptions) -> Result<AttachReport, Error> {
    let only = ShardSource {
        name: "shard-0".to_owned(),
        file: Some(file.to_path_buf()),
    };
    inspect_attach(&[only], options)
}

/// Reads the keys of a table: the values of a column, or of the first column of its primary key, each once and in order.
///
/// # Errors
/// [`Error::UnknownTable`], [`Error::UnknownColumn`], [`Error::NoPrimaryKey`], and what reading the file fails with.
#[doc(alias = "discoverExistingPrimaryKeys")]
pub fn primary_keys(
    file: &Path,
    table: &str,
    column: Option<&str>,
) -> Result<Vec<shardwright_store::Value>, Error> {
    let source = Source::open(file)?;
    let plain = survey::plain_schema(super::objects::read(&source)?)?;
    let table = plain.table(table).ok_or_else(|| Error::UnknownTable {
        table: table.to_owned(),
    })?;
    let index = match column {
        Some(name) => table.resolve(name).ok_or_else(|| Error::UnknownColumn {
            table: table.name.clone(),
            column: name.to_owned(),
        })?,
        None => *table
            .primary_key
            .first()
            .ok_or_else(|| table.without_primary_key())?,
    };
    let sql = format!(
        "SELECT DISTINCT {column} FROM main.{} WHERE {column} IS NOT NULL ORDER BY 1",
        quote_identifier(&table.name),
        column = quote_identifier(&table.columns[index].name),
    );
    let read = || {
        let mut statement = source.connection().prepare(&sql)?;
        let keys = statement.query_map((), |row| Ok(own_value(row.get_ref(0)?)))?;
        keys.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(|error| source.error(error))
}

/// Makes the files the shards of a new database in a directory. Each row stays in its file and is found there by its key.
/// From then on only the database may write to the files.
///
/// # Errors
/// [`Error::NotAdoptable`] with everything that [`inspect_attach`] finds in the way; [`Error::Constraint`] if rows of several
/// files agree where a UNIQUE constraint forbids it; [`Error::Exists`] and [`Error::NotEmpty`] if the directory holds
/// something, [`Error::Locked`] if another process is at it; and what a file says. The files are as they were then, unless
/// that fails too: the next run, or [`detach`], takes back what there is.
#[doc(alias = "integrateExistingDatabase")]
pub fn attach(
    directory: &Path,
    shards: &[ShardSource],
    options: &AttachOptions,
) -> Result<AttachReport, Error> {
    marker::check_directory(directory)?;
    let names = shard_names(shards)?;
    std::fs::create_dir_all(directory)
        .map_err(|source| marker::failed("create directory", directory, source))?;
    let layout = Layout::of(directory);
    let lock = DirectoryLock::take(&layout)?;
    marker::check_directory(directory)?;
    if let Some(adoption) = interrupted(directory)? {
        detach::take_back(&layout, &adoption)?;
    }
    let mut survey = Survey::of(shards, options)?;
    if !survey.report.problems.is_empty() {
        drop(lock);
        marker::remove_empty(&layout);
        return Err(Error::NotAdoptable {
            problems: survey.report.problems,
        });
    }
    let adoption = survey.adoption(shards, &new_identity())?;
    adoption.write(directory)?;
    let attached =
        make(&layout, &survey, &adoption, &names).and_then(|()| finish(&layout, &adoption, lock));
    if attached.is_err() {
        // What caused the failure is what the caller has to know; what remains is taken back by the next run.
        let _taken_back =
            DirectoryLock::take(&layout).and_then(|_lock| detach::take_back(&layout, &adoption));
    }
    attached.map(|()| survey.report)
}

/// Brings every file, the catalog and the registry into their form.
fn make(
    layout: &Layout,
    survey: &Survey,
    adoption: &Adoption,
    names: &[ShardId],
) -> Result<(), Error> {
    let encoding = survey.encoding();
    create_place(layout, &adoption.database, CATALOG, encoding)?;
    let catalog = Target::open(CATALOG, layout.shard(CATALOG))?;
    catalog.transaction(|catalog| {
        survey.sequences.iter().try_for_each(|(table, last)| {
            let put = "INSERT INTO main._sequence(name, last) VALUES (?1, ?2)";
            let put = catalog.connection().execute(put, (table, last));
            put.map(drop).map_err(|error| catalog.error(error))
        })
    })?;
    catalog.close()?;
    for (number, name) in names.iter().enumerate() {
        let name = name.as_str();
        let path = layout.shard(name);
        match adoption.files.iter().find(|file| file.shard == name) {
            Some(file) => {
                marker::link(&file.path, &path)?;
                let target = Target::open(name, file.path.clone())?;
                target.run("PRAGMA journal_mode = WAL")?;
                prepare(target, number, survey, Some(&adoption.database))?;
            }
            None => {
                create_place(layout, &adoption.database, name, encoding)?;
                prepare(Target::open(name, path)?, number, survey, None)?;
            }
        }
    }
    create_registry(layout, names, &adoption.database, survey.schema.stored())
}

/// Gives a file what it lacks, in one transaction: an identity, tables and indexes of the others, and the entries of keys
/// whose hash says this shard and whose rows are elsewhere.
fn prepare(
    target: Target,
    number: usize,
    survey: &Survey,
    database: Option<&str>,
) -> Result<(), Error> {
    target.transaction(|target| {
        for table in &survey.report.tables {
            let found = match target.has("table", &table.name)? {
                true => target.count(&table.name)?,
                false => 0,
            };
            if found != table.rows_by_shard[number] {
                return Err(Error::SourceChanged {
                    path: target.path().display().to_string(),
                });
            }
        }
        if let Some(database) = database {
            identify(target, &Identity::new(database, target.name()))?;
        }
        for object in &survey.schema.stored().objects {
            if !target.has(&object.kind, &object.name)? {
                target.run(&object.sql)?;
            }
        }
        DIRECTORY_TABLES
            .iter()
            .try_for_each(|sql| target.run(sql))?;
        let sqlite = target.connection();
        let failed = |error| target.error(error);
        let mut put = sqlite.prepare(PUT_ENTRY).map_err(failed)?;
        survey.keys.visit_entries(number, |space, key, home| {
            let shard = &survey.report.shards[home];
            put.execute(rusqlite::params![space, sqlite_value(key), shard])
                .map(drop)
                .map_err(failed)
        })
    })?;
    target.checkpoint()?;
    target.close()
}

fn identify(target: &Target, identity: &Identity) -> Result<(), Error> {
    target.run(META_TABLE_SQL)?;
    for (key, value) in identity.rows() {
        let put = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)";
        let values = rusqlite::params![key, sqlite_value(&value)];
        let put = target.connection().execute(put, values);
        put.map(drop).map_err(|error| target.error(error))?;
    }
    Ok(())
}

/// Opens what was made, asks what no file can answer alone, and only then calls it a database.
fn finish(layout: &Layout, adoption: &Adoption, lock: DirectoryLock) -> Result<(), Error> {
    let database = ShardedDatabase::open_held(layout, &Options::default(), lock)?;
    database.check_constraints()?;
    adoption.finish(layout.directory())?;
    database.close()
}

/// The names, each valid and of one shard only.
fn shard_names(shards: &[ShardSource]) -> Result<Vec<ShardId>, Error> {
    super::check_shards(shards.len())?;
    let mut names: Vec<ShardId> = Vec::new();
    for shard in shards {
        let id = ShardId::new(&shard.name).map_err(|_| Error::UnknownShard {
            shard: shard.name.clone(),
        })?;
        let is_ours = [CATALOG, "registry"].contains(&fold(id.as_str()).as_str());
        if is_ours
            || names
                .iter()
                .any(|name| fold(name.as_str()) == fold(id.as_str()))
        {
            return Err(Error::Exists {
                path: format!("a shard of the name {id}"),
            });
        }
        names.push(id);
    }
    Ok(names)
}

/// Whether a directory holds a database of adopted files.
///
/// # Errors
/// [`Error::Io`] if that cannot be read.
pub fn is_attached(directory: &Path) -> Result<bool, Error> {
    Ok(adopted(directory)?.is_some())
}

#[cfg(test)]
mod tests;
