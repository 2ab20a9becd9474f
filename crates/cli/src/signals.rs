//! The signals by which a process is asked to end.

use std::{io, process};

use tokio::sync::oneshot;

use crate::interrupt;

/// SIGTERM or Ctrl-C. A second one ends the process at once.
#[derive(Debug)]
pub(crate) struct Ending(oneshot::Receiver<()>);

impl Ending {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let mut signals = Signals::catch()?;
        let (asked, ending) = oneshot::channel();
        tokio::spawn(async move {
            signals.next().await;
            // Whoever ends already has no need to hear it.
            let _heard = asked.send(());
            signals.next().await;
            process::exit(i32::from(interrupt::EXIT_CODE));
        });
        Ok(Self(ending))
    }

    /// Waits until the process is asked to end.
    pub(crate) async fn asked(self) {
        // The task that sends ends with the process only.
        let _asked = self.0.await;
    }
}

/// Lets a file that may not grow be an error of whoever writes it, and not the end of the process, from now on.
pub(crate) fn outlive_size_limits() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        // Once caught, it stays caught.
        let _caught = signal(kind)?;
    }
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Where it cannot be heard, the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
