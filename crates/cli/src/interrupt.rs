//! Ctrl-C during work that has something to clean up.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell reports for a process that SIGINT ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// Remembers that the user asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// The user asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

impl Interrupt {
    /// Catches Ctrl-C from now on, so that the caller can clean up at its next [`check`]. A second
    /// Ctrl-C ends the process at once.
    ///
    /// [`check`]: Self::check
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&raised);
        ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                process::exit(i32::from(EXIT_CODE));
            }
        })?;
        Ok(Self(raised))
    }

    /// Fails once the user has asked to stop.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::SeqCst) {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }
}
