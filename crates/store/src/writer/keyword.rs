//! The first words of a statement.

/// What a statement is, as far as its first words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// It begins, ends or divides a transaction.
    Transaction,
    /// A PRAGMA.
    Pragma(Pragma<'a>),
    /// It defines something, or is ANALYZE.
    Schema(Definition),
    /// VACUUM, ATTACH or DETACH.
    File,
    /// It inserts, updates or deletes rows, as its first word says.
    Change,
    /// It reads or changes rows.
    Rows,
}

/// The parts of a PRAGMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pragma<'a> {
    pub(super) name: &'a str,
    /// Whether it has an argument or a new value.
    pub(super) has_argument: bool,
}

/// What is being defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// CREATE TABLE.
    Table,
    /// ANALYZE, or PRAGMA optimize.
    Analyze,
    /// Anything else.
    Other,
}

/// What divides a transaction, with the name of the savepoint as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Division<'a> {
    /// SAVEPOINT.
    Begin(&'a str),
    /// RELEASE.
    Keep(&'a str),
    /// ROLLBACK TO.
    Undo(&'a str),
}

/// Returns how a statement divides a transaction, if it does nothing else.
pub(super) fn division(sql: &str) -> Option<Division<'_>> {
    let (word, rest) = next_word(sql);
    let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
    let skip = |rest, optional: &str| match next_word(rest) {
        (word, after) if is(word, optional) => after,
        _ => rest,
    };
    if is(word, "SAVEPOINT") {
        Some(Division::Begin(name(rest)))
    } else if is(word, "RELEASE") {
        Some(Division::Keep(name(skip(rest, "SAVEPOINT"))))
    } else if is(word, "ROLLBACK") {
        match next_word(skip(rest, "TRANSACTION")) {
            (to, after) if is(to, "TO") => Some(Division::Undo(name(skip(after, "SAVEPOINT")))),
            _ => None,
        }
    } else {
        None
    }
}

/// Returns the name that a statement ends with, without its quotes.
fn name(rest: &str) -> &str {
    let is_blank = |c: char| c.is_ascii_whitespace() || c == ';';
    let written = skip_blanks(rest).trim_end_matches(is_blank);
    let quoted = [('"', '"'), ('\'', '\''), ('`', '`'), ('[', ']')];
    let mut bare = quoted.iter().filter_map(|(before, after)| {
        let inner = written.strip_prefix(*before)?;
        inner.strip_suffix(*after)
    });
    bare.next().unwrap_or(written)
}

/// Returns what a statement is.
#[inline]
pub(super) fn kind(sql: &str) -> Kind<'_> {
    match plain_kind(sql) {
        Some(kind) => kind,
        None => any_kind(sql),
    }
}

fn any_kind(sql: &str) -> Kind<'_> {
    let (word, rest) = next_word(sql);
    let is = |words: &[&str]| words.iter().any(|other| word.eq_ignore_ascii_case(other));
    if is(&[
        "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES",
    ]) {
        Kind::Rows
    } else if is(&["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"]) {
        Kind::Transaction
    } else if is(&["PRAGMA"]) {
        match pragma(rest) {
            // It may run ANALYZE.
            Pragma { name, .. } if name.eq_ignore_ascii_case("optimize") => {
                Kind::Schema(Definition::Analyze)
            }
            pragma => Kind::Pragma(pragma),
        }
    } else if is(&["CREATE"]) {
        Kind::Schema(definition(rest))
    } else if is(&["DROP", "ALTER"]) {
        Kind::Schema(Definition::Other)
    } else if is(&["ANALYZE"]) {
        Kind::Schema(Definition::Analyze)
    } else if is(&["VACUUM", "ATTACH", "DETACH"]) {
        Kind::File
    } else {
        Kind::Rows
    }
}

/// Returns what a statement is that begins with one of the words that nearly all do, and a blank. To look for any word takes a good part of
/// the time of a small statement.
#[inline]
fn plain_kind(sql: &str) -> Option<Kind<'static>> {
    let start: &[u8; 8] = sql.as_bytes().first_chunk()?;
    if start[WORD] != b' ' {
        return None;
    }
    // No byte but the two cases of a letter becomes that letter.
    match u64::from_le_bytes(*start) & WORD_MASK | WORD_LOWER {
        INSERT | UPDATE | DELETE => Some(Kind::Change),
        SELECT => Some(Kind::Rows),
        _ => None,
    }
}

/// How many letters the words have that nearly all statements begin with.
const WORD: usize = 6;

const WORD_MASK: u64 = (1 << (8 * WORD)) - 1;

/// The bits that make its letters small ones.
const WORD_LOWER: u64 = 0x2020_2020_2020_2020 & WORD_MASK;

const INSERT: u64 = u64::from_le_bytes(*b"insert\0\0");
const UPDATE: u64 = u64::from_le_bytes(*b"update\0\0");
const DELETE: u64 = u64::from_le_bytes(*b"delete\0\0");
const SELECT: u64 = u64::from_le_bytes(*b"select\0\0");

fn definition(rest: &str) -> Definition {
    let (word, rest) = next_word(rest);
    let word = match word.to_ascii_uppercase().as_str() {
        "TEMP" | "TEMPORARY" => next_word(rest).0,
        _ => word,
    };
    match word.eq_ignore_ascii_case("TABLE") {
        true => Definition::Table,
        false => Definition::Other,
    }
}

fn pragma(rest: &str) -> Pragma<'_> {
    let (mut name, mut rest) = next_word(rest);
    if let Some(after) = skip_blanks(rest).strip_prefix('.') {
        (name, rest) = next_word(after);
    }
    let rest = skip_blanks(rest);
    Pragma {
        name,
        has_argument: !(rest.is_empty() || rest.starts_with(';')),
    }
}

/// Returns the next word, past the blanks, comments and empty statements that SQLite skips, and what
/// follows it.
fn next_word(sql: &str) -> (&str, &str) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut rest = sql;
    // Nearly every statement begins with its first word.
    if !rest.bytes().next().is_some_and(is_part) {
        rest = skip_blanks(sql.trim_start_matches([';', '\u{feff}']));
        if rest.starts_with([';', '\u{feff}']) {
            return next_word(rest);
        }
    }
    let end = rest.bytes().position(|byte| !is_part(byte));
    rest.split_at(end.unwrap_or(rest.len()))
}

/// Skips blanks and comments.
fn skip_blanks(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return rest;
        };
    }
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
            assert_eq!(kind(sql), Kind::Transaction, "{sql}");
        }
        for sql in [
            "SELECT 1",
            "",
            "-- COMMIT",
            "/* BEGIN",
            "ENDING",
            "EXPLAIN COMMIT",
        ] {
            assert_eq!(kind(sql), Kind::Rows, "{sql}");
        }
    }

    #[test]
    fn what_divides_a_transaction_names_its_savepoint() {
        for (sql, expected) in [
            ("savepoint s", Division::Begin("s")),
            ("SAVEPOINT \"a b\" ;", Division::Begin("a b")),
            ("RELEASE s", Division::Keep("s")),
            ("/**/ release savepoint [s]", Division::Keep("s")),
            ("ROLLBACK TO s", Division::Undo("s")),
            ("rollback transaction to savepoint 's'", Division::Undo("s")),
        ] {
            assert_eq!(division(sql), Some(expected), "{sql}");
        }
        for sql in [
            "ROLLBACK",
            "ROLLBACK TRANSACTION",
            "COMMIT",
            "BEGIN",
            "SELECT 1",
        ] {
            assert_eq!(division(sql), None, "{sql}");
        }
    }

    #[test]
    fn only_what_changes_rows_by_its_first_word_is_a_change() {
        for sql in ["INSERT INTO t", "update t", "Delete FROM t"] {
            assert_eq!(kind(sql), Kind::Change, "{sql}");
        }
        for sql in [
            "SELECT 1",
            "INSERT\nINTO t",
            "INSERTS INTO t",
            "REPLACE INTO t",
            "EXPLAIN INSERT INTO t",
            "WITH x AS (SELECT 1) DELETE FROM t",
            "INSERT",
            "\u{9}NSERT INTO t",
            "",
        ] {
            assert_eq!(kind(sql), Kind::Rows, "{sql}");
        }
    }

    #[test]
    fn a_pragma_has_a_name_and_perhaps_an_argument() {
        for (sql, name, has_argument) in [
            (
                "/**/ pragma defer_foreign_keys = 1",
                "defer_foreign_keys",
                true,
            ),
            ("PRAGMA main . user_version;", "user_version", false),
            ("PRAGMA temp.table_info(t)", "table_info", true),
            ("PRAGMA\n--\nuser_version/**/=/**/1", "user_version", true),
            ("PRAGMA \"user_version\" = 1", "", true),
        ] {
            let pragma = Pragma { name, has_argument };
            assert_eq!(kind(sql), Kind::Pragma(pragma), "{sql}");
        }
    }

    #[test]
    fn definitions_are_told_apart() {
        for (sql, kind_expected) in [
            ("create table t (a)", Kind::Schema(Definition::Table)),
            (
                "CREATE /* */ TEMP TABLE t (a)",
                Kind::Schema(Definition::Table),
            ),
            (
                "CREATE VIRTUAL TABLE t USING fts5(a)",
                Kind::Schema(Definition::Other),
            ),
            (
                "CREATE UNIQUE INDEX i ON t (a)",
                Kind::Schema(Definition::Other),
            ),
            ("DROP TABLE t", Kind::Schema(Definition::Other)),
            ("analyze", Kind::Schema(Definition::Analyze)),
            ("PRAGMA optimize", Kind::Schema(Definition::Analyze)),
            ("vacuum into 'x'", Kind::File),
            ("attach 'x' as y", Kind::File),
        ] {
            assert_eq!(kind(sql), kind_expected, "{sql}");
        }
    }
}
