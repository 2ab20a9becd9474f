//! Looks at a cluster until something is so that was asked for.

use std::{io::Write, time::Duration};

use shardwright_registry::Clock;

use crate::{
    client::{Assignment, Client, Node, Shard, Status},
    failure::Failure,
};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Whether a command waits for what it asks for, and how long.
#[derive(Debug, clap::Args)]
pub(super) struct Waiting {
    /// Wait until it is done, and say how far it is.
    #[arg(long)]
    pub(super) wait: bool,

    /// How long --wait waits.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    within: humantime::Duration,
}

impl Waiting {
    /// Looks until `look` returns something, and prints what it says meanwhile whenever that is news.
    pub(super) fn until<T>(
        &self,
        client: &Client,
        out: &mut dyn Write,
        mut look: impl FnMut() -> anyhow::Result<Look<T>>,
    ) -> anyhow::Result<T> {
        let clock = Clock::start();
        let began = clock.now();
        let mut said = String::new();
        loop {
            let waits = match look()? {
                Look::Done(done) => return Ok(done),
                Look::Waits(waits) => waits,
            };
            if *self.within <= clock.now().since(began) {
                return Err(Failure::NotDone { waits }.into());
            }
            if waits != said {
                writeln!(out, "{waits}")?;
                out.flush()?;
                said = waits;
            }
            client.pause(PAUSE);
        }
    }

    /// Waits until a node holds no copy of a shard that counts.
    pub(super) fn until_empty(
        &self,
        client: &Client,
        out: &mut dyn Write,
        node: &str,
        mut each: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.until(client, out, || {
            each()?;
            let held = held(client, node)?;
            Ok(if held == 0 {
                Look::Done(())
            } else {
                let shards = crate::output::count(held, "shard");
                Look::Waits(format!("{node} still has copies of {shards}"))
            })
        })
    }
}

/// What a look finds.
pub(super) enum Look<T> {
    Done(T),
    /// What is waited for.
    Waits(String),
}

/// Of how many shards a node has a copy that counts.
pub(super) fn held(client: &Client, node: &str) -> anyhow::Result<u64> {
    let path = format!("/api/v1/assignments?node={node}");
    let assigned: Vec<Assignment> = client.get(&path)?;
    Ok(assigned.len() as u64)
}

/// The node of this name, if it is known.
pub(super) fn find(client: &Client, name: &str) -> anyhow::Result<Option<Node>> {
    let nodes: Vec<Node> = client.get(&format!("/api/v1/nodes?node={name}"))?;
    Ok(nodes.into_iter().find(|node| node.id == name))
}

/// Whether every shard that commits on several members has all its copies, of one at least.
pub(super) fn all_whole(client: &Client) -> anyhow::Result<bool> {
    let shards: Vec<Shard> = client.get("/api/v1/shards?leader=true")?;
    let mut conditions = shards.iter().filter_map(|shard| shard.condition.as_deref());
    let is_any = conditions.clone().next().is_some();
    Ok(is_any && conditions.all(|condition| condition == "whole"))
}

/// The term of whoever leads.
pub(super) fn term(client: &Client) -> anyhow::Result<u64> {
    let status: Status = client.get("/api/v1/status")?;
    Ok(status.term)
}
