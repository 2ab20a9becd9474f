//! Where there is no shell, nobody kills a process whose starter was killed.

use std::{io, process::Child};

/// Nobody.
#[derive(Debug)]
pub(super) struct Reaper;

impl Reaper {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn watch(&mut self, _child: &Child) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a process has ended.
pub(super) fn has_ended(child: &mut Child) -> io::Result<bool> {
    child.try_wait().map(|status| status.is_some())
}
