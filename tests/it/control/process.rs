//! A process of the cluster: started, watched, hurt, and never left behind.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{clock, history::Moment};

/// A running `shardwright`, or another program that speaks its protocols. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    reaper: Child,
    lines: Arc<Mutex<Vec<String>>>,
    log: PathBuf,
}

impl Process {
    /// Starts `program` under a name; what it says on standard error goes to a file in `directory`.
    pub(crate) fn start(
        name: &str,
        directory: &Path,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
    ) -> Self {
        let log = directory.join(format!("{name}.log"));
        let mut command = Command::new(&program);
        for (variable, _) in env::vars().filter(|(name, _)| name.starts_with("SHARDWRIGHT_")) {
            command.env_remove(variable);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("create a log"))
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", program.as_ref().display()));
        let reaper = reaper_of(&child);
        let lines = Arc::default();
        collect(child.stdout.take().expect("a pipe"), Arc::clone(&lines));
        Self {
            name: name.to_owned(),
            child,
            reaper,
            lines,
            log,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for a line on standard output that starts with `prefix`, and returns the rest of it.
    #[track_caller]
    pub(crate) fn says(&mut self, prefix: &str) -> String {
        let what = format!("{} says {prefix:?}", self.name);
        clock::until(&what, || {
            let ended = self.child.try_wait().expect("ask for the exit code");
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            let lines = self.lines.lock().expect("no holder panics");
            lines
                .iter()
                .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        })
    }

    /// Everything that it said on standard output.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// Ends it as a power failure would, and returns a moment before that.
    pub(crate) fn kill(&mut self) -> Moment {
        let before = clock::now();
        self.signal(Signal::KILL);
        self.child.wait().expect("a killed process ends");
        before
    }

    /// Stops its clockwork: it does nothing until [`resume`](Self::resume). Returns a moment before that.
    pub(crate) fn stop(&self) -> Moment {
        let before = clock::now();
        self.signal(Signal::STOP);
        before
    }

    /// Lets it go on as if nothing had happened.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to leave, and waits until it has.
    #[track_caller]
    pub(crate) fn leave(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("{} has left", self.name);
        clock::until(&what, || {
            self.child.try_wait().expect("ask for the exit code")
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal a process of our own");
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stdout,
        reason = "what a process logged explains why a test failed"
    )]
    fn drop(&mut self) {
        // Either may have ended already; then there is nothing to kill.
        for child in [&mut self.reaper, &mut self.child] {
            let _killed = child.kill();
            let _ended = child.wait();
        }
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            println!("--- the end of the log of {}", self.name);
            for line in tail.iter().rev() {
                println!("{line}");
            }
        }
    }
}

/// A process that kills `child` when this one goes without dropping it, as when it is killed itself.
fn reaper_of(child: &Child) -> Child {
    let script = format!(
        "trap '' INT TERM HUP; read -r line; kill -KILL {}",
        child.id()
    );
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start a shell")
}

/// Keeps each line as it comes.
fn collect(stdout: ChildStdout, lines: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            lines.lock().expect("no holder panics").push(line);
        }
    });
}
