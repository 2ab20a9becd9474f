//! The codes of errors, and what a caller can do about them.

use super::Error;
use crate::shards::FaultKind;

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sql { .. } => "SQL_ERROR",
            Self::Constraint { .. } => "CONSTRAINT",
            Self::Store { source, .. } => FaultKind::of(source).code(),
            Self::Place { fault, .. } => fault.kind.code(),
            Self::Io { .. } => "IO",
            Self::KeyMismatch { .. } => "KEY_MISMATCH",
            Self::AmbiguousKey { .. } => "AMBIGUOUS_KEY",
            Self::NullKey { .. } => "NULL_KEY",
            Self::KeyRequired { .. } => "KEY_REQUIRED",
            Self::MultiShardWrite { .. } => "MULTI_SHARD_WRITE",
            Self::PartialWrite { .. } => "PARTIAL_WRITE",
            Self::Unfinished { .. } => FaultKind::Indeterminate.code(),
            Self::CannotFinish { .. } => "CANNOT_FINISH",
            Self::Aborted { .. } => "COMMIT_ABORTED",
            Self::ShardKeyUpdate { .. } => "SHARD_KEY_UPDATE",
            Self::NotShardLocal { .. } => "NOT_SHARD_LOCAL",
            Self::CrossShardTransaction { .. } => "CROSS_SHARD_TRANSACTION",
            Self::NoPrimaryKey { .. } => "NO_PRIMARY_KEY",
            Self::UnknownTable { .. } => "UNKNOWN_TABLE",
            Self::WrongShard { .. } => "WRONG_SHARD",
            Self::Registry { .. } | Self::OpenRegistry { .. } | Self::BadSchemaRecord { .. } => {
                "REGISTRY"
            }
            Self::NotSharded { .. } => "NOT_SHARDED",
            Self::GlobalIndex { .. } => "GLOBAL_INDEX",
            Self::UnknownColumn { .. } => "UNKNOWN_COLUMN",
            Self::UnknownShard { .. } => "SHARD_NOT_FOUND",
            Self::Undeclared { .. } => "UNDECLARED_TABLE",
            Self::BadDeclaration { .. } => "BAD_DECLARATION",
            Self::BadColocation { .. } => "BAD_COLOCATION",
            Self::UnlikeKeys { .. } => "UNLIKE_KEYS",
            Self::GeneratedKey { .. } => "GENERATED_KEY",
            Self::TriggerNotLocal { .. } => "TRIGGER_NOT_LOCAL",
            Self::GlobalConflict { .. } => "GLOBAL_CONFLICT",
            Self::NoRoom { .. } => "NO_ROOM",
            Self::HomeTaken { .. } => "HOME_TAKEN",
            Self::LookupTaken { .. } => "LOOKUP_TAKEN",
            Self::LookupSecret { .. } => "LOOKUP_SECRET",
            Self::Unsupported { .. } => "UNSUPPORTED",
            Self::MissingParameter { .. } => "PARAMETERS",
            Self::LimitReached { .. } => "LIMIT_REACHED",
            Self::OutOfTime { .. } => FaultKind::OutOfTime.code(),
            Self::Locked { .. } => "LOCKED",
            Self::ReadOnly { .. } => "READ_ONLY",
            Self::NotADatabase { .. } => "NOT_A_DATABASE",
            Self::NotEmpty { .. } => "NOT_EMPTY",
            Self::MissingFile { .. } => "MISSING_FILE",
            Self::ImportUnfinished { .. } => "IMPORT_UNFINISHED",
            Self::Damaged { .. } => "DAMAGED",
            Self::NotSqlite { .. } => "NOT_SQLITE",
            Self::SourceChanged { .. } => "SOURCE_CHANGED",
            Self::RowsLost { .. } => "ROWS_LOST",
            Self::NotAdoptable { .. } => "NOT_ADOPTABLE",
            Self::Exists { .. } => "EXISTS",
            Self::BadShardCount { .. } => "BAD_SHARD_COUNT",
        }
    }

    /// What the caller can do about it, where that is not plain from the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::KeyMismatch { .. } => "call with the key of the statement, or leave the key out".into(),
            Self::AmbiguousKey { .. } => "name the key space with Key::in_group".into(),
            Self::NullKey { table, .. } => format!(
                "give every row of {table} a key, or declare the table with null_keys=keep, so that such rows live together on one shard"
            ),
            Self::KeyRequired { table, column } => {
                format!("give {column} in the INSERT into {table} as a literal or a parameter")
            }
            Self::MultiShardWrite { table, .. } => format!(
                "add the shard key of {table} to the WHERE clause, write shard by shard, or ask for best effort"
            ),
            Self::PartialWrite { .. } => "repeat the statement where it failed; it is committed elsewhere".into(),
            Self::Unfinished { .. } => "look whether the change is there; it is finished before the next one".into(),
            Self::CannotFinish { .. } => "remove what is in the way of the earlier change, as the message says, and repeat the statement".into(),
            Self::WrongShard { .. } => "call with the key, or without a shard: the row finds its own".into(),
            Self::ShardKeyUpdate { .. } => "insert the row under its new key and delete the old one".into(),
            Self::NotShardLocal { table, other } => {
                format!("colocate {other} with {table}, make it a reference table, or read first and write by key")
            }
            Self::CrossShardTransaction { .. } => "use one transaction for each shard".into(),
            Self::NoPrimaryKey { remedy, .. } => {
                format!("rebuild it with one, then create its indexes and triggers again: {remedy}")
            }
            Self::GeneratedKey { table, .. } => format!("choose a column that the rows of {table} store"),
            Self::BadDeclaration { .. } => {
                "write /* shardwright: shard_key=COLUMN [colocate_with=TABLE] [null_keys=keep] */, /* shardwright: reference */ or /* shardwright: global */".into()
            }
            Self::UnlikeKeys { .. } => "give the key columns the same type and collation".into(),
            Self::GlobalIndex { column, .. } => {
                format!("add {column} to the index, or write its terms as plain columns")
            }
            Self::TriggerNotLocal { table, .. } => {
                format!("let the trigger reach only rows with the same key, or declare {table} global")
            }
            Self::Aborted { refusal, .. } if refusal.is_retryable() => "run the transaction again from its start; nothing of it has happened".into(),
            Self::GlobalConflict { .. } => "delete the other row first, by its own key".into(),
            Self::NoRoom { .. } => "raise max_database_size, or delete rows; keys that have their homes can go on growing".into(),
            Self::LookupTaken { .. } => "remove it from the other record first".into(),
            Self::LookupSecret { path } => format!(
                "put {path} back from a copy; without it, give the records their lookup keys anew"
            ),
            Self::Unsupported { hint, .. } => (*hint).to_owned(),
            Self::LimitReached { .. } => "narrow the statement, or raise the limit".into(),
            Self::OutOfTime { .. } => FaultKind::OutOfTime.hint()?.to_owned(),
            Self::Locked { .. } => "close the other process, or open for reading".into(),
            Self::ImportUnfinished { .. } => "run the same import again: it continues".into(),
            Self::NotAdoptable { .. } => "mend what is in the way, adopt other tables or keys, or import the files, which copies the rows".into(),
            Self::SourceChanged { .. } => "let nobody write to the file meanwhile, and try again".into(),
            Self::RowsLost { .. } => "remove the directory and import again; if it happens again, check the disk".into(),
            Self::NotEmpty { .. } => "name a directory that does not exist yet, or an empty one".into(),
            Self::MissingFile { .. } => "put the file back from a copy; the other shards are intact".into(),
            Self::UnknownShard { .. } => "list the shards with `shardwright shards DIR`".into(),
            Self::Store { source, .. } => FaultKind::of(source).hint()?.to_owned(),
            Self::Place { fault, .. } => fault.kind.hint()?.to_owned(),
            _ => return None,
        })
    }

    /// Whether the statement was refused by a rule of sharding rather than by SQLite or the system.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::KeyMismatch { .. }
            | Self::WrongShard { .. }
            | Self::AmbiguousKey { .. }
            | Self::NullKey { .. }
            | Self::KeyRequired { .. }
            | Self::MultiShardWrite { .. }
            | Self::ShardKeyUpdate { .. }
            | Self::NotShardLocal { .. }
            | Self::CrossShardTransaction { .. }
            | Self::NoPrimaryKey { .. }
            | Self::BadColocation { .. }
            | Self::UnlikeKeys { .. }
            | Self::GeneratedKey { .. }
            | Self::TriggerNotLocal { .. }
            | Self::GlobalIndex { .. }
            | Self::GlobalConflict { .. }
            | Self::NoRoom { .. }
            | Self::LookupTaken { .. }
            | Self::Unsupported { .. }
            | Self::Locked { .. }
            | Self::ReadOnly { .. }
            | Self::NotEmpty { .. }
            | Self::Exists { .. }
            | Self::NotAdoptable { .. }
            | Self::ImportUnfinished { .. } => true,
            Self::Sql { .. }
            | Self::Constraint { .. }
            | Self::Store { .. }
            | Self::Place { .. }
            | Self::Io { .. }
            | Self::PartialWrite { .. }
            | Self::Unfinished { .. }
            | Self::CannotFinish { .. }
            | Self::Aborted { .. }
            | Self::HomeTaken { .. }
            | Self::LookupSecret { .. }
            | Self::UnknownTable { .. }
            | Self::Registry { .. }
            | Self::OpenRegistry { .. }
            | Self::BadSchemaRecord { .. }
            | Self::NotSharded { .. }
            | Self::UnknownColumn { .. }
            | Self::UnknownShard { .. }
            | Self::Undeclared { .. }
            | Self::BadDeclaration { .. }
            | Self::MissingParameter { .. }
            | Self::LimitReached { .. }
            | Self::OutOfTime { .. }
            | Self::NotADatabase { .. }
            | Self::MissingFile { .. }
            | Self::Damaged { .. }
            | Self::NotSqlite { .. }
            | Self::SourceChanged { .. }
            | Self::RowsLost { .. }
            | Self::BadShardCount { .. } => false,
        }
    }

    /// Whether the same call may succeed if it is made again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.is_retryable(),
            Self::Place { fault, .. } => fault.kind.is_retryable(),
            Self::Registry { source } => source.is_retryable(),
            Self::Aborted { refusal, .. } => refusal.is_retryable(),
            Self::Locked { .. }
            | Self::SourceChanged { .. }
            | Self::OutOfTime { .. }
            | Self::HomeTaken { .. } => true,
            _ => false,
        }
    }
}
