//! Statements: text, and what the parser makes of it.
//!
//! Only this module and its children know the parser's types. SQLite has the last word on whether a statement is
//! valid; the parser is asked what the statement is about.

pub(crate) mod ast;
mod depth;
mod numbered;
mod split;

use turso_parser::{
    ast::{Cmd, Stmt},
    parser::Parser,
};

pub use self::split::{is_complete, split};
pub(crate) use self::{
    depth::is_too_deep,
    numbered::{Numbered, numbered},
    split::without_index_hints,
};

/// What a statement does, as far as it matters for where it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Reads rows.
    Read,
    /// Inserts, updates or deletes rows.
    Write,
    /// Creates, changes or drops a table, index, view or trigger, or builds indexes anew.
    Ddl,
    /// Begins or ends a transaction.
    Transaction,
    /// A PRAGMA.
    Pragma,
    /// EXPLAIN of another statement.
    Explain,
    /// Anything else: ATTACH, VACUUM and the like.
    Other,
}

/// Parses one statement. `None` where the parser does not understand it, which does not mean that SQLite does not, and where it is [too
/// deep](is_too_deep).
pub(crate) fn parse(sql: &str) -> Option<Cmd> {
    if is_too_deep(sql) {
        return None;
    }
    let mut parser = Parser::new(sql.as_bytes());
    let command = parser.next_cmd().ok()??;
    // A second statement in one text is for the splitter, not for us.
    matches!(parser.next_cmd(), Ok(None)).then_some(command)
}

/// The statement of an `EXPLAIN SHARDS`, which is ours and not SQLite's.
pub(crate) fn of_explain_shards(sql: &str) -> Option<&str> {
    let mut words = split::Words(sql);
    let mut is_next = |word: &str| matches!(words.next(), Some(split::Token::Word(found)) if found.eq_ignore_ascii_case(word));
    let is_ours = is_next("EXPLAIN") && is_next("SHARDS");
    let explained = words.0;
    (is_ours && words.next().is_some()).then_some(explained)
}

/// Tells the kind of a parsed statement.
pub(crate) fn kind_of(command: &Cmd) -> StatementKind {
    match command {
        Cmd::Explain(_) | Cmd::ExplainQueryPlan { .. } => StatementKind::Explain,
        Cmd::Stmt(statement) => match statement {
            Stmt::Select(_) => StatementKind::Read,
            Stmt::Insert { .. } | Stmt::Update(_) | Stmt::Delete { .. } => StatementKind::Write,
            Stmt::Begin { .. }
            | Stmt::Commit { .. }
            | Stmt::Rollback { .. }
            | Stmt::Savepoint { .. }
            | Stmt::Release { .. } => StatementKind::Transaction,
            Stmt::Pragma { .. } => StatementKind::Pragma,
            Stmt::CreateTable { .. }
            | Stmt::CreateIndex { .. }
            | Stmt::CreateView { .. }
            | Stmt::CreateTrigger { .. }
            | Stmt::CreateVirtualTable(_)
            | Stmt::DropTable { .. }
            | Stmt::DropIndex { .. }
            | Stmt::DropView { .. }
            | Stmt::DropTrigger { .. }
            | Stmt::Reindex { .. }
            | Stmt::AlterTable(_) => StatementKind::Ddl,
            _ => StatementKind::Other,
        },
    }
}

/// Tells the kind of a statement by its first word that is no comment. After `WITH` it is a guess.
#[must_use]
pub fn kind_by_first_word(sql: &str) -> StatementKind {
    let word: String = first_word(sql).to_ascii_uppercase();
    match word.as_str() {
        "SELECT" | "VALUES" | "WITH" => StatementKind::Read,
        "INSERT" | "REPLACE" | "UPDATE" | "DELETE" => StatementKind::Write,
        "CREATE" | "DROP" | "ALTER" | "REINDEX" => StatementKind::Ddl,
        "PRAGMA" => StatementKind::Pragma,
        "EXPLAIN" => StatementKind::Explain,
        _ => StatementKind::Other,
    }
}

fn first_word(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        let after = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            break;
        };
        rest = after.trim_start();
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
    fn the_first_word_is_found_behind_comments() {
        assert_eq!(first_word("-- a\n /* b */ Select 1"), "Select");
        assert_eq!(first_word("  "), "");
        assert_eq!(first_word("/* open"), "");
    }

    #[test]
    fn explain_shards_is_known_behind_comments() {
        let inner = of_explain_shards("/* why */ explain -- \n Shards SELECT 1");
        assert_eq!(inner, Some(" SELECT 1"));
        assert_eq!(of_explain_shards("EXPLAIN SELECT shards"), None);
        assert_eq!(of_explain_shards("EXPLAIN 'SHARDS'"), None);
        assert_eq!(of_explain_shards("EXPLAIN SHARDS -- of nothing"), None);
    }

    #[test]
    fn two_statements_are_not_one() {
        assert!(parse("SELECT 1; SELECT 2").is_none());
        assert!(parse("SELECT 1; ").is_some());
    }
}
