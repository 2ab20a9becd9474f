//! Cursors: a batch whose rows are sent line by line, so that neither side needs all of them at once.

use std::convert::Infallible;

use futures_util::stream;
use serde::Serialize;
use shardwright_http::axum::{
    body::{Body, Bytes},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};

use super::{
    Shared,
    baton::Baton,
    error::{HttpError, StatementError},
    reply::{BatchResult, Col, Room},
    request::Batch,
    value::HranaValue,
};

/// About how many bytes are sent at once.
const PIECE: usize = 64 << 10;

/// The first line.
#[derive(Debug, Serialize)]
struct Head<'a> {
    baton: Option<String>,
    base_url: Option<&'a str>,
}

/// A further line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Entry {
    StepBegin {
        step: usize,
        cols: Vec<Col>,
    },
    Row {
        row: Vec<HranaValue>,
    },
    StepEnd {
        affected_row_count: u64,
        last_insert_rowid: Option<String>,
    },
    StepError {
        step: usize,
        error: StatementError,
    },
    Error {
        error: StatementError,
    },
}

impl Shared {
    /// Runs a batch on the stream of a baton, or on one that begins with it, and tells it line by line.
    pub(super) async fn cursor(
        &self,
        baton: Option<&Baton>,
        batch: &Batch,
    ) -> Result<Response, HttpError> {
        let (id, mut stream) = self.take(baton)?;
        let mut room = Room::of_cursor();
        let ran = stream.batch(&self.client, batch, &mut room).await;
        let head = Head {
            baton: self.give_back(id, stream),
            base_url: self.settings.base_url.as_deref(),
        };
        let mut first = Vec::new();
        write_line(&mut first, &head);
        let lines = stream::iter(Pieces {
            next: first,
            entries: entries(ran),
        });
        let body = Body::from_stream(lines);
        let kind = [(CONTENT_TYPE, "application/x-ndjson")];
        Ok((StatusCode::OK, kind, body).into_response())
    }
}

/// Returns what is told of a batch, in its order.
fn entries(ran: Result<BatchResult, StatementError>) -> Box<dyn Iterator<Item = Entry> + Send> {
    let BatchResult {
        step_results,
        step_errors,
    } = match ran {
        Ok(ran) => ran,
        Err(error) => return Box::new(std::iter::once(Entry::Error { error })),
    };
    let steps = step_results.into_iter().zip(step_errors).enumerate();
    Box::new(steps.flat_map(|(step, (result, error))| {
        let error = error.map(|error| Entry::StepError { step, error });
        let told = result.into_iter().flat_map(move |result| {
            let begin = Entry::StepBegin {
                step,
                cols: result.cols,
            };
            let end = Entry::StepEnd {
                affected_row_count: result.affected_row_count,
                last_insert_rowid: result.last_insert_rowid,
            };
            let rows = result.rows.into_iter().map(|row| Entry::Row { row });
            std::iter::once(begin).chain(rows).chain([end])
        });
        told.chain(error)
    }))
}

/// Several lines at a time.
struct Pieces<I> {
    next: Vec<u8>,
    entries: I,
}

impl<I: Iterator<Item = Entry>> Iterator for Pieces<I> {
    type Item = Result<Bytes, Infallible>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = std::mem::take(&mut self.next);
        while piece.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                break;
            };
            write_line(&mut piece, &entry);
        }
        (!piece.is_empty()).then(|| Ok(piece.into()))
    }
}

fn write_line(to: &mut Vec<u8>, line: &impl Serialize) {
    // Neither a map with other keys than texts nor a writer that fails is in it.
    if let Err(error) = serde_json::to_writer(&mut *to, line) {
        tracing::error!(%error, "a line of a cursor cannot be written");
    }
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hrana::reply::StmtResult;

    fn lines(ran: Result<BatchResult, StatementError>) -> String {
        let pieces = Pieces {
            next: Vec::new(),
            entries: entries(ran),
        };
        let pieces: Vec<Bytes> = pieces.map(|piece| piece.unwrap()).collect();
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[test]
    fn a_batch_is_told_line_by_line() {
        let one = StmtResult {
            cols: vec![Col {
                name: "a".to_owned(),
                decltype: None,
            }],
            rows: vec![vec![HranaValue::Integer { value: 1 }]],
            ..StmtResult::nothing()
        };
        let ran = BatchResult {
            step_results: vec![Some(one), None, None],
            step_errors: vec![None, None, Some(StatementError::new("SQLITE_ERROR", "no"))],
        };
        let expect = r#"{"type":"step_begin","step":0,"cols":[{"name":"a","decltype":null}]}
{"type":"row","row":[{"type":"integer","value":"1"}]}
{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}
{"type":"step_error","step":2,"error":{"message":"no","code":"SQLITE_ERROR"}}
"#;
        assert_eq!(lines(Ok(ran)), expect);
    }

    #[test]
    fn many_rows_are_sent_in_pieces() {
        let rows = vec![vec![HranaValue::Integer { value: 1 }]; 10_000];
        let count = rows.len();
        let ran = BatchResult {
            step_results: vec![Some(StmtResult {
                rows,
                ..StmtResult::nothing()
            })],
            step_errors: vec![None],
        };
        let pieces = Pieces {
            next: Vec::new(),
            entries: entries(Ok(ran)),
        };
        let pieces: Vec<Bytes> = pieces.map(|piece| piece.unwrap()).collect();
        assert!(pieces.len() > 5);
        let newlines = pieces.concat().into_iter().filter(|byte| *byte == b'\n');
        assert_eq!(newlines.count(), count + 2);
    }
}
