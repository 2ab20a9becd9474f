//! Splitting a script into statements.

/// Splits a script at the semicolons that end statements: not those in literals, comments, quoted names, or between
/// BEGIN and END of a trigger. Parts without a statement are left out; the last part may lack its semicolon.
#[must_use]
pub fn split(script: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = script;
    while !rest.is_empty() {
        let (statement, after, _) = first(rest);
        if has_statement(statement) {
            parts.push(statement.trim());
        }
        rest = after;
    }
    parts
}

/// Whether a script ends with a complete statement, so that a shell need not ask for more.
#[must_use]
pub fn is_complete(script: &str) -> bool {
    let mut rest = script;
    loop {
        let (statement, after, ended) = first(rest);
        if !ended {
            return !has_statement(statement) && !ends_in_comment(statement);
        }
        rest = after;
    }
}

/// Whether a text without a statement ends inside a block comment.
fn ends_in_comment(text: &str) -> bool {
    let mut words = Words(text);
    words.by_ref().for_each(drop);
    words.0.starts_with("/*")
}

fn has_statement(text: &str) -> bool {
    Words(text).any(|token| !matches!(token, Token::End))
}

/// The text up to the end of the first statement, what follows its semicolon, and whether there was one.
fn first(script: &str) -> (&str, &str, bool) {
    let mut trigger = Trigger::Start;
    let mut words = Words(script);
    while let Some(token) = words.next() {
        match token {
            Token::End if trigger.may_end() => {
                let end = script.len() - words.0.len();
                return (&script[..end - 1], words.0, true);
            }
            token => trigger = trigger.after(&token),
        }
    }
    (script, "", false)
}

/// Removes `INDEXED BY name`, which names an index that virtual tables do not have. The answer does not depend on it.
pub(crate) fn without_index_hints(sql: &str) -> String {
    let mut kept = String::with_capacity(sql.len());
    let mut words = Words(sql);
    let mut from = 0;
    let mut hint = None;
    while let Some(token) = words.next() {
        let end = sql.len() - words.0.len();
        let is =
            |word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        hint = match hint {
            None if is("INDEXED") => Some((end - "INDEXED".len(), false)),
            Some((start, false)) if is("BY") => Some((start, true)),
            Some((start, true)) => {
                kept.push_str(&sql[from..start]);
                from = end;
                None
            }
            _ => None,
        };
    }
    kept.push_str(&sql[from..]);
    kept
}

/// How far into a CREATE TRIGGER we are; the body's statements end with semicolons of their own.
#[derive(Clone, Copy, PartialEq)]
enum Trigger {
    Start,
    Create,
    Header,
    /// In the body, `cases` deep in CASE expressions.
    Body {
        cases: u32,
        after_end: bool,
    },
    Plain,
}

impl Trigger {
    fn may_end(self) -> bool {
        match self {
            Self::Body { after_end, .. } => after_end,
            _ => true,
        }
    }

    fn after(self, token: &Token<'_>) -> Self {
        let is =
            |word: &str| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        match self {
            Self::Start if is("CREATE") => Self::Create,
            Self::Start if is("EXPLAIN") => Self::Start,
            Self::Create if is("TEMP") || is("TEMPORARY") => Self::Create,
            Self::Create if is("TRIGGER") => Self::Header,
            Self::Header if is("BEGIN") => Self::Body {
                cases: 0,
                after_end: false,
            },
            Self::Header => Self::Header,
            Self::Body { cases, .. } if is("CASE") => Self::Body {
                cases: cases + 1,
                after_end: false,
            },
            Self::Body { cases: 0, .. } if is("END") => Self::Body {
                cases: 0,
                after_end: true,
            },
            Self::Body { cases, .. } if is("END") => Self::Body {
                cases: cases - 1,
                after_end: false,
            },
            Self::Body { cases, .. } => Self::Body {
                cases,
                after_end: false,
            },
            Self::Start | Self::Create | Self::Plain => Self::Plain,
        }
    }
}

pub(super) enum Token<'a> {
    /// A semicolon.
    End,
    /// A bare word: a keyword, a name or a number.
    Word(&'a str),
    /// An opening parenthesis.
    Open,
    /// A closing one.
    Close,
    /// What stands between brackets: a name.
    Bracketed(&'a str),
    /// A literal, another quoted name or a punctuation mark.
    Other,
}

/// The tokens of a text; comments and space are passed over.
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Iterator for Words<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let text = self.0.trim_start();
            let first = text.chars().next()?;
            if let Some(comment) = text.strip_prefix("--") {
                self.0 = comment.split_once('\n').map_or("", |(_, after)| after);
                continue;
            }
            if let Some(comment) = text.strip_prefix("/*") {
                // A comment that is still open is left to be seen.
                self.0 = comment.split_once("*/").map_or(text, |(_, after)| after);
                if self.0 == text {
                    return None;
                }
                continue;
            }
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
            let (token, length) = match first {
                ';' => (Token::End, 1),
                '\'' | '"' | '`' => (Token::Other, quoted(text, first)),
                '[' => {
                    let end = text.find(']').unwrap_or(text.len());
                    let length = text.len().min(end + 1);
                    (Token::Bracketed(&text[1..end]), length)
                }
                '(' => (Token::Open, 1),
                ')' => (Token::Close, 1),
                _ if is_word(first) => {
                    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
                    (Token::Word(&text[..end]), end)
                }
                _ => (Token::Other, first.len_utf8()),
            };
            self.0 = &text[length..];
            return Some(token);
        }
    }
}

/// The length of a quoted token; a doubled quote starts another, which makes no difference here.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expect: &[&str]) {
        assert_eq!(split(script), expect);
    }

    #[test]
    fn statements_end_at_semicolons() {
        check("SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"]);
        check(";; -- nothing\n ; /* ; */", &[]);
        check(
            "SELECT ';' , \"a;b\", [c;d], `e;f`, 'it''s;'; SELECT 2 -- ;",
            &[
                "SELECT ';' , \"a;b\", [c;d], `e;f`, 'it''s;'",
                "SELECT 2 -- ;",
            ],
        );
    }

    #[test]
    fn a_trigger_is_one_statement() {
        let trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET x = CASE WHEN 1 THEN 2 END; SELECT 1; END";
        check(&format!("{trigger}; SELECT 3"), &[trigger, "SELECT 3"]);
        check(
            "BEGIN; SELECT 1; END; SELECT 2",
            &["BEGIN", "SELECT 1", "END", "SELECT 2"],
        );
    }

    #[test]
    fn index_hints_are_removed_and_nothing_else() {
        assert_eq!(
            without_index_hints("SELECT 1 FROM t INDEXED BY i WHERE a"),
            "SELECT 1 FROM t  WHERE a"
        );
        assert_eq!(
            without_index_hints("SELECT indexed FROM t, u indexed by \"j\""),
            "SELECT indexed FROM t, u "
        );
        assert_eq!(
            without_index_hints("SELECT 'INDEXED BY i'"),
            "SELECT 'INDEXED BY i'"
        );
    }

    #[test]
    fn a_shell_asks_for_more_until_the_statement_ends() {
        assert!(is_complete("SELECT 1;"));
        assert!(is_complete(" "));
        assert!(is_complete("SELECT 1; /* done; */ -- /* quite"));
        assert!(!is_complete("SELECT 1; /* done */ /* or not"));
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT ';"));
        assert!(!is_complete(
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1;"
        ));
        assert!(!is_complete("SELECT 1; /* and"));
    }
}
