//! What can go wrong, each with a stable code and, where one helps, a hint.

mod advice;

use std::time::Duration;

/// An error of the sharded database.
///
/// Nothing has changed unless the variant says otherwise. [`Error::code`] is stable; messages may improve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite refused the statement.
    #[error("{message}")]
    Sql {
        /// SQLite's own message.
        message: String,
    },
    /// A constraint refused the write.
    #[error("{message}")]
    Constraint {
        /// SQLite's own message.
        message: String,
    },
    /// A shard's file answered with an error.
    #[error("{place}: {source}")]
    Store {
        /// The shard, or `catalog`.
        place: String,
        /// The error of the file.
        source: shardwright_store::Error,
    },
    /// A place that is not a file of this process answered with an error.
    #[error("{place}: {fault}")]
    Place {
        /// The shard, or `catalog`.
        place: String,
        /// What it said.
        fault: crate::shards::Fault,
    },
    /// A file or directory could not be used.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was attempted, such as "create directory".
        action: &'static str,
        /// The path.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The key given with the call is not the key in the statement. Nothing was run.
    #[error("the statement is about key {found} of table {table}, the call is for key {given}")]
    KeyMismatch {
        /// The table.
        table: String,
        /// The key of the call.
        given: String,
        /// The key of the statement.
        found: String,
    },
    /// A bare key was given, and the statement's tables have more than one key space.
    #[error("the key could be of any of the key spaces {}", .groups.join(", "))]
    AmbiguousKey {
        /// The key spaces.
        groups: Vec<String>,
    },
    /// A row has no shard key.
    #[error("the shard key {table}.{column} is NULL")]
    NullKey {
        /// The table.
        table: String,
        /// The shard-key column.
        column: String,
    },
    /// The shard key of a row cannot be found in the statement.
    #[error("the statement does not say the value of the shard key {table}.{column}")]
    KeyRequired {
        /// The table.
        table: String,
        /// The shard-key column.
        column: String,
    },
    /// A write reaches several shards and the caller did not ask for best effort. Nothing was run.
    #[error("the statement writes to {table} on {shards} shards")]
    MultiShardWrite {
        /// The table written.
        table: String,
        /// How many shards.
        shards: usize,
    },
    /// A best-effort write failed on a shard after others had committed.
    #[error("the statement committed on [{}] and failed on {failed}: {source}", .committed.join(", "))]
    PartialWrite {
        /// The shards that committed.
        committed: Vec<String>,
        /// The shard that failed.
        failed: String,
        /// Why.
        source: Box<Self>,
    },
    /// A change of the schema or of a reference table was written down and did not reach every place in time. It is
    /// finished before the next one, or when the database is next opened for writing.
    #[error("the change was begun and is not known to be at every place: {source}")]
    Unfinished {
        /// Why.
        source: Box<Self>,
    },
    /// An earlier change was written down, and a place refuses it for good. Until that is mended, nothing else may reach
    /// every place. Nothing was run of this statement.
    #[error("an earlier change has to reach every place first, and cannot: {source}")]
    CannotFinish {
        /// Why.
        source: Box<Self>,
    },
    /// A commit over several shards was refused, and has changed nothing. Where another commit or the time was in the way, it
    /// may be run again from its start.
    #[error("{place}: {refusal}")]
    Aborted {
        /// The shard that refused.
        place: String,
        /// Why.
        refusal: crate::commit::Refusal,
        /// The age that the commit had: one that begins again with it comes first some time.
        started: u64,
    },
    /// A statement changes a shard key in a way in which rows are not moved.
    #[error("the statement changes the shard key {table}.{column}")]
    ShardKeyUpdate {
        /// The table.
        table: String,
        /// The shard-key column.
        column: String,
    },
    /// A write needs rows of another place to be evaluated.
    #[error("the write to {table} also needs rows of {other}, which may be on another shard")]
    NotShardLocal {
        /// The table written.
        table: String,
        /// The table read.
        other: String,
    },
    /// A transaction is bound to one shard and a statement belongs to another.
    #[error("the transaction is on {bound}, the statement needs {wanted}")]
    CrossShardTransaction {
        /// Where the transaction is.
        bound: String,
        /// Where the statement belongs.
        wanted: String,
    },
    /// A table without a primary key was asked to be sharded.
    #[error("table {table} has no primary key")]
    NoPrimaryKey {
        /// The table.
        table: String,
        /// Statements that rebuild it with one.
        remedy: String,
    },
    /// There is no such table.
    #[error("no such table: {table}")]
    UnknownTable {
        /// The name.
        table: String,
    },
    /// A row was to be written to a shard that does not own its key. Nothing was written.
    #[error("key {key} of table {table} does not belong to {shard}")]
    WrongShard {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The shard of the call.
        shard: String,
    },
    /// The registry file answered with an error.
    #[error("registry: {source}")]
    Registry {
        /// The error of the registry.
        #[from]
        source: shardwright_registry::Error,
    },
    /// The registry file cannot be opened.
    #[error("registry: {source}")]
    OpenRegistry {
        /// Why.
        source: shardwright_registry::OpenError,
    },
    /// The schema in the registry cannot be read.
    #[error("the stored schema cannot be read: {message}")]
    BadSchemaRecord {
        /// Why.
        message: String,
    },
    /// The table's rows are not placed by a key.
    #[error("table {table} is not sharded")]
    NotSharded {
        /// The table.
        table: String,
    },
    /// A unique index does not contain the shard key, and has terms in a form that other shards cannot be asked about.
    #[error(
        "the unique index {index} on {table} does not contain the shard key {column}, and has terms that other shards cannot be asked about"
    )]
    GlobalIndex {
        /// The index.
        index: String,
        /// The table.
        table: String,
        /// The shard-key column.
        column: String,
    },
    /// There is no such column.
    #[error("table {table} has no column {column}")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The name.
        column: String,
    },
    /// There is no such shard.
    #[error("no such shard: {shard}")]
    UnknownShard {
        /// The name.
        shard: String,
    },
    /// A table has no declaration in the stored schema.
    #[error("table {table} is not declared in the stored schema")]
    Undeclared {
        /// The table.
        table: String,
    },
    /// A declaration in a comment is not understood.
    #[error("the declaration {word:?} is not understood")]
    BadDeclaration {
        /// The words.
        word: String,
    },
    /// A table is colocated with one that is not sharded or does not exist.
    #[error("table {table} cannot be colocated with {with}, which is not a sharded table")]
    BadColocation {
        /// The table.
        table: String,
        /// The other.
        with: String,
    },
    /// Keys of one group do not compare alike.
    #[error(
        "the shard keys of {table} and {other} do not compare alike, so they cannot share the key space {group}"
    )]
    UnlikeKeys {
        /// The key space.
        group: String,
        /// A table.
        table: String,
        /// Another.
        other: String,
    },
    /// A generated column was asked to be the shard key.
    #[error("the column {table}.{column} is generated and cannot be a shard key")]
    GeneratedKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A trigger may reach rows of another shard.
    #[error("trigger {trigger} on {table} reaches {reached}, whose rows may be on another shard")]
    TriggerNotLocal {
        /// The trigger.
        trigger: String,
        /// Its table.
        table: String,
        /// The table that it reaches.
        reached: String,
    },
    /// A row conflicts with one on another shard, and the statement says to resolve the conflict by a rule.
    #[error(
        "the row conflicts with one on {place} in {constraint}, and {rule} does not work over shards"
    )]
    GlobalConflict {
        /// Where the other row is.
        place: String,
        /// The columns that agree.
        constraint: String,
        /// The rule of the statement.
        rule: &'static str,
    },
    /// Every shard is as large as shards may get, so that there is no home for a new key. Nothing was written.
    #[error("all {shards} shards have reached the limit of {limit} bytes for new keys")]
    NoRoom {
        /// How many shards there are.
        shards: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// Another call has given a key of the statement its home meanwhile. Nothing was written; the statement may be run again.
    #[error("a key of {space} was given its home by another call meanwhile")]
    HomeTaken {
        /// The key space.
        space: String,
    },
    /// A lookup key leads to another record already. Nothing was written.
    #[error("a lookup key leads to another record of {space} already")]
    LookupTaken {
        /// The key space.
        space: String,
    },
    /// The secret of lookup keys is not the one, or not there. What was stored with it cannot be found without it.
    #[error("the secret with which lookup keys were hashed is not in {path}")]
    LookupSecret {
        /// The file.
        path: String,
    },
    /// The statement is one that a sharded database does not run.
    #[error("{what} is not supported on a sharded database")]
    Unsupported {
        /// The kind of statement.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// The statement has a parameter that the call gives no value.
    #[error("no value is given for parameter {number}")]
    MissingParameter {
        /// The parameter's number, from 1.
        number: usize,
    },
    /// A limit on rows or bytes was reached. A read has no effect; a write was rolled back.
    #[error("the statement reached its limit of {limit}")]
    LimitReached {
        /// The limit, with its unit.
        limit: String,
    },
    /// The statement took longer than it may. A read has no effect; a write was rolled back.
    #[error("the statement did not end within {} ms", limit.as_millis())]
    OutOfTime {
        /// The time that it had.
        limit: Duration,
    },
    /// Another process has the database open for writing.
    #[error("{path} is open for writing in another process")]
    Locked {
        /// The directory.
        path: String,
    },
    /// The database was opened for reading.
    #[error("the database is open for reading only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The directory holds no database.
    #[error("{path} holds no sharded database")]
    NotADatabase {
        /// The directory.
        path: String,
    },
    /// The directory already holds something.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// A file that the registry names is not there.
    #[error("the file of {place} is missing: {path}")]
    MissingFile {
        /// The shard, or `catalog`.
        place: String,
        /// The path.
        path: String,
    },
    /// An import into the directory was interrupted.
    #[error("an import into {path} was interrupted")]
    ImportUnfinished {
        /// The directory.
        path: String,
    },
    /// The file to import is damaged.
    #[error("{path} is damaged: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// What SQLite's check found first.
        message: String,
    },
    /// The file to import is not a SQLite database.
    #[error("{path} is not a SQLite database")]
    NotSqlite {
        /// The file.
        path: String,
    },
    /// The file to import was written to while it was read. What was read is worth nothing.
    #[error("{path} has changed while it was read")]
    SourceChanged {
        /// The file.
        path: String,
    },
    /// The rows that an import found in its files at the end are not those that it read.
    #[error("table {table} has {expected} rows in the source and {found} in the shards")]
    RowsLost {
        /// The table.
        table: String,
        /// The rows of the source.
        expected: u64,
        /// The rows of the shards.
        found: u64,
    },
    /// Files cannot be adopted in place as they are.
    #[error("the files cannot be adopted: {}", listed(.problems))]
    NotAdoptable {
        /// Everything that is in the way.
        problems: Vec<crate::adopt::Problem>,
    },
    /// A file of that name is in the way.
    #[error("{path} exists already")]
    Exists {
        /// The path.
        path: String,
    },
    /// The number of shards is out of range.
    #[error("{shards} shards are out of range: between 1 and {most}")]
    BadShardCount {
        /// The number asked for.
        shards: usize,
        /// The most that there can be.
        most: usize,
    },
}

fn listed(problems: &[crate::adopt::Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

impl Error {
    /// Whether the statement was refused because its plan is for another schema. Nothing was run.
    pub(crate) fn is_schema_change(&self) -> bool {
        matches!(self, Self::Place { fault, .. } if fault.kind == crate::shards::FaultKind::SchemaChanged)
    }

    /// Says at which place an error of a file arose; what SQLite says of the statement is the same everywhere.
    pub(crate) fn at(place: &str) -> impl FnOnce(shardwright_store::Error) -> Self + use<> {
        let place = place.to_owned();
        move |source| match source {
            shardwright_store::Error::Sql { message, .. } => Self::Sql { message },
            shardwright_store::Error::Constraint { message, .. } => Self::Constraint { message },
            source => Self::Store { place, source },
        }
    }

    pub(crate) fn from_sqlite(error: rusqlite::Error) -> Self {
        let message = match &error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => Self::Constraint { message },
            _ => Self::Sql { message },
        }
    }
}
