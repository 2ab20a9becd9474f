//! The disk under the registry: what is written meanwhile waits until it is flushed, and shares the next flush.

use crate::core::{Change, WriteId};

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How many steps a flush takes.
    flush: u32,
    waiting: Vec<(WriteId, Change)>,
    flushing: Vec<(WriteId, Change)>,
    left: u32,
}

impl Disk {
    /// A disk that takes so many steps to flush.
    pub(super) fn new(flush: u32) -> Self {
        Self {
            flush,
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, write: WriteId, change: Change) {
        self.waiting.push((write, change));
    }

    /// Lets a step pass. Returns what has come to the disk in it.
    pub(super) fn step(&mut self) -> Vec<(WriteId, Change)> {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return Vec::new();
        }
        let flushed = std::mem::replace(&mut self.flushing, std::mem::take(&mut self.waiting));
        self.left = if self.flushing.is_empty() {
            0
        } else {
            self.flush
        };
        flushed
    }
}
