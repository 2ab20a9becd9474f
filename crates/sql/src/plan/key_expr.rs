//! Values that a statement gives for a key: constants and parameters.

use shardwright_store::{Params, Value, ValueRef};
use turso_parser::ast::{Expr, Literal, UnaryOperator};

use crate::{error::Error, key};

/// A value that is known when the statement's parameters are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyExpr {
    Constant(Value),
    /// The parameter that SQLite numbers so, from 1, and its name.
    Parameter(usize, Option<Box<str>>),
}

impl KeyExpr {
    /// Reads a constant or parameter that has no affinity of its own, so that the column's alone decides the comparison.
    pub(crate) fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Parenthesized(inner) => match &inner[..] {
                [inner] => Self::of(inner),
                _ => None,
            },
            Expr::Variable(variable) => {
                let number = usize::try_from(variable.index.get()).ok()?;
                Some(Self::Parameter(number, variable.name.clone()))
            }
            Expr::Literal(literal) => constant(literal).map(Self::Constant),
            Expr::Unary(UnaryOperator::Negative, inner) => match &**inner {
                Expr::Literal(Literal::Numeric(digits)) => {
                    Some(Self::Constant(number(&format!("-{digits}"))))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the value under the given parameters.
    pub(crate) fn value<'a>(&'a self, params: &'a Params<'a>) -> Result<ValueRef<'a>, Error> {
        match self {
            Self::Constant(value) => Ok(value.as_ref()),
            Self::Parameter(number, name) => params
                .value_of(*number, name.as_deref())
                .ok_or(Error::MissingParameter { number: *number }),
        }
    }
}

fn constant(literal: &Literal) -> Option<Value> {
    Some(match literal {
        Literal::Null => Value::Null,
        Literal::Numeric(digits) => number(digits),
        Literal::String(quoted) => {
            let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
            Value::from(inner.replace("''", "'"))
        }
        Literal::Blob(blob) => Value::Blob(turso_parser::ast::blob_literal_bytes(blob).collect()),
        Literal::Keyword(_)
        | Literal::True
        | Literal::False
        | Literal::CurrentDate
        | Literal::CurrentTime
        | Literal::CurrentTimestamp => return None,
    })
}

/// Digits that are no plain integer are read by SQLite, whose rounding is its own.
fn number(digits: &str) -> Value {
    match digits.parse::<i64>() {
        Ok(value) => Value::Integer(value),
        Err(_) => key::literal_number(digits),
    }
}
