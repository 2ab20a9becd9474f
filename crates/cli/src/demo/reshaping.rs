//! A shard that is split and merged while a writer goes on.

use std::io::Write;

use reqwest::Method;
use serde_json::json;

use super::{processes::Processes, writing::Writer};
use crate::{
    client::{Client, Operation, Shard},
    failure::Failure,
    interrupt::Interrupt,
};

/// How often an operation is begun that ends without effect.
const TRIES: u32 = 5;

/// Splits a shard and merges the halves, and tells how long the writer had to wait at most.
///
/// # Errors
/// When an operation ends without effect, or the user asks to stop.
pub(super) fn split_and_merge(
    processes: &Processes,
    writer: &mut Writer,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let client = processes.coordinator()?;
    let shards: Vec<Shard> = client.get("/api/v1/shards")?;
    let Some(shard) = shards.iter().find(|shard| shard.start.is_some()) else {
        return Ok(());
    };
    writeln!(
        out,
        "\nWhile a writer inserts unique values through any node:"
    )?;
    out.flush()?;
    let halves = follow(&client, "split", &[&shard.id], writer, interrupt, out)?;
    let halves: Vec<_> = halves.iter().map(String::as_str).collect();
    follow(&client, "merge", &halves, writer, interrupt, out)?;
    Ok(())
}

/// Has the coordinator carry out an operation, while the writer goes on, and returns the shards that it has made.
fn follow(
    client: &Client,
    kind: &str,
    shards: &[&str],
    writer: &mut Writer,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> anyhow::Result<Vec<String>> {
    let mut asked = json!({ "kind": kind, "shards": shards });
    if kind == "split" {
        // However few rows it has.
        asked["at"] = "middle".into();
    }
    let mut tried = 0;
    let done = loop {
        let begun: Operation = client.send(Method::POST, "/api/v1/operations", &asked)?;
        writer.take_gap();
        let ended = until_ended(client, &begun, writer, interrupt)?;
        tried += 1;
        match ended.phase.as_str() {
            // On a machine that is busy with other things a shard may have been sealed for too long.
            "aborting" | "aborted" if tried < TRIES => {}
            "aborting" | "aborted" => {
                let id = ended.id.unwrap_or_default();
                let why = ended.error.unwrap_or_default();
                return Err(Failure::DemoAborted { id, why }.into());
            }
            _ => break ended,
        }
    };
    let what = match kind {
        "split" => "A shard is split in two",
        _ => "The two are merged again",
    };
    let pause = writer.take_gap().as_millis();
    writeln!(out, "  {what}: its longest wait meanwhile was {pause} ms.")?;
    out.flush()?;
    Ok(done.targets)
}

/// Lets the writer go on until an operation is decided and done.
fn until_ended(
    client: &Client,
    begun: &Operation,
    writer: &mut Writer,
    interrupt: &Interrupt,
) -> anyhow::Result<Operation> {
    let id = begun.id.as_deref().unwrap_or_default();
    loop {
        writer.until(1, interrupt)?;
        let now: Operation = client.get(&format!("/api/v1/operations/{id}"))?;
        let is_over = ["cleaning-up", "done", "aborted"].contains(&now.phase.as_str());
        if is_over {
            return Ok(now);
        }
    }
}
