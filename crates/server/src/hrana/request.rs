//! What clients send. Fields that are not known here are passed over.

use serde::Deserialize;

use super::value::HranaValue;

/// The body of a pipeline: requests of one stream, which are all carried out, one after the other.
#[derive(Debug, Deserialize)]
pub(super) struct PipelineBody {
    #[serde(default)]
    pub(super) baton: Option<String>,
    pub(super) requests: Vec<StreamRequest>,
}

/// The body of a cursor: one batch of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct CursorBody {
    #[serde(default)]
    pub(super) baton: Option<String>,
    pub(super) batch: Batch,
}

/// The body of a statement without a stream.
#[derive(Debug, Deserialize)]
pub(super) struct ExecuteBody {
    pub(super) stmt: Stmt,
}

/// The body of a batch without a stream.
#[derive(Debug, Deserialize)]
pub(super) struct BatchBody {
    pub(super) batch: Batch,
}

/// A request of a stream.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StreamRequest {
    Execute {
        stmt: Stmt,
    },
    Batch {
        batch: Batch,
    },
    Sequence {
        #[serde(flatten)]
        text: Text,
    },
    Describe {
        #[serde(flatten)]
        text: Text,
    },
    StoreSql {
        sql_id: i32,
        sql: String,
    },
    CloseSql {
        sql_id: i32,
    },
    GetAutocommit,
    Close,
}

/// A text, or the number under which the stream has one.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Text {
    #[serde(default)]
    pub(super) sql: Option<String>,
    #[serde(default)]
    pub(super) sql_id: Option<i32>,
}

/// A statement with the values of its parameters.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stmt {
    #[serde(flatten)]
    pub(super) text: Text,
    #[serde(default)]
    pub(super) args: Vec<HranaValue>,
    #[serde(default)]
    pub(super) named_args: Vec<NamedArg>,
    #[serde(default)]
    pub(super) want_rows: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct NamedArg {
    pub(super) name: String,
    pub(super) value: HranaValue,
}

/// Statements of which each may depend on what those before it have come to.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) condition: Option<Condition>,
    pub(super) stmt: Stmt,
}

/// When a step of a batch is run.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Condition {
    Ok { step: u32 },
    Error { step: u32 },
    Not { cond: Box<Self> },
    And { conds: Vec<Self> },
    Or { conds: Vec<Self> },
    IsAutocommit,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_clients_send_is_understood() {
        let body = r#"{"baton":null,"requests":[
            {"type":"store_sql","sql_id":0,"sql":"SELECT ?"},
            {"type":"execute","stmt":{"sql_id":0,"args":[{"type":"float","value":1}],"named_args":[],"want_rows":true}},
            {"type":"batch","batch":{"steps":[
                {"stmt":{"sql":"BEGIN IMMEDIATE"}},
                {"condition":{"type":"and","conds":[{"type":"ok","step":0},{"type":"not","cond":{"type":"is_autocommit"}}]},
                 "stmt":{"sql":"COMMIT"},"later":true}]}},
            {"type":"describe","sql":"SELECT 1"},
            {"type":"sequence","sql":"SELECT 1; SELECT 2"},
            {"type":"get_autocommit"},
            {"type":"close_sql","sql_id":0},
            {"type":"close"}],"replication_index":5}"#;
        let body: PipelineBody = serde_json::from_str(body).unwrap();
        assert_eq!(body.requests.len(), 8);
        let StreamRequest::Batch { batch } = &body.requests[2] else {
            panic!("it is a batch")
        };
        let Some(Condition::And { conds }) = &batch.steps[1].condition else {
            panic!("it has a condition")
        };
        assert_eq!(conds.len(), 2);
    }

    #[test]
    fn conditions_are_not_nested_without_end() {
        let deep = format!(
            r#"{}{{"type":"is_autocommit"}}{}"#,
            r#"{"type":"not","cond":"#.repeat(100_000),
            "}".repeat(100_000)
        );
        assert!(serde_json::from_str::<Condition>(&deep).is_err());
    }

    proptest! {
        #[test]
        fn no_body_is_too_strange(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9_]{0,60}") {
            let _no_matter = serde_json::from_slice::<PipelineBody>(&bytes);
            let _no_matter = serde_json::from_str::<CursorBody>(&text);
            let body = format!(r#"{{"requests":[{{"type":"{text}","stmt":{{"sql":{text}}}}}]}}"#);
            let _no_matter = serde_json::from_str::<PipelineBody>(&body);
        }
    }
}
