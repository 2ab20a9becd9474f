//! Statements that are about the stream, not about rows: BEGIN, COMMIT and ROLLBACK, and whether foreign keys are kept.

use crate::gateway::Begin;

/// A statement that the stream itself carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Begin(Begin),
    Commit,
    Rollback,
    /// `PRAGMA foreign_keys = off`, or on.
    ForeignKeys(bool),
}

impl Control {
    /// Recognises such a statement.
    pub(super) fn of(sql: &str) -> Option<Self> {
        let mut words = words(sql);
        let mut next = || words.next().map(str::to_ascii_uppercase);
        let first = next()?;
        let all = [next(), next(), next(), next()];
        let rest: Vec<&str> = all.iter().map_while(Option::as_deref).collect();
        match (&*first, &rest[..]) {
            (
                "BEGIN",
                []
                | ["TRANSACTION"]
                | ["DEFERRED" | "IMMEDIATE" | "EXCLUSIVE" | "CONCURRENT"]
                | [
                    "DEFERRED" | "IMMEDIATE" | "EXCLUSIVE" | "CONCURRENT",
                    "TRANSACTION",
                ],
            ) => Some(Self::Begin(Begin::Write)),
            ("BEGIN", ["READONLY"] | ["READONLY", "TRANSACTION"] | ["TRANSACTION", "READONLY"]) => {
                Some(Self::Begin(Begin::Read))
            }
            ("COMMIT" | "END", [] | ["TRANSACTION"]) => Some(Self::Commit),
            ("ROLLBACK", [] | ["TRANSACTION"]) => Some(Self::Rollback),
            ("PRAGMA", ["FOREIGN_KEYS", "=", value]) => is_on(value).map(Self::ForeignKeys),
            ("PRAGMA", ["FOREIGN_KEYS", "(", value, ..]) => is_on(value).map(Self::ForeignKeys),
            _ => None,
        }
    }
}

fn is_on(value: &str) -> Option<bool> {
    match value {
        "ON" | "1" | "TRUE" | "YES" => Some(true),
        "OFF" | "0" | "FALSE" | "NO" => Some(false),
        _ => None,
    }
}

/// Returns the words and signs of a statement, up to its end, without comments.
pub(super) fn words(sql: &str) -> impl Iterator<Item = &str> {
    Words(sql)
}

struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.0 = self.0.trim_start();
            if let Some(comment) = self.0.strip_prefix("--") {
                self.0 = comment.split_once('\n').map_or("", |(_, after)| after);
            } else if let Some(comment) = self.0.strip_prefix("/*") {
                self.0 = comment.split_once("*/").map_or("", |(_, after)| after);
            } else {
                break;
            }
        }
        let first = self.0.chars().next().filter(|first| *first != ';')?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match self.0.find(|c| !is_word(c)) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => self.0.len(),
        };
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: Option<Control>) {
        assert_eq!(Control::of(sql), expect, "{sql}");
    }

    #[test]
    fn the_control_statements_of_clients_are_recognised() {
        for sql in [
            "BEGIN",
            "begin immediate",
            " BEGIN IMMEDIATE TRANSACTION;",
            "BEGIN/* now */DEFERRED -- slowly",
            "BEGIN TRANSACTION",
        ] {
            check(sql, Some(Control::Begin(Begin::Write)));
        }
        check(
            "BEGIN TRANSACTION READONLY",
            Some(Control::Begin(Begin::Read)),
        );
        check("COMMIT", Some(Control::Commit));
        check("END TRANSACTION ;", Some(Control::Commit));
        check("ROLLBACK", Some(Control::Rollback));
        check("PRAGMA foreign_keys=off", Some(Control::ForeignKeys(false)));
        check(
            "PRAGMA foreign_keys = ON;",
            Some(Control::ForeignKeys(true)),
        );
        check("pragma foreign_keys(0)", Some(Control::ForeignKeys(false)));
    }

    #[test]
    fn all_others_are_not() {
        for sql in [
            "",
            ";",
            "/* BEGIN",
            "ROLLBACK TO a",
            "SAVEPOINT a",
            "RELEASE a",
            "BEGIN CAREFULLY",
            "PRAGMA foreign_keys",
            "PRAGMA foreign_key_list(t)",
            "BEGINNING",
            "SELECT 'BEGIN'",
            "\"BEGIN\"",
        ] {
            check(sql, None);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String) {
            let _no_matter = Control::of(&text);
            let _no_matter = Control::of(&format!("BEGIN {text}"));
        }
    }
}
