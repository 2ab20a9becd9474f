//! Processes of this same program, each of which does one part of what is measured.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

/// A process that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Subprocess(Child);

impl Subprocess {
    /// Starts one that finds a value in a variable, and returns the first line that it prints.
    pub(crate) fn start(
        variable: &str,
        value: impl AsRef<OsStr>,
    ) -> anyhow::Result<(Self, String)> {
        let mut child = Command::new(env::current_exe()?)
            .env(variable, value)
            .stdout(Stdio::piped())
            .spawn()
            .context("start a process")?;
        let output = child.stdout.take().context("it is piped")?;
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to end, and nobody to tell.
        if self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}
