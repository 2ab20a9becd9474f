//! A client of `POST /v1/sql`, which any node answers.
//!
//! Each statement carries the client's name and a number of its own: a node that is asked twice does it once. So whatever was not
//! answered is sent again, to another node where there is one, until the time is up.

use std::{cell::Cell, str::FromStr, time::Duration};

use reqwest::{StatusCode, Url, header::AUTHORIZATION};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shardwright_coordinator::http::Token;
use shardwright_registry::Clock;
use shardwright_sql::{
    Value, json,
    statement::{StatementKind, kind_by_first_word},
};
use shardwright_topology::Backoff;
use tokio::runtime::Runtime;

use super::{
    CONNECT_TIMEOUT, ErrorBody, join,
    sql_error::{Fate, SqlError},
    streamed::Streamed,
};

/// The waits between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How much longer than the node itself an answer is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// The URL of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeUrl(pub(crate) Url);

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        super::server_url(text, "a node").map(Self)
    }
}

/// How often a statement that has happened on some shards only is sent again. A shard that is lost for a while has been waited for by then;
/// one that refuses its part does so again.
const APART_MAX: u32 = 8;

/// For how long connections are tried where nobody has ever accepted one.
const UNREACHABLE_MAX: Duration = Duration::from_secs(5);

/// What a write to several shards does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Writing {
    /// It commits on all of them or on none.
    #[default]
    Atomic,
    /// It is refused.
    Single,
    /// It commits on one shard after the other.
    BestEffort,
}

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a statement may take, all attempts together.
    pub(crate) statement: Duration,
    /// How long the first attempt may take, where there is another node to ask; each of the next ones may take twice as long.
    pub(crate) attempt: Duration,
}

/// What a node answers.
#[derive(Clone, Debug)]
pub(crate) struct SqlReply {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) changes: u64,
    /// The shards that took part.
    pub(crate) shards: Vec<String>,
}

impl SqlReply {
    /// The texts of each row; empty ones for other values, and for what is not UTF-8.
    pub(crate) fn texts(self) -> impl Iterator<Item = Vec<String>> {
        let rows = self.rows.into_iter();
        rows.map(|row| row.into_iter().map(text).collect())
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Text(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Blob(_) => String::new(),
    }
}

/// Asks nodes, one statement at a time.
#[derive(Debug)]
pub(crate) struct SqlClient {
    http: reqwest::Client,
    runtime: Runtime,
    clock: Clock,
    nodes: Vec<Url>,
    /// The node that answered last.
    preferred: Cell<usize>,
    token: Option<Token>,
    patience: Patience,
    name: String,
    next: Cell<u64>,
    /// How fresh rows are, if a node is to be told.
    read: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    sql: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [serde_json::Value],
    write: Writing,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<&'static str>,
    timeout_ms: u64,
    client: &'a str,
    seq: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    together: Vec<Further<'a>>,
}

/// A statement that is made together with the one of a request.
#[derive(Debug, Serialize)]
struct Further<'a> {
    sql: &'a str,
}

#[derive(Debug, Deserialize)]
struct Reply {
    columns: Vec<String>,
    rows: Vec<Vec<serde_json::Value>>,
    #[serde(default)]
    changes: u64,
    #[serde(default)]
    shards: Vec<String>,
}

/// A statement with its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered<'a> {
    pub(crate) sql: &'a str,
    pub(crate) args: &'a [Value],
    pub(crate) writing: Writing,
    pub(crate) number: u64,
    /// What is made together with it: all of it or nothing.
    pub(crate) together: &'a [String],
}

impl SqlClient {
    /// A client with a name of its own. Nothing is sent.
    pub(crate) fn new(
        nodes: Vec<NodeUrl>,
        token: Option<Token>,
        patience: Patience,
    ) -> anyhow::Result<Self> {
        let name = format!("{:032x}", rand::random::<u128>());
        Self::named(nodes, token, patience, name)
    }

    /// A client under a name that may have been used before: then its statements are numbered by the caller.
    pub(crate) fn named(
        nodes: Vec<NodeUrl>,
        token: Option<Token>,
        patience: Patience,
        name: String,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: shardwright_server::http::client(CONNECT_TIMEOUT)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            clock: Clock::start(),
            nodes: nodes.into_iter().map(|NodeUrl(url)| url).collect(),
            preferred: Cell::new(0),
            token,
            patience,
            name,
            next: Cell::new(1),
            read: None,
        })
    }

    /// The same client, whose reads of several shards see each commit on all of them or on none.
    #[must_use]
    pub(crate) fn consistent(self) -> Self {
        Self {
            read: Some("consistent"),
            ..self
        }
    }

    /// What a node answers at a path.
    ///
    /// # Errors
    /// [`SqlError`] of the last node that was asked.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, SqlError> {
        self.runtime.block_on(async {
            let mut last = SqlError::NoNode;
            for node in &self.nodes {
                match self.answer_of(node, path).await {
                    Ok(found) => return Ok(found),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }

    /// Posts to a path, and returns the answer as it comes. The next node is asked where one does not answer; nothing may be wrong with
    /// asking twice.
    ///
    /// # Errors
    /// [`SqlError`] of the last node that was asked.
    pub(crate) fn stream(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Streamed<'_>, SqlError> {
        let mut last = SqlError::NoNode;
        for node in &self.nodes {
            match self.runtime.block_on(self.begin_stream(node, path, body)) {
                Ok(response) => return Ok(Streamed::new(&self.runtime, response)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn begin_stream(
        &self,
        node: &Url,
        path: &str,
        body: &impl Serialize,
    ) -> Result<reqwest::Response, SqlError> {
        let url = join(node, path);
        let mut asking = self.http.post(url.clone()).json(body);
        if let Some(token) = &self.token {
            asking = asking.header(AUTHORIZATION, token.header());
        }
        let lost = |source| SqlError::of(&url, source);
        let response = asking.send().await.map_err(lost)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(lost)?;
        let body = serde_json::from_slice::<ErrorBody>(&body).ok();
        Err(SqlError::answered(&url, status, body))
    }

    /// Waits for so long.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
    }

    async fn answer_of<T: DeserializeOwned>(&self, node: &Url, path: &str) -> Result<T, SqlError> {
        let url = join(node, path);
        let mut asking = self.http.get(url.clone()).timeout(self.patience.statement);
        if let Some(token) = &self.token {
            asking = asking.header(AUTHORIZATION, token.header());
        }
        let lost = |source| SqlError::of(&url, source);
        let response = asking.send().await.map_err(lost)?;
        let status = response.status();
        let body = response.bytes().await.map_err(lost)?;
        if !status.is_success() {
            let body = serde_json::from_slice::<ErrorBody>(&body).ok();
            return Err(SqlError::answered(&url, status, body));
        }
        serde_json::from_slice(&body).map_err(|error| SqlError::Malformed {
            url: url.clone(),
            reason: error.to_string(),
        })
    }

    /// Runs a statement under the next number.
    ///
    /// # Errors
    /// [`SqlError`]; a change of the schema whose answer was lost is not repeated.
    pub(crate) fn execute(
        &self,
        sql: &str,
        args: &[Value],
        writing: Writing,
    ) -> Result<SqlReply, SqlError> {
        self.run(Numbered {
            sql,
            args,
            writing,
            number: self.number(),
            together: &[],
        })
    }

    /// Makes changes of the schema, and inserts rows into tables of the catalog: all of it happens or nothing.
    ///
    /// # Errors
    /// As [`SqlClient::execute`].
    pub(crate) fn execute_together(&self, statements: &[String]) -> Result<(), SqlError> {
        let Some((first, together)) = statements.split_first() else {
            return Ok(());
        };
        let made = self.run(Numbered {
            sql: first,
            args: &[],
            writing: Writing::Atomic,
            number: self.number(),
            together,
        });
        made.map(drop)
    }

    fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    /// Runs a statement under its number, which may have been sent before.
    ///
    /// # Errors
    /// As [`SqlClient::execute`].
    pub(crate) fn run(&self, statement: Numbered<'_>) -> Result<SqlReply, SqlError> {
        let args: Vec<_> = statement.args.iter().map(json::to_json).collect();
        self.runtime.block_on(self.attempts(statement, &args))
    }

    async fn attempts(
        &self,
        statement: Numbered<'_>,
        args: &[serde_json::Value],
    ) -> Result<SqlReply, SqlError> {
        let deadline = self.clock.now() + self.patience.statement;
        let may_repeat = !is_unprotected(statement.sql);
        let mut waits = Backoff::new(WAITS.0, WAITS.1, rand::random());
        let began = self.clock.now();
        let (mut is_unknown, mut is_reached, mut apart) = (false, false, 0);
        let mut patience = self.patience.attempt;
        loop {
            let left = deadline.since(self.clock.now());
            let time = if self.nodes.len() > 1 {
                left.min(patience)
            } else {
                left
            };
            patience = patience.saturating_mul(2);
            let error = match self.attempt(statement, args, time).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            is_reached |= !matches!(error, SqlError::Unreachable { .. });
            match error.fate() {
                Fate::Final => return Err(error),
                Fate::Unknown if !may_repeat => return Err(SqlError::indeterminate(error)),
                Fate::Unknown => is_unknown = true,
                // What has happened has its number, and does not happen again.
                Fate::Apart if apart == APART_MAX || !may_repeat => return Err(error),
                Fate::Apart => apart += 1,
                Fate::NotDone => {}
            }
            let left = deadline.since(self.clock.now());
            let is_nobody = !is_reached && UNREACHABLE_MAX <= self.clock.now().since(began);
            if left.is_zero() || is_nobody {
                return Err(if is_unknown {
                    SqlError::indeterminate(error)
                } else {
                    error
                });
            }
            self.preferred
                .set((self.preferred.get() + 1) % self.nodes.len().max(1));
            let wait = waits.next().unwrap_or(WAITS.1);
            tokio::time::sleep(wait.min(left)).await;
        }
    }

    async fn attempt(
        &self,
        statement: Numbered<'_>,
        args: &[serde_json::Value],
        time: Duration,
    ) -> Result<SqlReply, SqlError> {
        let node = self.nodes.get(self.preferred.get());
        let url = join(node.ok_or(SqlError::NoNode)?, "/v1/sql");
        let request = Request {
            sql: statement.sql,
            args,
            write: statement.writing,
            read: self.read,
            timeout_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1),
            client: &self.name,
            seq: statement.number,
            together: statement
                .together
                .iter()
                .map(|sql| Further { sql })
                .collect(),
        };
        let mut sending = self.http.post(url.clone()).json(&request);
        if let Some(token) = &self.token {
            sending = sending.header(AUTHORIZATION, token.header());
        }
        let answered = async {
            let response = sending.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        match tokio::time::timeout(time + GRACE, answered).await {
            Ok(Ok((status, body))) => read(&url, status, &body),
            Ok(Err(source)) => Err(SqlError::of(&url, source)),
            Err(_elapsed) => Err(SqlError::Silent {
                url,
                waited: time.into(),
            }),
        }
    }
}

/// Reads an answer.
fn read(url: &Url, status: StatusCode, body: &[u8]) -> Result<SqlReply, SqlError> {
    if !status.is_success() {
        let body = serde_json::from_slice::<ErrorBody>(body).ok();
        return Err(SqlError::answered(url, status, body));
    }
    let malformed = |reason: String| SqlError::Malformed {
        url: url.clone(),
        reason,
    };
    let reply: Reply =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let row = |row: Vec<serde_json::Value>| {
        let values = row.iter().map(json::from_json);
        values
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|error| malformed(error.to_string()))
    };
    Ok(SqlReply {
        columns: reply.columns,
        rows: reply.rows.into_iter().map(row).collect::<Result<_, _>>()?,
        changes: reply.changes,
        shards: reply.shards,
    })
}

/// Whether a statement is none that a number protects from being done twice.
fn is_unprotected(sql: &str) -> bool {
    matches!(
        kind_by_first_word(sql),
        StatementKind::Ddl | StatementKind::Pragma | StatementKind::Other
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_and_writes_of_rows_are_repeated() {
        for sql in [
            "create table t(a)",
            "-- why\n /* what */ DROP TABLE t",
            "PRAGMA user_version = 3",
            "REINDEX",
        ] {
            assert!(is_unprotected(sql), "{sql}");
        }
        for sql in ["INSERT INTO t VALUES (1)", "/* CREATE */ SELECT 1"] {
            assert!(!is_unprotected(sql), "{sql}");
        }
    }

    #[test]
    fn an_answer_keeps_each_kind_of_value() {
        let url: Url = "http://localhost/v1/sql".parse().unwrap();
        let body = br#"{"columns": ["a", "b"], "rows": [[1, 1.0], [null, {"base64": "AP8="}]],
            "changes": 0, "shards": ["shard-0"], "token": {"shard-0": [1, 2]}}"#;
        let reply = read(&url, StatusCode::OK, body).unwrap();
        assert_eq!(
            reply.rows,
            [
                [Value::Integer(1), Value::Real(1.0)],
                [Value::Null, Value::Blob(vec![0, 255])]
            ]
        );
        assert_eq!(reply.shards, ["shard-0"]);
        let error = read(&url, StatusCode::OK, b"{}").unwrap_err();
        assert!(matches!(error, SqlError::Malformed { .. }), "{error}");
    }
}
