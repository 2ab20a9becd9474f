//! What a client's statement may not do to a file.

#[cfg(feature = "capture")]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::{Error, META_TABLE, Result, identity};

/// How our own statements on system tables begin. They stay compiled, and SQLite asks the guard only when
/// it compiles; so no statement of a client may have the text of one of them.
pub(crate) const OURS: &str = "/* shardwright */ ";

/// Watches over the statements that the writing connection compiles.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Whether the statement is our own.
    ours: AtomicBool,
    /// Whether a statement that changes the schema was compiled.
    schema: AtomicBool,
    /// Whether rows changed after the changes of the transaction were taken.
    late: AtomicBool,
    /// How many rows of any database have been touched, each time.
    #[cfg(feature = "capture")]
    touches: AtomicU64,
    /// Whether a table was touched for the first time, or something could not be captured.
    #[cfg(feature = "capture")]
    news: AtomicBool,
}

impl Guard {
    /// Runs statements of our own, which may write to system tables.
    pub(crate) fn ours<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = self.ours.swap(true, Ordering::Relaxed);
        let result = run();
        self.ours.store(before, Ordering::Relaxed);
        result
    }

    /// Says whether the statements from now on are our own.
    #[cfg(feature = "capture")]
    pub(crate) fn set_ours(&self, ours: bool) {
        self.ours.store(ours, Ordering::Relaxed);
    }

    /// Refuses a client's statement that passes for one of ours.
    #[inline]
    pub(crate) fn check_text(sql: &str) -> Result<()> {
        // Nearly every statement begins with its first word.
        let first = sql.as_bytes().first();
        match first.is_some_and(u8::is_ascii_alphabetic) {
            true => Ok(()),
            false => Self::check_odd_text(sql),
        }
    }

    #[cold]
    fn check_odd_text(sql: &str) -> Result<()> {
        if sql.trim_start().starts_with(OURS.trim_end()) {
            return Err(Error::Sql {
                message: format!(
                    "statements that begin with {} are reserved",
                    OURS.trim_end()
                ),
                offset: Some(0),
            });
        }
        Ok(())
    }

    /// Returns whether a statement that changes the schema was compiled since the last call.
    #[cfg(feature = "capture")]
    pub(crate) fn take_schema(&self) -> bool {
        self.schema.swap(false, Ordering::Relaxed)
    }

    /// Counts a row that is about to be touched. One thread at a time does so.
    #[cfg(feature = "capture")]
    pub(crate) fn count_touch(&self) {
        let touches = self.touches.load(Ordering::Relaxed);
        self.touches.store(touches + 1, Ordering::Relaxed);
    }

    /// Returns how many rows have been touched so far, those of statements that were undone among them.
    #[cfg(feature = "capture")]
    pub(crate) fn touches(&self) -> u64 {
        self.touches.load(Ordering::Relaxed)
    }

    /// Says that capture has something to look at before a member has succeeded.
    #[cfg(feature = "capture")]
    pub(crate) fn note_news(&self) {
        self.news.store(true, Ordering::Relaxed);
    }

    /// Returns whether capture has something to look at, and forgets it.
    #[cfg(feature = "capture")]
    pub(crate) fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::Relaxed)
    }

    /// Returns whether the one or the other can be taken. Nearly always neither can, and that is all a member has to know.
    #[cfg(feature = "capture")]
    #[inline]
    pub(crate) fn needs_a_look(&self) -> bool {
        self.schema.load(Ordering::Relaxed) || self.news.load(Ordering::Relaxed)
    }

    #[cfg(feature = "capture")]
    pub(crate) fn note_late_change(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    /// Returns whether the COMMIT that is about to happen must not.
    pub(crate) fn has_late_change(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Returns whether rows changed late, and forgets it.
    #[cfg(feature = "capture")]
    pub(crate) fn take_late_change(&self) -> bool {
        self.late.swap(false, Ordering::Relaxed)
    }

    /// Answers SQLite, which asks while it compiles a statement.
    pub(crate) fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.ours.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        if let Some(table) = written_table(&context.action)
            && identity::is_system(table.as_bytes())
            && !may_note(&context.action)
        {
            return Authorization::Deny;
        }
        if is_schema_change(&context.action) {
            self.schema.store(true, Ordering::Relaxed);
        }
        match context.action {
            AuthAction::Pragma {
                pragma_name,
                pragma_value: Some(_),
            } if is_our_setting(pragma_name) => Authorization::Deny,
            _ => Authorization::Allow,
        }
    }
}

/// Whether it writes rows of `_meta`, which may hold notes of whoever uses the file. Where changes are captured, each row is
/// looked at.
fn may_note(action: &AuthAction<'_>) -> bool {
    match *action {
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => table_name.eq_ignore_ascii_case(META_TABLE),
        _ => false,
    }
}

/// Returns whether it is a setting on which the readers' view of commits rests.
fn is_our_setting(pragma: &str) -> bool {
    ["journal_mode", "locking_mode", "wal_autocheckpoint"]
        .iter()
        .any(|ours| pragma.eq_ignore_ascii_case(ours))
}

/// Returns the table that a statement writes to or defines.
fn written_table<'a>(action: &AuthAction<'a>) -> Option<&'a str> {
    match *action {
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. } => Some(table_name),
        AuthAction::CreateView { view_name } => Some(view_name),
        _ => None,
    }
}

fn is_schema_change(action: &AuthAction<'_>) -> bool {
    matches!(
        action,
        AuthAction::CreateTable { .. }
            | AuthAction::CreateIndex { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::CreateVtable { .. }
            | AuthAction::DropTable { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropVtable { .. }
            | AuthAction::AlterTable { .. }
    )
}
