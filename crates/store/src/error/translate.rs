//! From SQLite's result codes to [`Error`].

use std::{path::Path, sync::Arc};

use rusqlite::{ErrorCode, ffi};

use super::{ConstraintKind, Error, Holder};

impl Error {
    /// Translates a failure that may concern the file.
    pub(crate) fn from_sqlite(error: rusqlite::Error, path: &Arc<Path>) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                Self::from_code(failure, message, Some(path), None)
            }
            rusqlite::Error::SqlInputError {
                error, msg, offset, ..
            } => Self::from_code(error, Some(msg), Some(path), usize::try_from(offset).ok()),
            other => Self::from_misuse(other),
        }
    }

    /// Translates a failure that concerns the statement alone, as binding a value does.
    pub(crate) fn from_statement(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                Self::from_code(failure, message, None, None)
            }
            other => Self::from_misuse(other),
        }
    }

    fn from_misuse(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::MultipleStatement => Self::MultipleStatements,
            rusqlite::Error::InvalidQuery => Self::NotAQuery,
            rusqlite::Error::InvalidParameterName(name) => Self::UnknownParameter { name },
            rusqlite::Error::InvalidParameterCount(given, expected) => {
                Self::Parameters { expected, given }
            }
            other => Self::Sql {
                message: other.to_string(),
                offset: None,
            },
        }
    }

    fn from_code(
        failure: ffi::Error,
        message: Option<String>,
        path: Option<&Arc<Path>>,
        offset: Option<usize>,
    ) -> Self {
        let code = failure.extended_code;
        let message = message.unwrap_or_else(|| ffi::code_to_str(code).to_owned());
        if let Some(path) = path
            && let Some(error) = Self::of_file(failure.code, code, &message, path)
        {
            return error;
        }
        match failure.code {
            ErrorCode::ConstraintViolation => Self::Constraint {
                kind: ConstraintKind::of_code(code),
                message,
            },
            ErrorCode::OperationInterrupted => Self::Interrupted,
            ErrorCode::OutOfMemory => Self::OutOfMemory,
            ErrorCode::TooBig => Self::TooBig { message },
            ErrorCode::Unknown if code & 0xff == ffi::SQLITE_ERROR => Self::Sql { message, offset },
            ErrorCode::TypeMismatch
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::ParameterOutOfRange => Self::Sql { message, offset },
            _ => Self::Sqlite { code, message },
        }
    }

    fn of_file(kind: ErrorCode, code: i32, message: &str, path: &Arc<Path>) -> Option<Self> {
        let path = Arc::clone(path);
        let message = || message.to_owned();
        Some(match kind {
            ErrorCode::DatabaseCorrupt => Self::Corrupt {
                path,
                message: message(),
            },
            ErrorCode::NotADatabase => Self::NotADatabase { path },
            ErrorCode::DiskFull => Self::Full { path },
            ErrorCode::ReadOnly => Self::ReadOnly { path },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy {
                path,
                holder: match code {
                    ffi::SQLITE_BUSY_SNAPSHOT => Holder::NewerCommit,
                    _ => Holder::Lock,
                },
            },
            ErrorCode::CannotOpen => Self::CannotOpen {
                path,
                message: message(),
            },
            ErrorCode::SystemIoFailure => Self::Disk {
                path,
                code,
                message: message(),
            },
            _ => return None,
        })
    }
}

impl ConstraintKind {
    fn of_code(code: i32) -> Self {
        match code {
            ffi::SQLITE_CONSTRAINT_UNIQUE => Self::Unique,
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Self::PrimaryKey,
            ffi::SQLITE_CONSTRAINT_ROWID => Self::RowId,
            ffi::SQLITE_CONSTRAINT_NOTNULL => Self::NotNull,
            ffi::SQLITE_CONSTRAINT_CHECK => Self::Check,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Self::ForeignKey,
            ffi::SQLITE_CONSTRAINT_TRIGGER => Self::Trigger,
            ffi::SQLITE_CONSTRAINT_DATATYPE => Self::DataType,
            _ => Self::Other,
        }
    }
}
