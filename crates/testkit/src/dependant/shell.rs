//! A shell that outlives its starter for as long as a kill takes.

use std::{
    io::{self, Write},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Reads the number of a process, then waits for the end of its standard input, which only the end of its starter brings.
const SCRIPT: &str = "trap '' INT TERM HUP; read -r pid || exit; read -r end; kill -KILL \"$pid\"";

/// A shell that kills one process when this one goes. Dropping it ends it without that.
#[derive(Debug)]
pub(super) struct Reaper(Child);

impl Reaper {
    pub(super) fn start() -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    pub(super) fn watch(&mut self, child: &Child) -> io::Result<()> {
        let stdin = self.0.stdin.as_mut();
        writeln!(stdin.expect("a pipe that is kept open"), "{}", child.id())
    }

    #[cfg(test)]
    pub(super) fn let_go(&mut self) {
        drop(self.0.stdin.take());
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Whether a process has ended. It keeps its number.
pub(super) fn has_ended(child: &mut Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let found = waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    Ok(found.is_some())
}
