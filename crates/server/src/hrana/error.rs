//! Errors as Hrana has them: a message for people, and a code.

use serde::Serialize;
use shardwright_http::axum::{
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use shardwright_sql::schema::Schema;

use super::{condition::NoSuchStep, reply::NoRows, streams::Reason, texts::TextError};
use crate::gateway::{Client, Refusal};

/// What a statement, or another request of a stream, has failed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct StatementError {
    pub(super) message: String,
    pub(super) code: String,
}

impl StatementError {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: code.to_owned(),
        }
    }

    /// Says what a refusal of the gateway is for clients that expect SQLite's codes.
    pub(super) async fn of(refusal: Refusal, client: &Client) -> Self {
        let Refusal {
            code,
            mut message,
            hint,
            ..
        } = refusal;
        let code = match &*code {
            "CONSTRAINT" => {
                let schema = client.database().await.map(|database| database.schema());
                constraint(&message, schema.as_ref()).to_owned()
            }
            "SQL_ERROR" => "SQLITE_ERROR".to_owned(),
            "BUSY" => "SQLITE_BUSY".to_owned(),
            "READ_ONLY" => "SQLITE_READONLY".to_owned(),
            _ => code,
        };
        if let Some(hint) = hint {
            message = format!("{message} ({hint})");
        }
        Self { message, code }
    }
}

impl From<NoSuchStep> for StatementError {
    fn from(error: NoSuchStep) -> Self {
        Self::new("BATCH_COND_BAD_STEP", error.to_string())
    }
}

impl From<TextError> for StatementError {
    fn from(error: TextError) -> Self {
        let code = match error {
            TextError::Exists(_) => "SQL_STORE_EXISTS",
            TextError::Unknown(_) => "SQL_STORE_NOT_FOUND",
            TextError::TooMany => "SQL_STORE_TOO_MANY",
        };
        Self::new(code, error.to_string())
    }
}

impl From<NoRows> for StatementError {
    fn from(error: NoRows) -> Self {
        let code = match error {
            NoRows::Untold(_) => "VALUE_NOT_REPRESENTABLE",
            NoRows::TooLarge => "RESPONSE_TOO_LARGE",
        };
        Self::new(code, error.to_string())
    }
}

/// Returns SQLite's code of a constraint that has failed with a message.
fn constraint(message: &str, schema: Option<&Schema>) -> &'static str {
    let Some((kind, what)) = message.split_once(" constraint failed") else {
        return if message.starts_with("cannot store ") {
            "SQLITE_CONSTRAINT_DATATYPE"
        } else {
            // What a trigger raises has any message.
            "SQLITE_CONSTRAINT_TRIGGER"
        };
    };
    match kind {
        "UNIQUE" => {
            let is_primary = schema.is_some_and(|schema| is_primary_key(what, schema));
            if is_primary {
                "SQLITE_CONSTRAINT_PRIMARYKEY"
            } else {
                "SQLITE_CONSTRAINT_UNIQUE"
            }
        }
        "NOT NULL" => "SQLITE_CONSTRAINT_NOTNULL",
        "CHECK" => "SQLITE_CONSTRAINT_CHECK",
        "FOREIGN KEY" => "SQLITE_CONSTRAINT_FOREIGNKEY",
        _ => "SQLITE_CONSTRAINT",
    }
}

/// Whether columns such as `: t.a, t.b` are the primary key of their table.
fn is_primary_key(columns: &str, schema: &Schema) -> bool {
    let columns = columns.trim_start_matches(": ").split(", ");
    let columns: Option<Vec<(&str, &str)>> =
        columns.map(|column| column.rsplit_once('.')).collect();
    let Some(columns) = columns else {
        return false;
    };
    let Some(table) = columns.first().and_then(|(table, _)| schema.table(table)) else {
        return false;
    };
    let primary = table.primary_key.iter();
    let primary = primary.map(|&column| table.columns[column].name.as_str());
    primary.eq(columns.iter().map(|(_, column)| *column))
}

/// Why a whole request is refused.
#[derive(Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    error: StatementError,
}

impl HttpError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            error: StatementError::new(code, message),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }
}

impl From<Reason> for HttpError {
    fn from(reason: Reason) -> Self {
        let (status, code) = match reason {
            Reason::Invalid => (StatusCode::BAD_REQUEST, "BATON_INVALID"),
            Reason::Reused => (StatusCode::BAD_REQUEST, "BATON_REUSED"),
            Reason::Expired | Reason::RolledBack => (StatusCode::BAD_REQUEST, "STREAM_EXPIRED"),
            Reason::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_STREAMS"),
        };
        Self::new(status, code, reason.to_string())
    }
}

/// The error of a statement without a stream.
impl From<StatementError> for HttpError {
    fn from(error: StatementError) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        json_response(self.status, &self.error)
    }
}

/// Returns a reply with a body of JSON.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (
            status,
            [(CONTENT_TYPE, "application/json")],
            Body::from(body),
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "a reply cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use shardwright_sql::schema::StoredSchema;

    use super::*;

    fn schema() -> Schema {
        let object = |name: &str, sql: &str| shardwright_sql::schema::SchemaObject {
            kind: "table".to_owned(),
            name: name.to_owned(),
            table: name.to_owned(),
            sql: sql.to_owned(),
        };
        Schema::derive(StoredSchema {
            objects: vec![
                object("t", "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"),
                object("two", "CREATE TABLE two(a, b, PRIMARY KEY (b, a))"),
            ],
            declarations: ["t", "two"]
                .map(|name| {
                    (
                        name.to_owned(),
                        shardwright_sql::schema::Declaration::Global,
                    )
                })
                .into(),
            ..StoredSchema::default()
        })
        .unwrap()
    }

    #[track_caller]
    fn check(message: &str, expect: &str) {
        let code = constraint(message, Some(&schema()));
        assert_eq!(code, format!("SQLITE_CONSTRAINT{expect}"), "{message}");
    }

    #[test]
    fn constraints_have_the_codes_of_sqlite() {
        check("UNIQUE constraint failed: t.id", "_PRIMARYKEY");
        check("UNIQUE constraint failed: t.a", "_UNIQUE");
        check("UNIQUE constraint failed: two.b, two.a", "_PRIMARYKEY");
        check("UNIQUE constraint failed: index 'i'", "_UNIQUE");
        check("UNIQUE constraint failed: gone.id", "_UNIQUE");
        check("NOT NULL constraint failed: t.a", "_NOTNULL");
        check("CHECK constraint failed: a > 1", "_CHECK");
        check("FOREIGN KEY constraint failed", "_FOREIGNKEY");
        check("cannot store TEXT value in INTEGER column t.a", "_DATATYPE");
        check("no more beer", "_TRIGGER");
    }
}
