//! One statement of a stream: its values, and what is told of it.

use shardwright_sql::{Description, Value, statement::split};

use super::{
    control::Control,
    error::StatementError,
    reply::{Room, StmtResult},
    request::{NamedArg, Stmt, Text},
    stream::{Given, Stream},
};
use crate::gateway::{Call, Client};

impl Stream {
    /// Runs a statement and tells what it gave. `is_all` as for [`Stream::run`].
    pub(super) async fn execute(
        &mut self,
        client: &Client,
        stmt: Stmt,
        is_all: bool,
        room: &mut Room,
    ) -> Result<StmtResult, StatementError> {
        let sql = self.statement(&stmt.text)?.to_owned();
        let call = call(client, sql, &stmt).await?;
        Ok(match self.run(client, &call, is_all).await? {
            Given::Nothing => StmtResult::nothing(),
            Given::Answer(answer) => StmtResult::of(answer, stmt.want_rows.unwrap_or(true), room)?,
        })
    }

    /// Runs the statements of a text, up to one that fails.
    pub(super) async fn sequence(
        &mut self,
        client: &Client,
        text: &Text,
    ) -> Result<(), StatementError> {
        let script = self.text(text)?.to_owned();
        for sql in split(&script) {
            self.run(client, &Call::plain(sql), false).await?;
        }
        Ok(())
    }

    /// Tells what a statement takes and gives.
    pub(super) async fn describe(
        &mut self,
        client: &Client,
        text: &Text,
    ) -> Result<Description, StatementError> {
        let sql = self.statement(text)?.to_owned();
        if Control::of(&sql).is_some() {
            return Ok(Description {
                columns: Vec::new(),
                parameters: Vec::new(),
                is_explain: false,
                is_read_only: true,
            });
        }
        match client.describe(&sql).await {
            Ok(description) => Ok(description),
            Err(refusal) => Err(StatementError::of(refusal, client).await),
        }
    }
}

/// Returns a statement with its values. Those by number and those by name are brought together by the numbers of the names.
async fn call(client: &Client, sql: String, stmt: &Stmt) -> Result<Call, StatementError> {
    let mut positional: Vec<Value> = stmt.args.iter().cloned().map(Value::from).collect();
    let named = stmt.named_args.iter();
    if positional.is_empty() || stmt.named_args.is_empty() {
        return Ok(Call {
            sql,
            positional,
            named: named
                .map(|arg| (arg.name.clone(), arg.value.clone().into()))
                .collect(),
        });
    }
    let described = match client.describe(&sql).await {
        Ok(described) => described,
        Err(refusal) => return Err(StatementError::of(refusal, client).await),
    };
    for arg in named {
        let number = number_of(arg, &described.parameters).ok_or_else(|| {
            let message = format!("the statement has no parameter {}", arg.name);
            StatementError::new("PARAMETERS", message)
        })?;
        if positional.len() <= number {
            positional.resize(number + 1, Value::Null);
        }
        positional[number] = arg.value.clone().into();
    }
    Ok(Call {
        sql,
        positional,
        named: Vec::new(),
    })
}

/// Finds the parameter of a name, which may come with its sign or without.
fn number_of(arg: &NamedArg, parameters: &[Option<String>]) -> Option<usize> {
    parameters.iter().position(|parameter| {
        let parameter = parameter.as_deref().unwrap_or_default();
        let bare = parameter.trim_start_matches([':', '@', '$']);
        !parameter.is_empty() && (parameter == arg.name || bare == arg.name)
    })
}
