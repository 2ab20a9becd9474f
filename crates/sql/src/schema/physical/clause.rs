//! Finding the foreign-key clauses in the text of a CREATE TABLE statement.

use std::ops::Range;

/// A token that is neither space nor comment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: Range<usize>,
    /// How many parentheses are open around it; the outer ones of the table count.
    depth: usize,
}

/// Returns where the foreign-key clauses of a statement stand, in their order, each with its CONSTRAINT name and, if
/// it is a clause of the table, with the comma before it.
pub(super) fn foreign_keys(sql: &str) -> Vec<Range<usize>> {
    let tokens = tokens(sql);
    let is = |at: usize, words: &[&str]| {
        words.iter().enumerate().all(|(offset, word)| {
            tokens
                .get(at + offset)
                .is_some_and(|token| sql[token.text.clone()].eq_ignore_ascii_case(word))
        })
    };
    let mut clauses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].depth != 1 || !(is(at, &["REFERENCES"]) || is(at, &["FOREIGN", "KEY"])) {
            at += 1;
            continue;
        }
        let of_table = is(at, &["FOREIGN"]);
        let mut first = at;
        if at >= 2 && is(at - 2, &["CONSTRAINT"]) {
            first -= 2;
        }
        if of_table {
            if first >= 1 && is(first - 1, &[","]) {
                first -= 1;
            }
            at = past_parentheses(&tokens, at + 2);
        }
        // REFERENCES, the table, and perhaps its columns.
        at += 2;
        if is(at, &["("]) {
            at = past_parentheses(&tokens, at);
        }
        at = past_actions(at, &is);
        clauses.push(tokens[first].text.start..tokens[at - 1].text.end);
    }
    clauses
}

/// The index after the parenthesis that closes the one at `open`.
fn past_parentheses(tokens: &[Token], open: usize) -> usize {
    let depth = tokens.get(open).map_or(0, |token| token.depth);
    let inside = tokens[(open + 1).min(tokens.len())..]
        .iter()
        .take_while(|token| token.depth > depth)
        .count();
    (open + 1 + inside + 1).min(tokens.len())
}

fn past_actions(mut at: usize, is: &dyn Fn(usize, &[&str]) -> bool) -> usize {
    loop {
        let length = if is(at, &["ON"]) {
            if is(at + 2, &["SET"]) || is(at + 2, &["NO"]) {
                4
            } else {
                3
            }
        } else if is(at, &["MATCH"]) || is(at, &["NOT", "DEFERRABLE"]) || is(at, &["INITIALLY"]) {
            2
        } else if is(at, &["DEFERRABLE"]) {
            1
        } else {
            return at;
        };
        at += length;
    }
}

fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        let (length, is_token) = match bytes[at] {
            byte if byte.is_ascii_whitespace() => (1, false),
            b'-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), false),
            b'/' if rest.starts_with("/*") => (
                rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
                false,
            ),
            quote @ (b'\'' | b'"' | b'`') => (quoted(rest, quote), true),
            b'[' => (rest.find(']').map_or(rest.len(), |end| end + 1), true),
            byte if is_word(byte) => {
                let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
                (length, true)
            }
            _ => (1, true),
        };
        if is_token {
            if bytes[at] == b')' {
                depth -= usize::from(depth > 0);
            }
            tokens.push(Token {
                text: at..at + length,
                depth,
            });
            if bytes[at] == b'(' {
                depth += 1;
            }
        }
        at += length;
    }
    tokens
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// The length of a quoted token; a doubled quote is part of it.
fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] == quote {
            if bytes.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: &[&str]) {
        let found: Vec<&str> = foreign_keys(sql)
            .into_iter()
            .map(|clause| &sql[clause])
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn clauses_of_columns_and_of_the_table_are_found() {
        check(
            "CREATE TABLE t(a INT CONSTRAINT f REFERENCES p(x) ON DELETE SET NULL ON UPDATE NO ACTION NOT NULL,
             b REFERENCES \"q q\" MATCH FULL NOT DEFERRABLE INITIALLY IMMEDIATE, c,
             CONSTRAINT g FOREIGN KEY(b, c) REFERENCES r(y, z) DEFERRABLE, FOREIGN KEY (c) REFERENCES s)",
            &[
                "CONSTRAINT f REFERENCES p(x) ON DELETE SET NULL ON UPDATE NO ACTION",
                "REFERENCES \"q q\" MATCH FULL NOT DEFERRABLE INITIALLY IMMEDIATE",
                ",\n             CONSTRAINT g FOREIGN KEY(b, c) REFERENCES r(y, z) DEFERRABLE",
                ", FOREIGN KEY (c) REFERENCES s",
            ],
        );
    }

    #[test]
    fn words_in_comments_literals_names_and_expressions_are_no_clauses() {
        check(
            "CREATE TABLE t(\"references\" /* REFERENCES p */, b DEFAULT 'REFERENCES p', -- REFERENCES p
             [foreign key] CHECK (b <> (1)))",
            &[],
        );
    }
}
