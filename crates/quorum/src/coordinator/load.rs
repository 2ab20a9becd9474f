//! How many puts are under way, and how many of them are being repaired.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::Settings;

/// Counts what the limits of the settings are about.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Puts that still have copies to make or to repair.
    puts: AtomicUsize,
    /// The bytes of their events.
    bytes: AtomicUsize,
    /// Those of them that have copies to repair.
    repairs: AtomicUsize,
    all_finished: Notify,
}

impl Load {
    /// Counts a put in, unless that is one too many. An event that is alone is never too large.
    pub(super) fn enter(&self, bytes: usize, settings: &Settings) -> bool {
        let puts = self.puts.fetch_add(1, SeqCst);
        let others = self.bytes.fetch_add(bytes, SeqCst);
        let fits = others == 0 || others.saturating_add(bytes) <= settings.bytes_max;
        if puts < settings.puts_max && fits {
            return true;
        }
        self.leave(bytes);
        false
    }

    /// Counts a put out.
    pub(super) fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, SeqCst);
        if self.puts.fetch_sub(1, SeqCst) == 1 {
            self.all_finished.notify_waiters();
        }
    }

    /// Counts a repair in, unless that is one too many.
    pub(super) fn begin_repair(&self, settings: &Settings) -> bool {
        let begin = |repairs| (repairs < settings.repairing_max).then_some(repairs + 1);
        self.repairs.fetch_update(SeqCst, SeqCst, begin).is_ok()
    }

    /// Counts a repair out.
    pub(super) fn end_repair(&self) {
        self.repairs.fetch_sub(1, SeqCst);
    }

    /// Returns how many puts are under way.
    pub(super) fn puts(&self) -> usize {
        self.puts.load(SeqCst)
    }

    /// Waits until no put is under way.
    pub(super) async fn settle(&self) {
        loop {
            let finished = self.all_finished.notified();
            tokio::pin!(finished);
            finished.as_mut().enable();
            if self.puts() == 0 {
                return;
            }
            finished.await;
        }
    }
}
