//! Processes that do not outlive the one that started them.

#[cfg(not(unix))]
mod nobody;
#[cfg(unix)]
mod shell;

use std::{
    io,
    process::{Child, ChildStdout, Command, ExitStatus},
};

#[cfg(not(unix))]
use self::nobody::{Reaper, has_ended};
#[cfg(unix)]
use self::shell::{Reaper, has_ended};

/// A running process that ends with this one.
///
/// Dropping it kills it. On Unix it is also killed when this process ends without dropping it, as when it is killed itself.
#[derive(Debug)]
pub struct Dependant {
    child: Child,
    /// Until the process is known to have ended: its number may be another's from then on.
    reaper: Option<Reaper>,
    ended: Option<ExitStatus>,
}

impl Dependant {
    /// Starts what `command` says.
    ///
    /// # Errors
    /// When the program cannot be started, or on Unix the shell that watches over it.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut reaper = Reaper::start()?;
        // Whichever of the two fails, dropping the rest ends it.
        let mut dependant = Self {
            child: command.spawn()?,
            reaper: None,
            ended: None,
        };
        reaper.watch(&dependant.child)?;
        dependant.reaper = Some(reaper);
        Ok(dependant)
    }

    /// Returns the process, to send it a signal; `None` once [`status`](Self::status) or [`kill`](Self::kill) found it ended.
    #[must_use]
    pub fn running(&self) -> Option<&Child> {
        self.ended.is_none().then_some(&self.child)
    }

    /// Takes its standard output, if that is a pipe and was not taken before.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Returns how the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() && has_ended(&mut self.child)? {
            self.settle()?;
        }
        Ok(self.ended)
    }

    /// Ends the process as a power failure would, unless it has ended already, and returns how it ended.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        match self.ended {
            Some(status) => Ok(status),
            None => {
                self.child.kill()?;
                self.settle()
            }
        }
    }

    /// Waits for a process that ends. Its reaper goes first, as long as the process's number is nobody else's.
    fn settle(&mut self) -> io::Result<ExitStatus> {
        self.reaper = None;
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Dependant {
    fn drop(&mut self) {
        // There is nobody to tell, and nothing else to try.
        let _ended = self.kill();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Stdio};

    use super::*;
    use crate::until;

    /// A process that runs until its standard input ends.
    fn cat() -> Dependant {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        Dependant::spawn(&mut command).expect("start a process")
    }

    #[test]
    fn a_process_is_killed_when_nobody_holds_on_to_its_reaper() {
        let mut cat = cat();
        // The system closes this end for a process that ends in whatever way.
        cat.reaper.as_mut().unwrap().let_go();
        let status = until("the process ended", || cat.status().unwrap());
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn a_process_that_ended_is_left_alone() {
        let mut cat = cat();
        assert_eq!(cat.status().unwrap(), None);
        assert!(cat.running().is_some());
        drop(cat.child.stdin.take());
        let status = until("the process ended", || cat.status().unwrap());
        assert!(status.success());
        assert!(cat.running().is_none() && cat.reaper.is_none());
        assert_eq!(cat.kill().unwrap(), status);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = Dependant::spawn(&mut Command::new("/nowhere/at-all")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
