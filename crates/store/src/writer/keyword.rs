//! The first word of a statement.

/// Returns whether a statement begins, ends or divides a transaction.
pub(super) fn controls_transaction(sql: &str) -> bool {
    let word = first_word(sql);
    ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"]
        .iter()
        .any(|control| word.eq_ignore_ascii_case(control))
}

/// Returns whether a statement is a PRAGMA.
pub(super) fn is_pragma(sql: &str) -> bool {
    first_word(sql).eq_ignore_ascii_case("PRAGMA")
}

/// Returns the first word, past the blanks, comments and empty statements that SQLite skips.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\u{feff}');
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            break;
        };
    }
    let end = rest
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_statements_are_found_behind_blanks_and_comments() {
        for sql in [
            "begin",
            " ; COMMIT;",
            "-- note\n/* more */ end transaction",
            "RollBack TO x",
            "/*;*/savepoint s",
            "\u{feff}RELEASE s",
        ] {
            assert!(controls_transaction(sql), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "",
            "-- COMMIT",
            "/* BEGIN",
            "ENDING",
            "EXPLAIN COMMIT",
        ] {
            assert!(!controls_transaction(sql), "{sql}");
        }
        assert!(is_pragma("/**/ pragma defer_foreign_keys = 1"));
    }
}
