//! The body of `POST /v1/sql`, and what is answered.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_http::axum::{
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use shardwright_sql::{
    Answer, Error, Key, ShardedDatabase, Value, WriteMode,
    json::{InvalidValue, from_json, to_json},
    shards::Fragment,
};
use shardwright_topology::{KeyspaceName, ShardId};

use super::{
    client::Call,
    cluster::{Reached, milliseconds},
    numbers::Numbered,
    view::{Noted, Wanted},
    wire::{CommitLevel, Point},
};

/// How long a statement may take if its client does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a statement may take at most.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// A request as it comes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    pub(super) sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Args>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default)]
    read: Read,
    #[serde(default)]
    commit: Commit,
    #[serde(default)]
    write: Writing,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    token: BTreeMap<String, (u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keyspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    together: Vec<Further>,
}

/// A statement that is made together with the one of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Further {
    sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Args>,
}

/// The values of the parameters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Args {
    ByPosition(Vec<Json>),
    ByName(BTreeMap<String, Json>),
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    #[default]
    Leased,
    Consistent,
    Any,
    AtLeast,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Commit {
    One,
    #[default]
    Quorum,
    All,
}

/// What a write to several shards does.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Writing {
    #[default]
    Atomic,
    Single,
    BestEffort,
}

/// Values by the names of their parameters.
type Named = Vec<(String, Value)>;

/// A statement with all that its client said of it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) positional: Vec<Value>,
    pub(super) named: Named,
    pub(super) key: Option<Key>,
    pub(super) table: Option<String>,
    pub(super) freshness: Wanted,
    pub(super) level: CommitLevel,
    pub(super) mode: WriteMode,
    pub(super) within: Duration,
    pub(super) numbered: Option<Numbered>,
    /// What is made together with it: changes of the schema, and rows of the catalog.
    pub(super) together: Vec<Call>,
}

impl SqlRequest {
    /// Returns the request of a client that speaks another protocol.
    pub(super) fn of(call: &Call, together: &[Call]) -> Self {
        Self {
            sql: call.sql.clone(),
            args: Args::of(call),
            together: together.iter().map(Further::of).collect(),
            ..Self::default()
        }
    }

    /// Says what is meant.
    pub(super) fn statement(&self, keyspace: &KeyspaceName) -> Result<Statement, BadRequest> {
        let (positional, named) = values(self.args.as_ref())?;
        let together = self.together.iter().map(|further| {
            let (positional, named) = values(further.args.as_ref())?;
            Ok(Call {
                sql: further.sql.clone(),
                positional,
                named,
            })
        });
        let together = together.collect::<Result<_, BadRequest>>()?;
        let key = match &self.key {
            Some(key) => Some(Key::new(value("key", key)?)),
            None => None,
        };
        let numbered = match (&self.client, self.seq) {
            (Some(client), Some(seq)) => Some(Numbered::by_client(client, seq)),
            (None, None) => None,
            _ => return Err(BadRequest::HalfNumber),
        };
        let within = self.timeout_ms.map_or(TIMEOUT, Duration::from_millis);
        Ok(Statement {
            sql: self.sql.clone(),
            positional,
            named,
            key,
            table: self.table.clone(),
            freshness: self.freshness(keyspace)?,
            level: match self.commit {
                Commit::One => CommitLevel::One,
                Commit::Quorum => CommitLevel::Quorum,
                Commit::All => CommitLevel::All,
            },
            mode: match self.write {
                Writing::Atomic => WriteMode::Atomic,
                Writing::Single => WriteMode::Single,
                Writing::BestEffort => WriteMode::BestEffort,
            },
            within: within.min(TIMEOUT_MAX),
            numbered,
            together,
        })
    }

    /// Returns the same request with less time.
    pub(super) fn within(&self, left: Duration) -> Self {
        Self {
            timeout_ms: Some(milliseconds(left)),
            ..self.clone()
        }
    }

    fn freshness(&self, keyspace: &KeyspaceName) -> Result<Wanted, BadRequest> {
        Ok(match self.read {
            Read::Leased => Wanted::Leased,
            Read::Consistent => Wanted::Consistent,
            Read::Any => Wanted::Any,
            Read::AtLeast if self.token.is_empty() => return Err(BadRequest::NoToken),
            Read::AtLeast => {
                let mut reached = Reached::new();
                for (shard, (epoch, lsn)) in &self.token {
                    let shard = PartitionId {
                        keyspace: keyspace.clone(),
                        shard: ShardId::new(shard).map_err(|_| BadRequest::BadToken)?,
                    };
                    let (epoch, lsn) = (*epoch, *lsn);
                    reached.insert(shard, Point { epoch, lsn });
                }
                Wanted::AtLeast(Arc::new(reached))
            }
        })
    }
}

impl Statement {
    /// Runs it with what is to happen together with it. It waits for shards.
    pub(super) fn run_together(&self, handle: &ShardedDatabase) -> Result<Answer, Error> {
        let first = Call {
            sql: self.sql.clone(),
            positional: self.positional.clone(),
            named: self.named.clone(),
        };
        let all = std::iter::once(&first).chain(&self.together);
        let all: Vec<Fragment> = all.map(Call::fragment).collect();
        Fragment::with_calls(&all, |calls| handle.execute_together(calls))
    }
}

impl Args {
    fn of(call: &Call) -> Option<Self> {
        if !call.named.is_empty() {
            let named = call.named.iter();
            let named = named.map(|(name, value)| (name.clone(), to_json(value)));
            return Some(Self::ByName(named.collect()));
        }
        let positional = call.positional.iter().map(to_json).collect();
        (!call.positional.is_empty()).then_some(Self::ByPosition(positional))
    }
}

impl Further {
    fn of(call: &Call) -> Self {
        Self {
            sql: call.sql.clone(),
            args: Args::of(call),
        }
    }
}

fn values(args: Option<&Args>) -> Result<(Vec<Value>, Named), BadRequest> {
    match args {
        None => Ok((Vec::new(), Vec::new())),
        Some(Args::ByPosition(args)) => {
            let values = args.iter().map(|arg| value("args", arg));
            Ok((values.collect::<Result<_, _>>()?, Vec::new()))
        }
        Some(Args::ByName(args)) => {
            let named = args.iter().map(|(name, arg)| {
                let value = value("args", arg)?;
                Ok((name.clone(), value))
            });
            Ok((Vec::new(), named.collect::<Result<_, BadRequest>>()?))
        }
    }
}

fn value(field: &'static str, json: &Json) -> Result<Value, BadRequest> {
    from_json(json).map_err(|source| BadRequest::Value { field, source })
}

/// Why a request cannot be meant.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("the body is not a request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{field}: {source}")]
    Value {
        field: &'static str,
        source: InvalidValue,
    },
    #[error("`client` and `seq` belong together")]
    HalfNumber,
    #[error("`read: at_least` needs the `token` of an earlier answer")]
    NoToken,
    #[error("the token names a shard that cannot be")]
    BadToken,
}

/// Returns the reply to a statement that was run.
pub(super) fn reply(answer: &Answer, noted: &Noted, is_any: bool) -> Response {
    let names = answer
        .columns
        .iter()
        .map(|column| Json::from(&*column.name));
    let types = answer.columns.iter();
    let types = types.map(|column| Json::from(column.declared_type.as_deref()));
    let row = |row: &Vec<Value>| row.iter().map(to_json).collect::<Json>();
    let token = noted.reached.iter().map(|(shard, point)| {
        let place = json!([point.epoch, point.lsn]);
        (shard.shard.to_string(), place)
    });
    let mut body = json!({
        "columns": names.collect::<Json>(),
        "types": types.collect::<Json>(),
        "rows": answer.rows.iter().map(row).collect::<Json>(),
        "changes": answer.changes,
        "last_insert_rowid": answer.last_insert_rowid,
        "shards": answer.places,
        "token": token.collect::<serde_json::Map<_, _>>(),
    });
    if is_any {
        body["lag"] = noted.lag.into();
    }
    json_response(StatusCode::OK, &body)
}

/// Returns the reply to a statement that failed.
pub(super) fn failure(error: &Error) -> Response {
    let status = match error.code() {
        "SQL_ERROR" | "CONSTRAINT" | "PARAMETERS" => StatusCode::BAD_REQUEST,
        "INDETERMINATE" => StatusCode::GATEWAY_TIMEOUT,
        _ if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
        "CANNOT_FINISH" | "STORE" | "IO" | "CORRUPT" | "MISSING_FILE" | "WRONG_FILE"
        | "UNKNOWN_FORMAT" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    };
    problem(
        status,
        error.code(),
        &error.to_string(),
        error.hint().as_deref(),
        error.is_retryable(),
    )
}

/// Returns the body that tells of an error.
pub(super) fn problem(
    status: StatusCode,
    code: &str,
    message: &str,
    hint: Option<&str>,
    is_retryable: bool,
) -> Response {
    let error = json!({
        "code": code,
        "message": message,
        "hint": hint,
        "retryable": is_retryable,
    });
    json_response(status, &json!({ "error": error }))
}

fn json_response(status: StatusCode, body: &Json) -> Response {
    let body = Body::from(body.to_string());
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
