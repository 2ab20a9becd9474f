//! Follows an operation until it ends.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use indicatif::ProgressBar;
use shardwright_registry::Clock;

use super::{finish, path};
use crate::{
    client::{ClientError, Connection, Operation, Received},
    failure::Failure,
    output, progress,
};

/// How long an operation is followed, unless said otherwise.
pub(super) const WITHIN: &str = "1h";

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// For how long the removal of what is left of the sources is waited for: a node that has some may be away for long.
const REMOVAL: Duration = Duration::from_secs(30);

/// Up to where an operation is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Clients are served by what was made, or it has ended without effect.
    InEffect,
    /// Nothing is left to do, but what a node that is away has.
    Over,
}

impl Until {
    /// Whether an operation is there, which has had so long to remove what is left.
    fn is_reached(self, operation: &Operation, removing: Duration) -> bool {
        // A move takes no time of grace. Until the copy that has gone is deleted, it cannot be reversed.
        let is_move = operation.from.is_some();
        match operation.phase.as_str() {
            "done" | "aborted" => true,
            "cleaning-up" => (self == Self::InEffect && !is_move) || REMOVAL <= removing,
            _ => false,
        }
    }
}

/// Whether a command that begins an operation follows it.
#[derive(Debug, clap::Args)]
pub(crate) struct Waiting {
    /// Wait until it is decided and in effect, and say how far it is: clients are served by the new shards, or it has ended without effect. What is
    /// left of the old shards is removed behind that, after a time of grace. A move is waited for until the copy that has gone is deleted.
    #[arg(long)]
    wait: bool,

    /// How long --wait waits.
    #[arg(long, value_name = "DURATION", default_value = WITHIN)]
    within: humantime::Duration,
}

impl Waiting {
    /// Says that an operation has begun, and follows it if it is to.
    pub(crate) fn begun(
        &self,
        connection: &Connection,
        operation: &Received<Operation>,
        said: &str,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let id = operation.id.as_deref().unwrap_or_default();
        if !self.wait {
            let said = format!("{said} by {id}; `op watch {id}` shows how far it is");
            return finish(connection, operation, &said, out);
        }
        if !connection.is_json() {
            writeln!(out, "{said} by {id}")?;
            out.flush()?;
        }
        follow(connection, id, Until::InEffect, *self.within, out)
    }
}

/// Where people see how far it is: in one line of a terminal, or a line for whatever is news.
struct Shown<'a> {
    bar: Option<ProgressBar>,
    out: Option<&'a mut dyn Write>,
    said: String,
}

impl<'a> Shown<'a> {
    fn new(connection: &Connection, out: &'a mut dyn Write) -> Self {
        let is_people = !connection.is_json();
        let bar = (is_people && io::stderr().is_terminal()).then(progress::waiting);
        Self {
            out: (is_people && bar.is_none()).then_some(out),
            bar,
            said: String::new(),
        }
    }

    fn say(&mut self, phase: &str, detail: &str) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{phase}: {detail}"));
        }
        match &mut self.out {
            Some(out) if self.said != phase => {
                phase.clone_into(&mut self.said);
                writeln!(out, "{phase}")?;
                out.flush()
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Follows an operation until it is there, and prints how that is. Coordinators that come and go are waited for.
pub(super) fn follow(
    connection: &Connection,
    id: &str,
    until: Until,
    within: Duration,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let ended = until_ended(connection, id, until, within, out)?;
    if ended.phase == "aborted" {
        let operation = id.to_owned();
        let reason = ended.error.clone().unwrap_or_default();
        return Err(Failure::Aborted { operation, reason }.into());
    }
    finish(connection, &ended, &outcome(&ended, until), out)
}

/// What an operation has done that took effect, in words.
fn outcome(ended: &Operation, until: Until) -> String {
    let sources = ended.sources.join(" ");
    let done = match (&ended.from, &ended.to) {
        (Some(from), Some(to)) => format!("move of {sources} is done: from {from} to {to}"),
        _ => format!(
            "{} of {sources} is done: {}",
            ended.kind,
            ended.targets.join(" ")
        ),
    };
    // Where no member goes because the node of its successor was lost after the commit, the record says so.
    let but = ended.error.iter().map(|error| format!("; {error}"));
    let is_left = ended.phase != "done";
    let left = is_left.then_some(match until {
        Until::InEffect if ended.from.is_none() => "; what is left of the others is being removed",
        _ => "; what is left of the others is removed when their nodes are back",
    });
    let rest: String = but.chain(left.map(str::to_owned)).collect();
    done + &rest
}

fn until_ended(
    connection: &Connection,
    id: &str,
    until: Until,
    within: Duration,
    out: &mut dyn Write,
) -> anyhow::Result<Received<Operation>> {
    let client = connection.client()?;
    let (clock, path) = (Clock::start(), path(id));
    let (began, mut committed) = (clock.now(), None);
    let mut shown = Shown::new(connection, out);
    loop {
        let now = clock.now();
        let (waits, news) = match client.get::<Received<Operation>>(&path) {
            Ok(operation) => {
                let phase = operation.phase.clone();
                let since = *committed.get_or_insert(now);
                committed = committed.filter(|_| phase == "cleaning-up");
                if until.is_reached(&operation, now.since(since)) {
                    return Ok(operation);
                }
                (format!("{id} is {phase}"), Some(operation))
            }
            Err(error) if passes(&error) => (error.to_string(), None),
            Err(error) => return Err(error.into()),
        };
        if within <= now.since(began) {
            return Err(Failure::NotDone { waits }.into());
        }
        if let Some(operation) = news {
            shown.say(&operation.phase, &progress(&operation))?;
        }
        client.pause(PAUSE);
    }
}

/// Whether another look may find what this one did not: a leader is elected, or a coordinator starts again.
fn passes(error: &ClientError) -> bool {
    error.is_retryable() || error.is_timeout() || !error.is_answer()
}

/// How far an operation is, in words.
pub(super) fn progress(operation: &Operation) -> String {
    let progress = &operation.progress;
    let mut words = Vec::new();
    if operation.paused {
        words.push("paused".to_owned());
    }
    if let Some(fraction) = progress.fraction {
        words.push(format!("{:.0} %", fraction * 100.0));
    }
    if let (Some(rows), Some(total)) = (progress.rows, progress.rows_total)
        && operation.phase == "copying"
    {
        let (rows, total) = (output::grouped(rows), output::grouped(total));
        words.push(format!("{rows} of {total} rows"));
        let left = progress.eta_seconds.map(Duration::from_secs);
        words.extend(left.map(|left| format!("{} left", humantime::format_duration(left))));
    }
    if let (Some(lag), Some(_)) = (progress.lag, &operation.to)
        && operation.phase != "copying"
    {
        words.push(format!("{} changes to come", output::grouped(lag)));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words() {
        let operation = |phase: &str, paused: bool| -> Operation {
            serde_json::from_value(serde_json::json!({
                "id": "op-1", "kind": "split", "phase": phase, "sources": ["shard-0"], "targets": ["op-1.0", "op-1.1"],
                "at": ["8000000000000000"], "paused": paused, "reason": "asked for", "error": null,
                "progress": {"rows": 1_500, "rows_total": 6_000, "fraction": 0.25, "eta_seconds": 90, "lag": 3},
            }))
            .unwrap()
        };
        let words = progress(&operation("copying", true));
        assert_eq!(words, "paused, 25 %, 1,500 of 6,000 rows, 1m 30s left");
        assert_eq!(progress(&operation("verified", false)), "25 %");
    }
}
