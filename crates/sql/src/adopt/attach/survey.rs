//! Reading the files: one schema of all of them, the key of each table, and whose keys are where.

use std::collections::BTreeMap;

use shardwright_store::Encoding;

use super::{
    super::{check_shards, objects, source::Source},
    AttachOptions, AttachReport, AttachedTable, Problem, ShardSource,
    key_set::KeySet,
    marker::{AdoptedFile, Adoption, failed},
};
use crate::{
    database::own_value,
    error::Error,
    key::KeyRules,
    plan::HomeKey,
    schema::{
        Declaration, Generated, NullKeys, Schema, SchemaObject, StoredSchema, Table, fold,
        is_bookkeeping, physical, quote_identifier,
    },
};

/// What the files hold.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) schema: Schema,
    pub(super) report: AttachReport,
    pub(super) keys: KeySet,
    /// The greatest number that each AUTOINCREMENT table ever gave out, by folded name.
    pub(super) sequences: BTreeMap<String, i64>,
    files: Vec<Option<File>>,
}

/// A file that is there.
#[derive(Debug)]
struct File {
    source: Source,
    stored: StoredSchema,
}

/// Builds a survey.
struct Surveyor<'a> {
    shards: &'a [ShardSource],
    options: &'a AttachOptions,
    files: Vec<Option<File>>,
    report: AttachReport,
    /// The objects of the database to be, each with the shard that had it first.
    objects: Vec<(SchemaObject, usize)>,
}

/// Derives the schema of one file in which no table is sharded, which says what the tables are made of.
pub(super) fn plain_schema(mut stored: StoredSchema) -> Result<Schema, Error> {
    stored
        .objects
        .retain(|object| object.kind != "trigger" && object.kind != "view");
    stored.declarations = stored
        .objects
        .iter()
        .filter(|object| object.kind == "table")
        .map(|table| (fold(&table.name), Declaration::Global))
        .collect();
    Schema::derive(stored)
}

impl Survey {
    pub(super) fn of(shards: &[ShardSource], options: &AttachOptions) -> Result<Self, Error> {
        check_shards(shards.len())?;
        let open =
            |shard: &ShardSource| shard.file.as_ref().map(|path| File::open(path)).transpose();
        let files = shards.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        let names = shards.iter().map(|shard| shard.name.clone());
        let mut surveyor = Surveyor {
            shards,
            options,
            files,
            report: AttachReport {
                shards: names.collect(),
                ..AttachReport::default()
            },
            objects: Vec::new(),
        };
        surveyor.check_encodings();
        surveyor.choose_objects();
        let schema = surveyor.schema()?;
        surveyor.check_foreign_keys(&schema);
        let keys = surveyor.read_rows(&schema)?;
        let sequences = surveyor.sequences(&schema)?;
        for file in surveyor.files.iter().flatten() {
            file.source.check_unchanged()?;
        }
        let Surveyor {
            mut report, files, ..
        } = surveyor;
        report.problems.extend(keys.twins(shards)?);
        report.entries = keys.entries()?;
        Ok(Self {
            schema,
            report,
            keys,
            sequences,
            files,
        })
    }

    /// How the files store text.
    pub(super) fn encoding(&self) -> Encoding {
        let name = &self.schema.stored().encoding;
        [Encoding::Utf16le, Encoding::Utf16be]
            .into_iter()
            .find(|encoding| encoding.as_str() == name)
            .unwrap_or_default()
    }

    /// What has to be known to give the files back. They are not read any more.
    pub(super) fn adoption(
        &mut self,
        shards: &[ShardSource],
        database: &str,
    ) -> Result<Adoption, Error> {
        let mut adopted = Vec::new();
        for (shard, file) in shards.iter().zip(self.files.drain(..)) {
            let (Some(path), Some(file)) = (&shard.file, file) else {
                continue;
            };
            adopted.push(AdoptedFile {
                shard: shard.name.clone(),
                path: path
                    .canonicalize()
                    .map_err(|source| failed("read", path, source))?,
                uses_log: file.source.uses_log(),
                objects: file.names(),
            });
        }
        Ok(Adoption::new(database, adopted))
    }
}

impl File {
    fn open(path: &std::path::Path) -> Result<Self, Error> {
        let source = Source::open(path)?;
        source.check()?;
        Ok(Self {
            stored: objects::read(&source)?,
            source,
        })
    }

    fn names(&self) -> Vec<String> {
        let objects = self.stored.objects.iter();
        objects.map(|object| object.name.clone()).collect()
    }

    fn has(&self, table: &str) -> bool {
        let is_it =
            |object: &SchemaObject| object.kind == "table" && fold(&object.name) == fold(table);
        self.stored.objects.iter().any(is_it)
    }

    fn count(&self, sql: &str) -> Result<u64, Error> {
        let count = self
            .source
            .connection()
            .query_row(sql, (), |row| row.get::<_, i64>(0));
        count
            .map(i64::unsigned_abs)
            .map_err(|error| self.source.error(error))
    }
}

impl Surveyor<'_> {
    fn files(&self) -> impl Iterator<Item = (usize, &File)> {
        let files = self.files.iter().enumerate();
        files.filter_map(|(number, file)| Some((number, file.as_ref()?)))
    }

    fn check_encodings(&mut self) {
        let mut files = self.files();
        let Some((_, first)) = files.next() else {
            return;
        };
        let encoding = first.stored.encoding.clone();
        let others: Vec<Problem> = files
            .filter(|(_, file)| file.stored.encoding != encoding)
            .map(|(number, file)| Problem::Encoding {
                shard: self.shards[number].name.clone(),
                encoding: file.stored.encoding.clone(),
            })
            .collect();
        self.report.problems.extend(others);
    }

    /// Whether a table is to be adopted.
    fn is_chosen(&self, table: &str) -> bool {
        if self.options.tables.is_empty() {
            return !is_bookkeeping(table);
        }
        let is_it = |name: &String| fold(name) == fold(table);
        self.options.tables.iter().any(is_it)
    }

    /// Takes the tables and indexes of all files together.
    fn choose_objects(&mut self) {
        let mut objects: Vec<(SchemaObject, usize)> = Vec::new();
        let mut problems = Vec::new();
        let mut left = Vec::new();
        for (number, file) in self.files() {
            let shard = &self.shards[number].name;
            for object in &file.stored.objects {
                let is_virtual = is_virtual(object);
                let is_left = match object.kind.as_str() {
                    "view" => true,
                    "table" => {
                        !self.is_chosen(&object.name)
                            || is_virtual && self.options.tables.is_empty()
                    }
                    _ => !self.is_chosen(&object.table),
                };
                if is_left {
                    if object.kind != "index" {
                        left.push(format!("{shard}: {}", object.name));
                    }
                } else if is_virtual {
                    problems.push(Problem::NotByKey {
                        shard: shard.clone(),
                        table: object.name.clone(),
                    });
                } else if object.kind == "trigger" {
                    problems.push(Problem::Trigger {
                        shard: shard.clone(),
                        table: object.table.clone(),
                        trigger: object.name.clone(),
                    });
                } else {
                    let known = objects
                        .iter()
                        .find(|(known, _)| fold(&known.name) == fold(&object.name));
                    match known {
                        None => objects.push((object.clone(), number)),
                        Some((known, _)) if is_same(known, object) => {}
                        Some((_, first)) => problems.push(Problem::Differs {
                            name: object.name.clone(),
                            first: self.shards[*first].name.clone(),
                            second: shard.clone(),
                        }),
                    }
                }
            }
        }
        let asked = self.options.tables.iter();
        let asked = asked.chain(self.options.keys.iter().map(|(table, _)| table));
        for table in asked {
            if !self.files().any(|(_, file)| file.has(table)) {
                problems.push(Problem::NoTable {
                    table: table.clone(),
                });
            }
        }
        // An index is of a table that may come from a later file.
        objects.sort_by_key(|(object, _)| object.kind != "table");
        self.objects = objects;
        self.report.left = left;
        self.report.problems.extend(problems);
    }

    /// The schema of the database, as far as every table has a key. A table without one is global in it, and a problem.
    fn schema(&mut self) -> Result<Schema, Error> {
        let first = self.files().next().map(|(_, file)| file.stored.clone());
        let mut stored = StoredSchema {
            objects: self
                .objects
                .iter()
                .map(|(object, _)| object.clone())
                .collect(),
            ..first.unwrap_or_default()
        };
        if stored.encoding.is_empty() {
            Encoding::Utf8.as_str().clone_into(&mut stored.encoding);
        }
        let plain = plain_schema(stored.clone())?;
        let mut declarations = BTreeMap::new();
        for (object, number) in &self.objects {
            if let Some(table) = plain.table(&object.name).filter(|_| object.kind == "table") {
                let shard = &self.shards[*number].name;
                let declared = match self.declare(table, object, shard)? {
                    Ok(declared) => declared,
                    Err(problem) => {
                        self.report.problems.push(problem);
                        Declaration::Global
                    }
                };
                declarations.insert(fold(&table.name), declared);
            }
        }
        colocate(&plain, &mut declarations, self.options);
        stored.declarations = declarations;
        Schema::derive(stored)
    }

    /// What a table becomes, or why it cannot be adopted.
    fn declare(
        &self,
        table: &Table,
        object: &SchemaObject,
        shard: &str,
    ) -> Result<Result<Declaration, Problem>, Error> {
        let Some(first) = table.primary_key.first() else {
            return Ok(Err(Problem::NoPrimaryKey {
                shard: shard.to_owned(),
                table: table.name.clone(),
            }));
        };
        let asked = key_asked(self.options, &table.name);
        let column = match asked {
            Some(name) => match table.resolve(name) {
                Some(index) if table.columns[index].generated == Generated::Ordinary => index,
                _ => {
                    return Ok(Err(Problem::NoKeyColumn {
                        table: table.name.clone(),
                        column: name.to_owned(),
                    }));
                }
            },
            None => match Declaration::in_comment(&object.sql)? {
                Some(declared @ Declaration::Sharded { .. }) => return Ok(Ok(declared)),
                Some(_) => {
                    return Ok(Err(Problem::NotByKey {
                        shard: shard.to_owned(),
                        table: table.name.clone(),
                    }));
                }
                None => *first,
            },
        };
        Ok(Ok(Declaration::Sharded {
            shard_key: table.columns[column].name.clone(),
            colocate_with: None,
            null_keys: NullKeys::Refuse,
        }))
    }

    /// A file keeps its foreign keys, so that each must be one that it can keep.
    fn check_foreign_keys(&mut self, schema: &Schema) {
        for table in schema.tables() {
            for key in &table.foreign_keys {
                let is_kept = schema.table(&key.parent).is_some()
                    && physical::is_enforceable(schema, table, key);
                if !is_kept && table.shard_key().is_some() {
                    self.report.problems.push(Problem::ForeignKey {
                        table: table.name.clone(),
                        parent: key.parent.clone(),
                    });
                }
            }
        }
    }

    /// Counts the rows of all tables and notes their keys.
    fn read_rows(&mut self, schema: &Schema) -> Result<KeySet, Error> {
        let keys = KeySet::new(self.shards.len())?;
        let mut tables = Vec::new();
        let mut problems = Vec::new();
        for object in schema
            .stored()
            .objects
            .iter()
            .filter(|object| object.kind == "table")
        {
            let Some(table) = schema.table(&object.name) else {
                continue;
            };
            let mut rows_by_shard = vec![0; self.shards.len()];
            for (number, file) in self.files().filter(|(_, file)| file.has(&table.name)) {
                let name = quote_identifier(&table.name);
                rows_by_shard[number] = file.count(&format!("SELECT count(*) FROM main.{name}"))?;
                let nulls = note_keys(file, table, number, &keys)?;
                if nulls > 0 {
                    problems.push(Problem::NullKeys {
                        shard: self.shards[number].name.clone(),
                        table: table.name.clone(),
                        rows: nulls,
                    });
                }
            }
            tables.push(AttachedTable {
                name: table.name.clone(),
                key: table.key_column().map(|column| column.name.clone()),
                rows_by_shard,
            });
        }
        self.report.tables = tables;
        self.report.problems.extend(problems);
        Ok(keys)
    }

    fn sequences(&self, schema: &Schema) -> Result<BTreeMap<String, i64>, Error> {
        let mut sequences = BTreeMap::new();
        for (_, file) in self.files() {
            for (table, last) in super::super::import::last_numbers(&file.source, schema)? {
                let kept = sequences.entry(table).or_insert(last);
                *kept = last.max(*kept);
            }
        }
        Ok(sequences)
    }
}

fn is_virtual(object: &SchemaObject) -> bool {
    let mut words = object.sql.split_whitespace();
    object.kind == "table"
        && words
            .nth(1)
            .is_some_and(|word| word.eq_ignore_ascii_case("virtual"))
}

/// Whether two files declare the same, however they break lines.
fn is_same(one: &SchemaObject, other: &SchemaObject) -> bool {
    one.kind == other.kind && one.sql.split_whitespace().eq(other.sql.split_whitespace())
}

fn key_asked<'o>(options: &'o AttachOptions, table: &str) -> Option<&'o str> {
    let mut keys = options.keys.iter();
    let (_, column) = keys.find(|(name, _)| fold(name) == fold(table))?;
    Some(column)
}

/// Joins a table with the one to whose key a column refers that was named as its key.
fn colocate(
    plain: &Schema,
    declarations: &mut BTreeMap<String, Declaration>,
    options: &AttachOptions,
) {
    let keys: BTreeMap<String, String> = declarations
        .iter()
        .filter_map(|(table, declared)| match declared {
            Declaration::Sharded { shard_key, .. } => Some((table.clone(), fold(shard_key))),
            Declaration::Reference | Declaration::Global => None,
        })
        .collect();
    for table in plain
        .tables()
        .filter(|table| key_asked(options, &table.name).is_some())
    {
        let own = fold(&table.name);
        let parent = table.foreign_keys.iter().find_map(|key| {
            let [column] = key.columns[..] else {
                return None;
            };
            let parent = plain.table(&key.parent)?;
            let referred = match key.parent_columns.first() {
                Some(name) => parent.resolve(name)?,
                None => *parent.primary_key.first()?,
            };
            let is_key = |table: &Table, column: usize| {
                keys.get(&fold(&table.name)) == Some(&fold(&table.columns[column].name))
            };
            let is_other = fold(&parent.name) != own;
            (is_other && is_key(table, column) && is_key(parent, referred))
                .then(|| parent.name.clone())
        });
        if let (Some(parent), Some(Declaration::Sharded { colocate_with, .. })) =
            (parent, declarations.get_mut(&own))
        {
            *colocate_with = Some(parent);
        }
    }
}

/// Notes the keys of a table of a file, and returns how many rows have none.
fn note_keys(file: &File, table: &Table, number: usize, keys: &KeySet) -> Result<u64, Error> {
    let (Some(key), Some(column)) = (table.shard_key(), table.key_column()) else {
        return Ok(0);
    };
    let (name, from) = (
        quote_identifier(&column.name),
        quote_identifier(&table.name),
    );
    let rules = KeyRules::from(column);
    let read = || {
        let sql = format!("SELECT DISTINCT {name} FROM main.{from} WHERE {name} IS NOT NULL");
        let mut statement = file.source.connection().prepare(&sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let value = own_value(row.get_ref(0)?);
            if let Some(key) = HomeKey::of(&key.group, &rules.canonical(value.as_ref())) {
                keys.add(&key, number)?;
            }
        }
        Ok(())
    };
    read().map_err(|error| file.source.error(error))?;
    file.count(&format!(
        "SELECT count(*) FROM main.{from} WHERE {name} IS NULL"
    ))
}
