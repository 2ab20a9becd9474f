//! How readers learn of commits, before they can see them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the commits of this process to one file, and says whether one is under way.
///
/// A commit is visible to readers a moment before SQLite reports it. A reader that went by the reports alone could, in
/// that moment, show the state before the commit to a thread that has seen the state after it. So the writer says
/// beforehand that it is about to commit: then nobody relies on the count.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// Twice the number of commits, plus one while the next is under way.
    state: AtomicU64,
}

/// The bit that is set while a commit is under way.
const UNDER_WAY: u64 = 1;

impl Commits {
    /// Says that a commit is about to become visible.
    pub(crate) fn announce(&self) {
        self.state.fetch_or(UNDER_WAY, Ordering::AcqRel);
    }

    /// Says that the commit is complete and visible. The writer alone calls this.
    pub(crate) fn complete(&self) {
        let state = self.state.load(Ordering::Acquire);
        self.state.store((state | UNDER_WAY) + 1, Ordering::Release);
    }

    /// Says that a statement is over: what was announced has happened, or wrote nothing, or will not happen.
    #[inline]
    pub(crate) fn settle(&self) {
        if self.state.load(Ordering::Acquire) & UNDER_WAY != 0 {
            self.state.fetch_and(!UNDER_WAY, Ordering::AcqRel);
        }
    }

    /// Returns the number of commits, all of which a read that begins now sees; `None` while the next is under way.
    #[inline]
    pub(crate) fn settled(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Acquire);
        (state & UNDER_WAY == 0).then_some(state / 2)
    }
}
