//! A shard that is split, moved and merged while a writer goes on.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use super::{processes::Processes, writing::Writer};
use crate::{
    client::{Client, Operation, Shard},
    failure::Failure,
    interrupt::Interrupt,
};

/// How often an operation is begun that ends without effect.
const TRIES: u32 = 5;

/// How often an operation is asked for that may not begin yet, and after how many writes it is asked for again.
const ASKED_MAX: u32 = 1_000;
const WRITES: usize = 10;

/// Splits a shard, moves one half to a node that joins, and merges the two, and tells how long the writer had to wait at most.
///
/// # Errors
/// When an operation ends without effect, or the user asks to stop.
pub(super) fn split_move_and_merge(
    processes: &mut Processes,
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
    let mut reshaping = Reshaping {
        client: &client,
        writer,
        interrupt,
        out,
    };
    // However few rows it has.
    let split = json!({"kind": "split", "shards": [shard.id], "at": "middle"});
    let halves = reshaping.follow("A shard is split in two", &split)?;
    let node = processes.add_node()?;
    let moved = json!({"kind": "migrate", "shards": [halves[0]], "to": node});
    let said = format!("{node} joins, and the primary's copy of one half moves to it");
    reshaping.follow(&said, &moved)?;
    let merge = json!({"kind": "merge", "shards": halves});
    reshaping.follow("The two are merged again", &merge)?;
    Ok(())
}

/// Operations, while a writer goes on.
struct Reshaping<'a> {
    client: &'a Client,
    writer: &'a mut Writer,
    interrupt: &'a Interrupt,
    out: &'a mut dyn Write,
}

impl Reshaping<'_> {
    /// Has the coordinator carry out an operation, says what was done and how long the writer waited, and returns the shards that it has made.
    fn follow(&mut self, said: &str, asked: &Value) -> anyhow::Result<Vec<String>> {
        let mut tried = 0;
        let done = loop {
            let begun = self.begin(asked)?;
            self.writer.take_gap();
            let ended = self.until_ended(&begun)?;
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
        let pause = self.writer.take_gap().as_millis();
        writeln!(
            self.out,
            "  {said}: its longest wait meanwhile was {pause} ms."
        )?;
        self.out.flush()?;
        Ok(done.targets)
    }

    /// Begins an operation. A node that has just joined is yet to be heard of, and shards that have just changed hands are yet to be let go of.
    fn begin(&mut self, asked: &Value) -> anyhow::Result<Operation> {
        let mut tried = 0;
        loop {
            match self.client.send(Method::POST, "/api/v1/operations", asked) {
                Ok(begun) => return Ok(begun),
                Err(error) if tried == ASKED_MAX => return Err(error.into()),
                Err(_) => tried += 1,
            }
            self.writer.until(WRITES, self.interrupt)?;
        }
    }

    /// Lets the writer go on until an operation is decided and done.
    fn until_ended(&mut self, begun: &Operation) -> anyhow::Result<Operation> {
        let id = begun.id.as_deref().unwrap_or_default();
        loop {
            self.writer.until(1, self.interrupt)?;
            let now: Operation = self.client.get(&format!("/api/v1/operations/{id}"))?;
            let is_over = match now.kind.as_str() {
                // What is left of it takes no part any more.
                "split" | "merge" => now.phase == "cleaning-up",
                _ => false,
            };
            if is_over || ["done", "aborted"].contains(&now.phase.as_str()) {
                return Ok(now);
            }
        }
    }
}
