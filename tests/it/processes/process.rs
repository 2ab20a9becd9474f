//! A process of the cluster: started, watched, hurt, and never left behind.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use shardwright_testkit::{Dependant, until};

use super::clock::{self, Moment};

/// How often a process is looked at that is to stand still.
#[cfg(target_os = "linux")]
const WATCHED_EVERY: Duration = Duration::from_millis(5);

/// A command without the settings of whoever runs the tests.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"SHARDWRIGHT_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A running `shardwright`, or another program that speaks its protocols. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    dependant: Dependant,
    lines: Arc<Mutex<Vec<String>>>,
    /// Ends with the last of the lines.
    collector: Option<JoinHandle<()>>,
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
        let mut command = command(&program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped());
        command.stderr(File::create(&log).expect("create a log"));
        let mut dependant = Dependant::spawn(&mut command)
            .unwrap_or_else(|error| panic!("start {}: {error}", program.as_ref().display()));
        let lines = Arc::default();
        let stdout = dependant.take_stdout().expect("a pipe");
        let collector = collect(stdout, Arc::clone(&lines));
        Self {
            name: name.to_owned(),
            dependant,
            lines,
            collector: Some(collector),
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
        until(&what, || {
            let ended = self.status();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.name);
            let lines = self.lines.lock().expect("no holder panics");
            lines
                .iter()
                .find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
        })
    }

    /// Whether its log has this.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        let log = fs::read_to_string(&self.log);
        log.is_ok_and(|log| log.contains(text))
    }

    /// Everything that it said on standard output.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// How many lines so far start with `verb`.
    pub(crate) fn count(&self, verb: &str) -> usize {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().filter(|line| line.starts_with(verb)).count()
    }

    /// How it ended, if it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.dependant.status().expect("ask for the exit code")
    }

    /// Ends it as a power failure would, and returns a moment before that.
    pub(crate) fn kill(&mut self) -> Moment {
        let before = clock::now();
        self.dependant.kill().expect("kill a process of our own");
        self.collect_rest();
        before
    }

    /// Stops its clockwork: it does nothing until [`resume`](Self::resume). Returns a moment before that.
    pub(crate) fn stop(&self) -> Moment {
        let before = clock::now();
        self.signal(Signal::STOP);
        before
    }

    /// Ends it as a power failure would as soon as it stands still by itself: it may hold a lock that others wait for.
    #[cfg(target_os = "linux")]
    pub(crate) fn kill_when_it_stands_still(&self) {
        let pid = Pid::from_child(self.child());
        let this = pidfd_open(pid, PidfdFlags::empty()).expect("a process of our own");
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        thread::spawn(move || {
            // It is there until it has ended and that was asked for.
            while let Ok(stat) = fs::read_to_string(&path) {
                let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
                match state {
                    Some("T") => {
                        pidfd_send_signal(&this, Signal::KILL).expect("it has not ended");
                        return;
                    }
                    Some("Z" | "X") | None => return,
                    Some(_) => clock::pause(WATCHED_EVERY),
                }
            }
        });
    }

    /// Lets it go on as if nothing had happened.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to leave, and waits until it has, and all that it said is known.
    #[track_caller]
    pub(crate) fn leave(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let what = format!("{} has left", self.name);
        let status = until(&what, || self.status());
        self.collect_rest();
        status
    }

    /// The process itself, which has not ended.
    pub(crate) fn child(&self) -> &Child {
        self.dependant.running().expect("it has not ended")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child()), signal).expect("signal a process of our own");
    }

    /// Waits for the lines that a process which has ended left in its pipe.
    fn collect_rest(&mut self) {
        if let Some(collector) = self.collector.take() {
            collector.join().expect("nothing panics over a line");
        }
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stdout,
        reason = "what a process logged explains why a test failed"
    )]
    fn drop(&mut self) {
        // It may hang on to its log until then.
        let _ended = self.dependant.kill();
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

/// Keeps each line as it comes.
fn collect(stdout: ChildStdout, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            lines.lock().expect("no holder panics").push(line);
        }
    })
}
