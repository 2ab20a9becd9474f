//! What the other protocols of a node ask of its gateway: statements, transactions, and what a statement takes and gives.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value as Json;
use shardwright_http::{
    Token,
    axum::{
        body::{Bytes, to_bytes},
        http::header::{AUTHORIZATION, CONTENT_TYPE},
        response::Response,
    },
    relayed_answer,
};
use shardwright_registry::Clock;
use shardwright_sql::{
    Answer, Description, Error, ResultColumn, ShardedDatabase, Tier, Value,
    json::from_json,
    shards::{Fault, FaultKind, Fragment},
};
use shardwright_topology::NodeId;

use super::{
    Shared,
    engine::Engine,
    http::{Outcome, run},
    pass_on::FORWARDED,
    request::SqlRequest,
    transaction::{Begin, Transaction},
    way::{There, Way},
};

/// How long a statement waits for what it needs, if nothing else is said.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer of another node is waited for: as long as the statements of one request may take.
const PASSED_ON: Duration = Duration::from_secs(310);

/// A statement with the values of its parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) sql: String,
    /// By number.
    pub(crate) positional: Vec<Value>,
    /// By name.
    pub(crate) named: Vec<(String, Value)>,
}

impl Call {
    /// Returns a statement without parameters.
    pub(crate) fn plain(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            ..Self::default()
        }
    }

    pub(super) fn fragment(&self) -> Fragment {
        let named = self.named.iter();
        Fragment {
            named: named
                .map(|(name, value)| (name.as_str().into(), value.clone()))
                .collect(),
            ..Fragment::new(&*self.sql, self.positional.clone())
        }
    }
}

/// Why a statement was not run, or what it failed with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Deserialize)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    #[serde(rename = "retryable")]
    pub(crate) is_retryable: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            hint: error.hint(),
            is_retryable: error.is_retryable(),
        }
    }
}

impl Refusal {
    /// Returns one of a fault of this node.
    pub(super) fn of(kind: FaultKind, message: &str) -> Self {
        Fault::new(kind, message).at("gateway").into()
    }
}

/// What came of a request that was for another node.
pub(crate) enum Passed {
    /// It has answered.
    Answered(Response),
    /// It cannot be reached, or is not known here, and has heard nothing.
    Unreachable,
    /// The answer was lost.
    Lost,
}

/// A client in this process. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(super) shared: Arc<Shared>,
    token: Option<Token>,
}

impl Client {
    pub(super) fn new(shared: &Arc<Shared>, token: Option<&Token>) -> Self {
        Self {
            shared: Arc::clone(shared),
            token: token.cloned(),
        }
    }

    /// Returns the token that requests have to carry.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// Returns the name of the keyspace.
    pub(crate) fn keyspace(&self) -> &str {
        self.shared.keyspace.as_str()
    }

    /// Runs a statement by itself, as `POST /v1/sql` does.
    ///
    /// # Errors
    /// Why it was not run, or what it failed with.
    pub(crate) async fn run(&self, call: &Call) -> Result<Answer, Refusal> {
        self.ask(call, &[]).await
    }

    /// Makes changes of the schema, and inserts rows into tables of the catalog with them: all or nothing.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub(crate) async fn run_together(&self, calls: &[Call]) -> Result<Answer, Refusal> {
        match calls {
            [] => Ok(nothing_done()),
            [first, others @ ..] => self.ask(first, others).await,
        }
    }

    async fn ask(&self, call: &Call, together: &[Call]) -> Result<Answer, Refusal> {
        let request = SqlRequest::of(call, together);
        let plain = SqlRequest::of(&Call::plain(&*call.sql), &[]);
        let statement = plain.statement(&self.shared.keyspace);
        // Without values there is nothing in it that could be wrong.
        let mut statement = statement.map_err(|error| Refusal {
            code: "BAD_REQUEST".to_owned(),
            message: error.to_string(),
            hint: None,
            is_retryable: false,
        })?;
        statement.positional.clone_from(&call.positional);
        statement.named.clone_from(&call.named);
        statement.together = together.to_vec();
        match run(&self.shared, &request, statement, false, None).await {
            Outcome::Ran { answer, .. } => Ok(answer),
            Outcome::Told(response) => told(response).await,
        }
    }

    /// Tells what a statement takes and gives.
    ///
    /// # Errors
    /// What SQLite says of it, or why it would be refused.
    pub(crate) async fn describe(&self, sql: &str) -> Result<Description, Refusal> {
        let engine = self.engine().await?;
        let described = engine.database.describe(sql);
        let described = match described {
            // It may be about a table that another node has made.
            Err(Error::Sql { .. } | Error::UnknownTable { .. })
                if engine.refresh(PATIENCE).await =>
            {
                engine.database.describe(sql)
            }
            described => described,
        };
        Ok(described?)
    }

    /// Returns the database as this node knows it now, if there is one yet.
    pub(crate) async fn database(&self) -> Option<ShardedDatabase> {
        let engine = self.shared.engines.get(Duration::ZERO).await?;
        Some(engine.database)
    }

    /// Begins a transaction. It takes no lock before its first statement.
    pub(crate) fn begin(&self, begin: Begin) -> Transaction {
        Transaction::new(self.clone(), begin)
    }

    pub(super) async fn engine(&self) -> Result<Engine, Refusal> {
        let engine = self.shared.engines.get(PATIENCE).await;
        engine.ok_or_else(|| Refusal {
            code: "NO_KEYSPACE".to_owned(),
            message: "the keyspace has not been set up yet".to_owned(),
            hint: Some("its shards are created once coordinators and nodes run".to_owned()),
            is_retryable: true,
        })
    }

    /// Whether a request was passed on by another node's gateway. It is not passed on again.
    pub(crate) const FORWARDED: &'static str = FORWARDED;

    /// Passes a request with a body of JSON on to another node.
    pub(crate) async fn pass_on(&self, node: &NodeId, path: &str, body: Bytes) -> Passed {
        let Ok(engine) = self.engine().await else {
            return Passed::Unreachable;
        };
        let Some(Way::There(There {
            url, client, token, ..
        })) = engine.cluster.way(node)
        else {
            return Passed::Unreachable;
        };
        let mut sending = client
            .post(format!("{url}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(FORWARDED, engine.cluster.router.node().as_str())
            .timeout(PASSED_ON)
            .body(body);
        if let Some(token) = &token {
            sending = sending.header(AUTHORIZATION, token.header());
        }
        match sending.send().await {
            Ok(answer) => Passed::Answered(relayed_answer(answer)),
            Err(error) if error.is_connect() => Passed::Unreachable,
            Err(_) => Passed::Lost,
        }
    }
}

/// The answer of a statement that has nothing to do.
fn nothing_done() -> Answer {
    Answer {
        columns: Vec::new(),
        rows: Vec::new(),
        changes: 0,
        last_insert_rowid: None,
        places: Vec::new(),
        tier: Tier::Schema,
        reason: "there is nothing to do".to_owned(),
    }
}

/// Takes a reply apart: of a failure, or of the node that has run the statement.
async fn told(response: Response) -> Result<Answer, Refusal> {
    let unreadable = || {
        let message = "the node that ran the statement has answered what is no answer";
        Refusal::of(FaultKind::Indeterminate, message)
    };
    let body = to_bytes(response.into_body(), usize::MAX).await;
    let body: Json =
        serde_json::from_slice(&body.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
    if let Some(error) = body.get("error") {
        return Err(Refusal::deserialize(error).map_err(|_| unreadable())?);
    }
    answer(&body).ok_or_else(unreadable)
}

/// Reads the answer of another node's `POST /v1/sql`.
fn answer(body: &Json) -> Option<Answer> {
    let names = body.get("columns")?.as_array()?;
    let types = body.get("types").and_then(Json::as_array);
    let of_column = |(index, name): (usize, &Json)| {
        let declared = types.and_then(|types| types.get(index)?.as_str());
        Some(ResultColumn {
            name: name.as_str()?.to_owned(),
            declared_type: declared.map(str::to_owned),
        })
    };
    let row = |row: &Json| -> Option<Vec<Value>> {
        let values = row.as_array()?.iter();
        values.map(|value| from_json(value).ok()).collect()
    };
    let places = body.get("shards")?.as_array()?.iter();
    Some(Answer {
        columns: names
            .iter()
            .enumerate()
            .map(of_column)
            .collect::<Option<_>>()?,
        rows: body
            .get("rows")?
            .as_array()?
            .iter()
            .map(row)
            .collect::<Option<_>>()?,
        changes: body.get("changes")?.as_u64()?,
        last_insert_rowid: body.get("last_insert_rowid").and_then(Json::as_i64),
        places: places
            .map(|place| place.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
        tier: Tier::Broadcast,
        reason: "the keyspace's writer has run it".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_answer_of_another_node_is_read() {
        let body = json!({
            "columns": ["id", "x"], "types": ["INTEGER", null], "rows": [[1, 2.5]], "changes": 1,
            "last_insert_rowid": 7, "shards": ["shard-0"], "token": {},
        });
        let answer = answer(&body).unwrap();
        assert_eq!(answer.columns[0].declared_type.as_deref(), Some("INTEGER"));
        assert_eq!(answer.columns[1].declared_type, None);
        assert_eq!(answer.rows, [[Value::from(1), Value::from(2.5)]]);
        assert_eq!((answer.changes, answer.last_insert_rowid), (1, Some(7)));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in [json!({}), json!({"columns": 1}), json!([1])] {
            assert!(answer(&body).is_none(), "{body}");
        }
    }
}
