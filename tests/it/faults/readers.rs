//! Clients that read, each at a level of its own, and compare with what the writers were told before.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::{
    access::{Access, Heard},
    traffic::{Shared, Written},
    writers::{key, rows, steps},
};
use crate::processes::clock;

/// What is read.
pub(super) const KINDS: [Kind; 4] = [Kind::Leased, Kind::AtLeast, Kind::Any, Kind::Count];

/// How long a client waits until it reads again.
const PAUSE: Duration = Duration::from_millis(20);

/// A way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is acknowledged must be seen.
    Leased,
    /// What the token is of must be seen.
    AtLeast,
    /// Anything that was ever so, and how far behind it is.
    Any,
    /// All shards at once, each as at `Leased`.
    Count,
}

/// Reads until it is over.
pub(super) fn read(shared: &Shared, kind: usize) {
    let access = Access::new();
    for turn in kind.. {
        if shared.is_over() {
            return;
        }
        let is_answered = match KINDS[kind] {
            Kind::Count => count(shared, &access, turn),
            one => read_one(shared, &access, one, turn),
        };
        if is_answered {
            shared.reads[kind].fetch_add(1, Ordering::SeqCst);
        }
        clock::pause(PAUSE);
    }
}

/// Reads the last row of a writer, or its counter. Returns whether that was answered.
fn read_one(shared: &Shared, access: &Access, kind: Kind, turn: usize) -> bool {
    let writer = turn % shared.writers.len();
    let progress = &shared.writers[writer];
    let (acknowledged, token) = progress.last();
    if acknowledged == 0 {
        return false;
    }
    // The token is of the last write, whichever that was.
    let of_row = acknowledged % 2 == 1;
    let mut request = if of_row {
        let sql = "SELECT number FROM written WHERE name = ?1";
        json!({"sql": sql, "args": [key(writer, rows(acknowledged))]})
    } else {
        let sql = "SELECT steps FROM counters WHERE writer = ?1";
        json!({"sql": sql, "args": [writer.to_string()]})
    };
    match kind {
        Kind::AtLeast => {
            request["read"] = "at_least".into();
            request["token"] = token;
        }
        Kind::Any => request["read"] = "any".into(),
        Kind::Leased | Kind::Count => {}
    }
    // Another node each time, however long one of them gives no answer.
    let port = &shared.ports[turn % shared.ports.len()];
    let heard = access.sql(port, request.clone());
    let Heard::Answer(answer) = &heard else {
        return complain_unless_usual(shared, &request, &heard);
    };
    let seen = heard.number();
    let may_be_old = kind == Kind::Any;
    let is_right = match (of_row, seen) {
        (true, Some(number)) => number == rows(acknowledged),
        (true, None) => may_be_old,
        (false, Some(number)) => is_count(number, progress, acknowledged, may_be_old),
        (false, None) => may_be_old,
    };
    if !is_right {
        shared.complain(format!(
            "after write {acknowledged} of writer {writer} was acknowledged, {request} saw {answer}"
        ));
    }
    if may_be_old && !answer["lag"].is_u64() {
        shared.complain(format!("{request} was not told how old it is: {answer}"));
    }
    true
}

/// Whether a counter may have been there, once so many writes were acknowledged.
fn is_count(number: u64, progress: &Written, acknowledged: u64, may_be_old: bool) -> bool {
    let least = if may_be_old { 0 } else { steps(acknowledged) };
    (least..=steps(progress.begun())).contains(&number)
}

/// Counts the rows of all writers. Returns whether that was answered.
fn count(shared: &Shared, access: &Access, turn: usize) -> bool {
    let acknowledged = shared.writers.iter().map(|writer| rows(writer.last().0));
    let least: u64 = acknowledged.sum();
    let request = json!({"sql": "SELECT count(*) FROM written"});
    let heard = access.sql(&shared.ports[turn % shared.ports.len()], request.clone());
    let most: u64 = shared
        .writers
        .iter()
        .map(|writer| rows(writer.begun()))
        .sum();
    match heard.number() {
        Some(seen) if (least..=most).contains(&seen) => true,
        Some(seen) => {
            shared.complain(format!("of {least} to {most} rows, {seen} were counted"));
            true
        }
        None => complain_unless_usual(shared, &request, &heard),
    }
}

fn complain_unless_usual(shared: &Shared, request: &Value, heard: &Heard) -> bool {
    if !heard.may_be_retried() {
        shared.complain(format!("{request} was answered {heard:?}"));
    }
    false
}
