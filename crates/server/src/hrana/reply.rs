//! What clients are told.

use serde::Serialize;
use shardwright_sql::{Answer, Description, ResultColumn};

use super::{
    error::StatementError,
    value::{HranaValue, Untold},
};

/// How many bytes the rows of a reply may have.
const ROWS_MAX: usize = 64 << 20;

/// The reply to a pipeline.
#[derive(Debug, Serialize)]
pub(super) struct PipelineReply<'a> {
    pub(super) baton: Option<String>,
    pub(super) base_url: Option<&'a str>,
    pub(super) results: Vec<StreamResult>,
}

/// What one request of a stream has come to.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StreamResult {
    Ok { response: StreamResponse },
    Error { error: StatementError },
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StreamResponse {
    Execute { result: StmtResult },
    Batch { result: BatchResult },
    Sequence,
    Describe { result: DescribeResult },
    StoreSql,
    CloseSql,
    GetAutocommit { is_autocommit: bool },
    Close,
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StmtResult {
    pub(super) cols: Vec<Col>,
    pub(super) rows: Vec<Vec<HranaValue>>,
    pub(super) affected_row_count: u64,
    /// An integer as text.
    pub(super) last_insert_rowid: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Col {
    pub(super) name: String,
    pub(super) decltype: Option<String>,
}

/// For each step of a batch what it gave, or why it failed; neither if it was not run.
#[derive(Debug, Default, Serialize)]
pub(super) struct BatchResult {
    pub(super) step_results: Vec<Option<StmtResult>>,
    pub(super) step_errors: Vec<Option<StatementError>>,
}

#[derive(Debug, Serialize)]
pub(super) struct DescribeResult {
    params: Vec<Param>,
    cols: Vec<Col>,
    is_explain: bool,
    is_readonly: bool,
}

#[derive(Debug, Serialize)]
struct Param {
    name: Option<String>,
}

/// How much room a reply has left for rows.
#[derive(Debug)]
pub(super) struct Room(usize);

/// Why rows are not in a reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRows {
    #[error(transparent)]
    Untold(#[from] Untold),
    #[error("the rows have more than 64 MiB: ask for fewer at once, or by a cursor")]
    TooLarge,
}

impl Default for Room {
    fn default() -> Self {
        Self(ROWS_MAX)
    }
}

impl Room {
    /// Room for an answer that is sent piece by piece.
    pub(super) fn of_cursor() -> Self {
        Self(usize::MAX)
    }
}

impl From<ResultColumn> for Col {
    fn from(column: ResultColumn) -> Self {
        Self {
            name: column.name,
            decltype: column.declared_type,
        }
    }
}

impl StmtResult {
    /// Tells an answer, without its rows if they are not wanted.
    pub(super) fn of(answer: Answer, want_rows: bool, room: &mut Room) -> Result<Self, NoRows> {
        let mut rows = Vec::new();
        for row in answer.rows.into_iter().filter(|_| want_rows) {
            let row = row.into_iter().map(HranaValue::try_from);
            let row = row.collect::<Result<Vec<_>, _>>()?;
            let size: usize = row.iter().map(HranaValue::size).sum();
            room.0 = room.0.checked_sub(size).ok_or(NoRows::TooLarge)?;
            rows.push(row);
        }
        Ok(Self {
            cols: answer.columns.into_iter().map(Col::from).collect(),
            rows,
            affected_row_count: answer.changes,
            last_insert_rowid: answer.last_insert_rowid.map(|rowid| rowid.to_string()),
        })
    }

    /// What a statement gives that has no rows and changes none.
    pub(super) fn nothing() -> Self {
        Self {
            cols: Vec::new(),
            rows: Vec::new(),
            affected_row_count: 0,
            last_insert_rowid: None,
        }
    }
}

impl From<Description> for DescribeResult {
    fn from(description: Description) -> Self {
        let params = description.parameters.into_iter();
        Self {
            params: params.map(|name| Param { name }).collect(),
            cols: description.columns.into_iter().map(Col::from).collect(),
            is_explain: description.is_explain,
            is_readonly: description.is_read_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shardwright_sql::{Tier, Value};

    use super::*;

    fn answer(rows: Vec<Vec<Value>>) -> Answer {
        Answer {
            columns: vec![ResultColumn {
                name: "a".to_owned(),
                declared_type: Some("TEXT".to_owned()),
            }],
            rows,
            changes: 2,
            last_insert_rowid: Some(-5),
            places: Vec::new(),
            tier: Tier::Single,
            reason: String::new(),
        }
    }

    #[test]
    fn an_answer_has_the_form_that_clients_read() {
        let rows = vec![vec![Value::from(7)], vec![Value::Null]];
        let told = StmtResult::of(answer(rows), true, &mut Room::default()).unwrap();
        assert_eq!(
            serde_json::to_value(&told).unwrap(),
            json!({
                "cols": [{"name": "a", "decltype": "TEXT"}],
                "rows": [[{"type": "integer", "value": "7"}], [{"type": "null"}]],
                "affected_row_count": 2,
                "last_insert_rowid": "-5",
            })
        );
    }

    #[test]
    fn rows_take_no_more_room_than_there_is() {
        let rows = || vec![vec![Value::from("x".repeat(100))]; 3];
        let mut room = Room(350);
        let refused = StmtResult::of(answer(rows()), true, &mut room);
        assert!(matches!(refused, Err(NoRows::TooLarge)));
        let unwanted = StmtResult::of(answer(rows()), false, &mut Room(0));
        assert!(unwanted.unwrap().rows.is_empty());
    }
}
