//! Parameters by their numbers alone.

use std::fmt::Write as _;

use super::split::{Token, Words};

/// A statement in which every parameter is written as `?N`, so that its parts may be used in any order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) sql: String,
    /// The names of the parameters with their prefix, by number; `None` for one without a name.
    pub(crate) names: Vec<Option<Box<str>>>,
}

/// Numbers the parameters as SQLite does. `None` for forms of names that only Tcl writes.
pub(crate) fn numbered(sql: &str) -> Option<Numbered> {
    let mut found = Numbered {
        sql: String::with_capacity(sql.len() + 8),
        names: Vec::new(),
    };
    let mut words = Words(sql);
    let mut from = 0;
    while let Some(token) = words.next() {
        let end = sql.len() - words.0.len();
        let start = match token {
            Token::Other if sql[..end].ends_with(['?', ':', '@']) => end - 1,
            Token::Word(word) if word.starts_with('$') => end - word.len(),
            _ => continue,
        };
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let length = words.0.find(|c| !is_word(c)).unwrap_or(words.0.len());
        words.0 = &words.0[length..];
        if words.0.starts_with("::") || words.0.starts_with('(') {
            return None;
        }
        let end = end + length;
        let number = found.number(&sql[start..end])?;
        found.sql.push_str(&sql[from..start]);
        let _ = write!(found.sql, "?{number}");
        from = end;
    }
    found.sql.push_str(&sql[from..]);
    Some(found)
}

impl Numbered {
    /// The number of a parameter, as it is written.
    fn number(&mut self, written: &str) -> Option<usize> {
        if written == "?" {
            self.names.push(None);
            return Some(self.names.len());
        }
        if let Some(number) = written.strip_prefix('?') {
            let number: usize = number
                .parse()
                .ok()
                .filter(|number| (1..=32_766).contains(number))?;
            if self.names.len() < number {
                self.names.resize(number, None);
            }
            return Some(number);
        }
        let known = self
            .names
            .iter()
            .position(|name| name.as_deref() == Some(written));
        Some(known.map_or_else(
            || {
                self.names.push(Some(written.into()));
                self.names.len()
            },
            |index| index + 1,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: &str, names: &[Option<&str>]) {
        let found = numbered(sql).expect("a form that is understood");
        let given: Vec<Option<&str>> = found.names.iter().map(Option::as_deref).collect();
        assert_eq!((&*found.sql, &given[..]), (expect, names));
    }

    #[test]
    fn parameters_are_numbered_as_sqlite_numbers_them() {
        check("SELECT ?, ?", "SELECT ?1, ?2", &[None, None]);
        check("SELECT ?3, ?", "SELECT ?3, ?4", &[None; 4]);
        check(
            "SELECT :a, ?, @b, :a, $c",
            "SELECT ?1, ?2, ?3, ?1, ?4",
            &[Some(":a"), None, Some("@b"), Some("$c")],
        );
        check(
            "SELECT '?', \":a\" -- ?\n, [@b], ?1",
            "SELECT '?', \":a\" -- ?\n, [@b], ?1",
            &[None],
        );
    }

    #[test]
    fn names_of_tcl_are_not_numbered() {
        assert_eq!(numbered("SELECT $a::b"), None);
        assert_eq!(numbered("SELECT $a(b)"), None);
        assert_eq!(numbered("SELECT ?99999"), None);
    }
}
