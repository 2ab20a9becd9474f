//! Clients that write: a row of their own, then a step of their counter, in turn.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::{
    access::{Access, Heard},
    traffic::Shared,
};
use crate::processes::clock;

/// How long a client waits after a node has let it down.
const PAUSE: Duration = Duration::from_millis(5);

/// Of so many writes of a client, how many made a row.
pub(super) fn rows(writes: u64) -> u64 {
    writes.div_ceil(2)
}

/// Of so many writes of a client, how many were steps of its counter.
pub(super) fn steps(writes: u64) -> u64 {
    writes / 2
}

/// The key of a row.
pub(super) fn key(writer: usize, row: u64) -> String {
    format!("{writer}-{row}")
}

/// Writes until it is over.
pub(super) fn write(shared: &Shared, writer: usize) {
    let access = Access::new();
    let progress = &shared.writers[writer];
    let mut at = writer;
    for number in 1.. {
        if shared.is_over() {
            return;
        }
        progress.begun.store(number, Ordering::SeqCst);
        let request = request(writer, number);
        let Some(answer) = until_acknowledged(shared, &access, &mut at, &request) else {
            return;
        };
        if answer["changes"] != 1 {
            shared.complain(format!("{request} changed {}", answer["changes"]));
        }
        *progress.last.lock().expect("no holder panics") = (number, answer["token"].clone());
        let mut moments = progress.moments.lock().expect("no holder panics");
        moments.push(clock::now());
    }
}

fn request(writer: usize, number: u64) -> Value {
    let (sql, args) = if number % 2 == 1 {
        let row = rows(number);
        let args = json!([key(writer, row), writer, row]);
        ("INSERT INTO written VALUES (?1, ?2, ?3)", args)
    } else {
        let sql = "UPDATE counters SET steps = steps + 1 WHERE writer = ?1";
        (sql, json!([writer.to_string()]))
    };
    json!({"sql": sql, "args": args, "client": format!("writer {writer}"), "seq": number})
}

/// Asks one node for as long as it answers, and then the next one. Returns nothing if a client must not be told so.
fn until_acknowledged(
    shared: &Shared,
    access: &Access,
    at: &mut usize,
    request: &Value,
) -> Option<Value> {
    loop {
        let heard = access.sql(&shared.ports[*at % shared.ports.len()], request.clone());
        match heard {
            Heard::Answer(answer) => return Some(answer),
            refused if refused.may_be_retried() => *at += 1,
            refused => {
                shared.complain(format!("{request} was answered {refused:?}"));
                return None;
            }
        }
        clock::pause(PAUSE);
    }
}
