//! Values for the parameters of a statement.

use crate::{
    Error, Result,
    value::{RawValue, Value, ValueRef},
};

/// The values bound to a statement: positional ones, named ones, or both.
///
/// Position `i` binds the parameter that SQLite numbers `i + 1`: `?`, `?1`, or a named parameter that
/// no name in `named` matches. A name may carry its prefix (`:a`, `@a`, `$a`, `$a::b`), and then it
/// matches exactly, or leave it out, and then it matches every prefix. Each parameter must get
/// exactly one value and each value must be used; anything else is [`Error::Parameters`] or
/// [`Error::UnknownParameter`], and nothing runs.
///
/// ```
/// use shardwright_store::{Params, Value};
///
/// let values = [Value::from(1), Value::from("a")];
/// let positional = Params::from(&values);
/// let values = [("id", Value::from(1))];
/// let named = Params::from(&values);
/// assert_eq!((positional.len(), named.len()), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    positional: Positional<'a>,
    named: &'a [(&'a str, Value)],
}

#[derive(Clone, Copy, Debug)]
enum Positional<'a> {
    Owned(&'a [Value]),
    Borrowed(&'a [ValueRef<'a>]),
}

impl Default for Positional<'_> {
    fn default() -> Self {
        Self::Owned(&[])
    }
}

impl Positional<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Owned(values) => values.len(),
            Self::Borrowed(values) => values.len(),
        }
    }

    fn value(&self, index: usize) -> Option<ValueRef<'_>> {
        match self {
            Self::Owned(values) => values.get(index).map(Value::as_ref),
            Self::Borrowed(values) => values.get(index).copied(),
        }
    }
}

impl<'a> Params<'a> {
    /// No values.
    pub const NONE: Self = Self {
        positional: Positional::Owned(&[]),
        named: &[],
    };

    /// Adds named values to the positional ones.
    #[must_use]
    pub fn and_named(self, named: &'a [(&'a str, Value)]) -> Self {
        Self { named, ..self }
    }

    /// Returns how many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.positional.len() + self.named.len()
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values that are given by position, in their order.
    pub fn positional(&self) -> impl ExactSizeIterator<Item = ValueRef<'_>> {
        (0..self.positional.len()).map(|index| self.positional.value(index).unwrap_or_default())
    }

    /// Returns the values that are given by name.
    #[must_use]
    pub fn named(&self) -> &'a [(&'a str, Value)] {
        self.named
    }

    /// Returns the value for the parameter that SQLite numbers `number`, from 1, and names `name`, prefix included.
    #[must_use]
    pub fn value_of(&self, number: usize, name: Option<&str>) -> Option<ValueRef<'_>> {
        let named = name
            .and_then(|name| self.named.iter().find(|(given, _)| matches(given, name)))
            .map(|(_, value)| value.as_ref());
        named.or_else(|| self.positional.value(number.checked_sub(1)?))
    }

    #[inline]
    pub(crate) fn bind(&self, statement: &mut rusqlite::Statement<'_>) -> Result<()> {
        if !self.named.is_empty() {
            return self.bind_named(statement);
        }
        let expected = statement.parameter_count();
        if self.positional.len() != expected {
            return Err(Error::Parameters {
                expected,
                given: self.positional.len(),
            });
        }
        match self.positional {
            Positional::Owned(values) => {
                for (index, value) in values.iter().enumerate() {
                    bind_one(statement, index + 1, value.as_ref())?;
                }
            }
            Positional::Borrowed(values) => {
                for (index, value) in values.iter().enumerate() {
                    bind_one(statement, index + 1, *value)?;
                }
            }
        }
        Ok(())
    }

    fn bind_named(&self, statement: &mut rusqlite::Statement<'_>) -> Result<()> {
        let expected = statement.parameter_count();
        let mut used = vec![false; self.named.len()];
        for number in 1..=expected {
            let named = statement.parameter_name(number).and_then(|name| {
                self.named
                    .iter()
                    .position(|(given, _)| matches(given, name))
            });
            let value = match named {
                Some(position) => {
                    used[position] = true;
                    self.named[position].1.as_ref()
                }
                None => self.positional.value(number - 1).ok_or(Error::Parameters {
                    expected,
                    given: self.len(),
                })?,
            };
            bind_one(statement, number, value)?;
        }
        if let Some(position) = used.iter().position(|used| !used) {
            return Err(Error::UnknownParameter {
                name: self.named[position].0.to_owned(),
            });
        }
        if self.positional.len() > expected {
            return Err(Error::Parameters {
                expected,
                given: self.len(),
            });
        }
        Ok(())
    }
}

#[inline]
fn bind_one(
    statement: &mut rusqlite::Statement<'_>,
    number: usize,
    value: ValueRef<'_>,
) -> Result<()> {
    statement
        .raw_bind_parameter(number, RawValue(value))
        .map_err(Error::from_statement)
}

/// Returns whether a given name, with or without its prefix, is the parameter `name`.
fn matches(given: &str, name: &str) -> bool {
    given == name
        || name
            .get(1..)
            .is_some_and(|bare| bare == given && !name.starts_with('?'))
}

impl From<()> for Params<'_> {
    fn from((): ()) -> Self {
        Self::NONE
    }
}

impl<'a> From<&'a [Value]> for Params<'a> {
    #[inline]
    fn from(values: &'a [Value]) -> Self {
        Self {
            positional: Positional::Owned(values),
            named: &[],
        }
    }
}

impl<'a, const N: usize> From<&'a [Value; N]> for Params<'a> {
    #[inline]
    fn from(values: &'a [Value; N]) -> Self {
        values.as_slice().into()
    }
}

impl<'a> From<&'a Vec<Value>> for Params<'a> {
    #[inline]
    fn from(values: &'a Vec<Value>) -> Self {
        values.as_slice().into()
    }
}

impl<'a> From<&'a [ValueRef<'a>]> for Params<'a> {
    #[inline]
    fn from(values: &'a [ValueRef<'a>]) -> Self {
        Self {
            positional: Positional::Borrowed(values),
            named: &[],
        }
    }
}

impl<'a, const N: usize> From<&'a [ValueRef<'a>; N]> for Params<'a> {
    #[inline]
    fn from(values: &'a [ValueRef<'a>; N]) -> Self {
        values.as_slice().into()
    }
}

impl<'a> From<&'a [(&'a str, Value)]> for Params<'a> {
    fn from(named: &'a [(&'a str, Value)]) -> Self {
        Self::NONE.and_named(named)
    }
}

impl<'a, const N: usize> From<&'a [(&'a str, Value); N]> for Params<'a> {
    fn from(named: &'a [(&'a str, Value); N]) -> Self {
        named.as_slice().into()
    }
}
