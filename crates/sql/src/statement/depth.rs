//! How deeply a statement is nested. The parser calls itself for each level and would take the stack of its thread, and the process with it.

use super::split::{Token, Words};

/// How many levels of parentheses a statement may have. SQLite takes more, and people write less.
const PARENTHESES_MOST: usize = 100;

/// How many ON CONFLICT clauses an INSERT may have. Each is a level of its own.
const UPSERTS_MOST: usize = 100;

/// Whether a statement is nested so deeply that it is not parsed.
pub(crate) fn is_too_deep(sql: &str) -> bool {
    let mut nesting = Nesting::default();
    let mut words = Words(sql);
    while let Some(token) = words.next() {
        let here = sql.len() - words.0.len();
        nesting.see(&token, &sql[..here]);
        if nesting.depth > PARENTHESES_MOST || nesting.upserts > UPSERTS_MOST {
            return true;
        }
    }
    nesting.is_ambiguous && sql.matches('(').count() > PARENTHESES_MOST
}

/// What has been seen so far.
#[derive(Default)]
struct Nesting {
    depth: usize,
    upserts: usize,
    /// Whether the last word was CONFLICT.
    after_conflict: bool,
    /// Whether the parser may take for parentheses what SQLite does not, and the other way round.
    is_ambiguous: bool,
}

impl Nesting {
    /// Takes a token into account, with which the text so far ends.
    fn see(&mut self, token: &Token<'_>, text: &str) {
        let is =
            |word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        if self.after_conflict && (matches!(token, Token::Open) || is("DO")) {
            self.upserts += 1;
        }
        self.after_conflict = is("CONFLICT");
        match token {
            Token::Open => {
                self.depth += 1;
                self.is_ambiguous |= follows_variable(text);
            }
            Token::Close => self.depth = self.depth.saturating_sub(1),
            // The parser knows arrays.
            Token::Bracketed(name) => {
                self.is_ambiguous |= name.contains(['\'', '"', '`', '-', '/']);
                let closed = name.matches(')').count();
                self.depth += name.matches('(').count().saturating_sub(closed);
            }
            Token::End | Token::Word(_) | Token::Other => {}
        }
    }
}

/// Whether a text ends with a variable and a parenthesis, which may be part of its name: `$a(b)`.
fn follows_variable(text: &str) -> bool {
    let before = text.trim_end_matches('(');
    let name = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii());
    name.len() < before.len() && name.ends_with(['$', '@', ':', '#'])
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::statement::parse;

    fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
        [&*open.repeat(depth), inner, &*close.repeat(depth)].concat()
    }

    /// Statements that take a level of the parser for each repetition.
    fn nestings(depth: usize) -> Vec<String> {
        let from = |open: &str, inner: &str, close: &str| {
            format!("SELECT * FROM {}", nested(open, inner, close, depth))
        };
        let value = |open: &str, inner: &str, close: &str| {
            format!("SELECT {}", nested(open, inner, close, depth))
        };
        vec![
            from("(", "t", ")"),
            from("(SELECT * FROM ", "t", ")"),
            from("t JOIN (", "t", ")"),
            from("(WITH a AS (SELECT 1) SELECT * FROM ", "a", ")"),
            nested("WITH a AS (", "SELECT 1", ") SELECT 1", depth),
            nested("SELECT 1 WHERE 1 IN (", "SELECT 1", ")", depth),
            value("(", "1", ")"),
            value("(SELECT ", "1", ")"),
            value("CASE WHEN ", "1", " THEN 1 END"),
            value("CASE ", "1", " WHEN 1 THEN 1 END"),
            value("CAST(", "1", " AS INT)"),
            value("coalesce(1, ", "1", ")"),
            value("EXISTS (SELECT ", "1", ")"),
            value("NOT ", "1", ""),
            value("- ", "1", ""),
            value("1 + ", "1", ""),
            value("1 || (", "1", ")"),
            value("", "1", " COLLATE nocase"),
            value("1 BETWEEN ", "1", " AND 1"),
            value("a -> ", "1", ""),
            value("sum(1) FILTER (WHERE ", "1", ")"),
            value("ARRAY[", "1", "]"),
            value("ARRAY[(SELECT 1 FROM (", "t", "))]"),
            value("ARRAY['a]b', (SELECT 1 FROM (", "t", "))]"),
            value("[)], ((", "1", "))"),
            value("1", "", "[1]"),
            value(
                "(SELECT CASE WHEN 1 IN (SELECT 1 FROM (SELECT 1 FROM (",
                "t",
                ")) WHERE 1) THEN 1 END)",
            ),
            value(
                "NOT (SELECT - (1 OR 1 AND 1 = 1 < 1 | 1 + 1 * 1 || (SELECT 1 FROM (",
                "t",
                "))))",
            ),
            value("$a('),", "1", "('"),
        ]
    }

    /// Statements that are long, and nested by what is no expression.
    fn chains(depth: usize) -> Vec<String> {
        vec![
            format!("SELECT 1{}", " UNION SELECT 1".repeat(depth)),
            format!("SELECT * FROM t{}", " JOIN t".repeat(depth)),
            format!("SELECT 1{}", ", 1".repeat(depth)),
            format!("VALUES (1){}", ", (1)".repeat(depth)),
            format!(
                "WITH a AS (SELECT 1){} SELECT 1",
                ", b AS (SELECT 1)".repeat(depth)
            ),
            format!(
                "INSERT INTO t VALUES (1){}",
                " ON CONFLICT (a) DO NOTHING".repeat(depth)
            ),
            format!(
                "INSERT INTO t VALUES (1){}",
                "/**/ON/**/CONFLICT/**/(a)DO UPDATE SET a=1".repeat(depth)
            ),
            format!(
                "CREATE TABLE t(a INT CHECK {})",
                nested("(", "1", ")", depth)
            ),
            format!("CREATE TABLE t(a {}", "STRUCT(a ".repeat(depth)),
            format!(
                "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT {}; END",
                nested("(", "1", ")", depth)
            ),
            "EXPLAIN ".repeat(depth) + "SELECT 1",
        ]
    }

    /// Runs something on half the stack of a thread of tokio.
    fn on_small_stack(run: impl FnOnce() + Send + 'static) {
        let thread = thread::Builder::new().stack_size(1 << 20).spawn(run);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn no_statement_takes_the_stack() {
        for depth in [20, 99, 100, 101, 1_000, 100_000] {
            on_small_stack(move || {
                for sql in nestings(depth).into_iter().chain(chains(depth)) {
                    drop(parse(&sql));
                }
            });
        }
    }

    #[test]
    fn what_people_write_is_parsed() {
        let many = format!("INSERT INTO t VALUES (1){}", ", (1)".repeat(5_000));
        let columns = "ON CONFLICT REPLACE, b INT NOT NULL ".repeat(300);
        for sql in [
            nested("SELECT * FROM (", "SELECT 1", ")", 30),
            nested(
                "SELECT ((((",
                "'(((' || \"((\" || `((` -- ((((",
                "\n))))",
                1,
            ),
            format!(
                "SELECT [Amount (EUR)]{} FROM t",
                ", [Amount (EUR)]".repeat(300)
            ),
            format!("CREATE TABLE t(a INT NOT NULL {columns})"),
            many,
        ] {
            assert!(!is_too_deep(&sql), "{sql}");
        }
        let quoted = format!(
            "SELECT '{}', \"{0}\", `{0}` /* {0} */ -- {0}",
            "(".repeat(500)
        );
        assert!(!is_too_deep(&quoted) && parse(&quoted).is_some());
        assert!(is_too_deep(
            &nested("SELECT ", "1", "", 1).replace('1', &"(".repeat(101))
        ));
    }
}
