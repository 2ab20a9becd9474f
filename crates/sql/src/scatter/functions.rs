//! What becomes of the sums and counts of several shards.
//!
//! SQLite adds real numbers with a compensation for what rounding loses, and what the shards give is rounded. Where sums of the shards
//! nearly cancel, what was lost may show; then the answer is refused here, and the gathering tier gives it.

use rusqlite::{
    Connection, Error as SqliteError, Result,
    functions::{Aggregate, Context, FunctionFlags},
    types::{Value, ValueRef},
};

/// How many times larger than their sum the parts may be together: each is wrong by 2^-53 at most, and the sum shall be right to 1e-12.
const CANCELLED_MOST: f64 = 1_000.0;

pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_aggregate_function("shardwright_count", 1, flags, Count)?;
    connection.create_aggregate_function("shardwright_sum", 2, flags, Sums(Made::Sum))?;
    connection.create_aggregate_function("shardwright_total", 1, flags, Sums(Made::Total))?;
    connection.create_aggregate_function("shardwright_avg", 2, flags, Sums(Made::Average))
}

/// Adds counts.
struct Count;

impl Aggregate<i64, i64> for Count {
    fn init(&self, _: &mut Context<'_>) -> Result<i64> {
        Ok(0)
    }

    fn step(&self, context: &mut Context<'_>, count: &mut i64) -> Result<()> {
        *count = count.saturating_add(context.get(0)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, count: Option<i64>) -> Result<i64> {
        Ok(count.unwrap_or(0))
    }
}

/// Adds sums; the second argument is the number of values in a sum.
struct Sums(Made);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Sum,
    Total,
    Average,
}

#[derive(Default)]
struct Sum {
    integers: i64,
    has_reals: bool,
    has_overflown: bool,
    /// The sum of all in floating point, and what rounding has lost of it.
    reals: f64,
    lost: f64,
    /// The sum of the absolute values.
    size: f64,
    count: i64,
    /// Whether a sum is not a number, which SQLite shows as NULL.
    is_undefined: bool,
}

impl Sum {
    #[expect(
        clippy::cast_precision_loss,
        reason = "as SQLite converts integers to add them to reals"
    )]
    fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Integer(integer) => {
                match self.integers.checked_add(integer) {
                    Some(sum) => self.integers = sum,
                    None => self.has_overflown = true,
                }
                self.add_real(integer as f64);
            }
            ValueRef::Real(real) => {
                self.has_reals = true;
                self.add_real(real);
            }
            ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => {}
        }
    }

    /// Neumaier's summation.
    fn add_real(&mut self, real: f64) {
        let sum = self.reals + real;
        self.lost += if self.reals.abs() >= real.abs() {
            (self.reals - sum) + real
        } else {
            (real - sum) + self.reals
        };
        self.reals = sum;
        self.size += real.abs();
    }

    fn real(&self) -> Result<f64> {
        // Where a sum is infinite, the correction is not a number.
        let sum = if self.lost.is_finite() {
            self.reals + self.lost
        } else {
            self.reals
        };
        if self.size.is_finite() && self.size > sum.abs() * CANCELLED_MOST {
            return Err(refused("the sums of the shards cancel one another"));
        }
        Ok(sum)
    }
}

impl Aggregate<Sum, Value> for Sums {
    fn init(&self, _: &mut Context<'_>) -> Result<Sum> {
        Ok(Sum::default())
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Sum) -> Result<()> {
        let value = context.get_raw(0);
        let count = match self.0 {
            Made::Sum | Made::Average => context.get(1)?,
            // The total of nothing is zero.
            Made::Total => 1,
        };
        sum.count = sum.count.saturating_add(count);
        sum.is_undefined |= count > 0 && value == ValueRef::Null;
        sum.add(value);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "as SQLite divides")]
    fn finalize(&self, _: &mut Context<'_>, sum: Option<Sum>) -> Result<Value> {
        let sum = sum.unwrap_or_default();
        let is_nothing = sum.count == 0 && self.0 != Made::Total;
        if is_nothing || sum.is_undefined {
            return Ok(Value::Null);
        }
        if self.0 == Made::Sum && !sum.has_reals {
            return if sum.has_overflown {
                Err(refused("integer overflow"))
            } else {
                Ok(Value::Integer(sum.integers))
            };
        }
        let real = sum.real()?;
        Ok(Value::Real(match self.0 {
            Made::Average => real / sum.count as f64,
            Made::Sum | Made::Total => real,
        }))
    }
}

fn refused(why: &str) -> SqliteError {
    SqliteError::UserFunctionError(why.into())
}
