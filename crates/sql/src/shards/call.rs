//! A statement with the values of its parameters, and what it did.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shardwright_store::{Outcome as StoreOutcome, Params, Row, Sql, Value, ValueRef};

use super::Fragment;
use crate::answer::Outcome;

/// A statement for one place, borrowed for the time of the call. [`Fragment::from`] owns what it borrows.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The text. Its number, if it has one, is a hint for places of this process and means nothing elsewhere.
    pub sql: Sql<'a>,
    /// The values of its parameters.
    pub params: Params<'a>,
}

impl<'a> Call<'a> {
    /// A statement and its values.
    #[inline]
    pub fn new(sql: impl Into<Sql<'a>>, params: impl Into<Params<'a>>) -> Self {
        Self {
            sql: sql.into(),
            params: params.into(),
        }
    }
}

impl Fragment {
    /// A statement whose parameters are numbered.
    pub fn new(sql: impl Into<Arc<str>>, params: Vec<Value>) -> Self {
        Self {
            sql: sql.into(),
            params,
            named: Vec::new(),
        }
    }

    /// Shows the statement as a call.
    pub fn with_call<T>(&self, show: impl FnOnce(Call<'_>) -> T) -> T {
        if self.named.is_empty() {
            return show(Call::new(&*self.sql, &self.params));
        }
        Self::with_calls(std::slice::from_ref(self), |calls| show(calls[0]))
    }

    /// Shows several statements as the calls of a unit.
    pub fn with_calls<T>(unit: &[Self], show: impl FnOnce(&[Call<'_>]) -> T) -> T {
        let named: Vec<Vec<(&str, Value)>> = unit.iter().map(Self::named_values).collect();
        let calls: Vec<Call<'_>> = unit
            .iter()
            .zip(&named)
            .map(|(fragment, named)| {
                let params = Params::from(&fragment.params).and_named(named);
                Call::new(&*fragment.sql, params)
            })
            .collect();
        show(&calls)
    }

    fn named_values(&self) -> Vec<(&str, Value)> {
        let named = self.named.iter();
        named
            .map(|(name, value)| (&**name, value.clone()))
            .collect()
    }
}

impl From<Call<'_>> for Fragment {
    fn from(call: Call<'_>) -> Self {
        Self {
            sql: call.sql.as_str().into(),
            params: call.params.positional().map(ValueRef::to_value).collect(),
            named: call
                .params
                .named()
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone()))
                .collect(),
        }
    }
}

/// Which statement of which client it is. By that the places know it when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatementId {
    /// The client.
    pub client: [u8; 16],
    /// Which of its statements.
    pub sequence: u64,
}

/// What a statement did at a place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ran {
    /// What it changed.
    pub outcome: Outcome,
    /// The rows that it gave.
    pub rows: Vec<Vec<Value>>,
}

impl Ran {
    /// Takes what a statement gives: `query` is handed what each row is shown to, and returns what the statement changed.
    ///
    /// # Errors
    /// What `query` fails with.
    pub fn of<E>(
        query: impl FnOnce(&mut dyn FnMut(&Row<'_>)) -> Result<StoreOutcome, E>,
    ) -> Result<Self, E> {
        let mut rows = Vec::new();
        let outcome = query(&mut |row| rows.push(row.to_values()))?;
        let outcome = Outcome {
            changes: outcome.changes,
            last_insert_rowid: Some(outcome.last_insert_rowid),
        };
        Ok(Self { outcome, rows })
    }

    /// What the statements of a unit did together.
    pub(crate) fn all(mut ran: Vec<Self>) -> Self {
        let Some(mut last) = ran.pop() else {
            return Self::default();
        };
        if ran.is_empty() {
            return last;
        }
        let mut rows = Vec::new();
        for before in ran {
            last.outcome.changes += before.outcome.changes;
            rows.extend(before.rows);
        }
        rows.append(&mut last.rows);
        last.rows = rows;
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_shows_what_the_call_had() {
        let named = [("b", Value::from("x")), (":c", Value::Null)];
        let values = [ValueRef::Integer(7), ValueRef::Text(b"y")];
        let call = Call::new(
            "SELECT ?1, ?2, :b, :c",
            Params::from(&values).and_named(&named),
        );
        let fragment = Fragment::from(call);
        assert_eq!(fragment.with_call(|call| Fragment::from(call)), fragment);
        assert_eq!(fragment.params, [Value::from(7), Value::from("y")]);
        assert_eq!(fragment.named.len(), 2);
    }

    #[test]
    fn a_unit_counts_all_changes_and_keeps_the_last_rowid() {
        let ran = |changes, rowid, row: i64| Ran {
            outcome: Outcome {
                changes,
                last_insert_rowid: Some(rowid),
            },
            rows: vec![vec![Value::from(row)]],
        };
        let all = Ran::all(vec![ran(1, 5, 1), ran(2, 7, 2)]);
        assert_eq!(
            (all.outcome.changes, all.outcome.last_insert_rowid),
            (3, Some(7))
        );
        assert_eq!(all.rows, [[Value::from(1)], [Value::from(2)]]);
        assert_eq!(Ran::all(Vec::new()), Ran::default());
    }

    #[test]
    fn what_is_sent_arrives() {
        let fragment = Fragment {
            named: vec![(":c".into(), Value::Text(vec![0xff]))],
            ..Fragment::new("SELECT ?1, :c", vec![Value::from(vec![1, 2])])
        };
        let sent = postcard::to_stdvec(&fragment).unwrap();
        assert_eq!(postcard::from_bytes::<Fragment>(&sent).unwrap(), fragment);
        let ran = Ran {
            outcome: Outcome {
                changes: 2,
                last_insert_rowid: Some(-1),
            },
            rows: vec![vec![Value::Null, Value::from(0.5)]],
        };
        let sent = postcard::to_stdvec(&ran).unwrap();
        assert_eq!(postcard::from_bytes::<Ran>(&sent).unwrap(), ran);
    }
}
