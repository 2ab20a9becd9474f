//! `rebalance apply`.

use std::{fs, io::Write, path::PathBuf};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};
use shardwright_registry::Clock;

use super::{
    PATH,
    auto::{self, PAUSE},
    plan::{self, Asked},
};
use crate::{
    client::{Balance, Client, ClientError, Connection, Plan, Received},
    failure::Failure,
    output,
};

/// Carry out a plan: one that was saved, or a new one.
///
/// The leader carries it out, and the next leader goes on with it; moves are operations, which `op` shows. A saved plan is refused once the shards
/// are not as they were when it was made. Of partitions the leader does what it plans at once, without waiting until the cluster has calmed down.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance apply --wait
  shardwright rebalance apply plan.json
  shardwright rebalance apply --moves-max 4 --dry-run")]
pub(crate) struct Apply {
    /// A plan that `rebalance plan -o json` has printed.
    #[arg(value_name = "FILE")]
    plan: Option<PathBuf>,

    #[command(flatten)]
    asked: Asked,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Wait until it has ended, and say how far it is.
    #[arg(long)]
    wait: bool,

    /// How long --wait waits.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    within: humantime::Duration,

    #[command(flatten)]
    connection: Connection,
}

impl Apply {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let body = self.body()?;
        let client = self.connection.client()?;
        let path = format!("{PATH}/apply");
        if self.dry_run {
            let plan: Received<Plan> = client.send(Method::POST, &path, &body)?;
            return plan::print(&self.connection, &plan, out);
        }
        let begun: Received<Balance> = client.send(Method::POST, &path, &body)?;
        if self.wait && begun.is_running() {
            return self.follow(&client, out);
        }
        if self.connection.is_json() {
            return Ok(output::write_json(out, &begun)?);
        }
        let changes = output::count(begun.changes.unwrap_or_default(), "move");
        Ok(writeln!(
            out,
            "{changes} planned; `rebalance status` shows how far that is"
        )?)
    }

    fn body(&self) -> anyhow::Result<Value> {
        let mut body = json!({"dry_run": self.dry_run});
        if let Some(path) = &self.plan {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("read {}", path.display()))?;
            let plan: Value = serde_json::from_str(&text)
                .with_context(|| format!("{} is no plan", path.display()))?;
            body["plan"] = plan;
        }
        if self.asked.is_some() {
            body["options"] = serde_json::to_value(self.asked.options())?;
        }
        Ok(body)
    }

    /// Follows what has begun to its end. Coordinators that come and go are waited for.
    fn follow(&self, client: &Client, out: &mut dyn Write) -> anyhow::Result<()> {
        let (clock, mut said) = (Clock::start(), String::new());
        let began = clock.now();
        loop {
            match client.get::<Received<Balance>>(PATH) {
                Ok(balance) if !balance.is_running() => {
                    return auto::ended(&self.connection, &balance, out);
                }
                Ok(balance) => {
                    let now = balance.execution.as_ref().map(auto::progress);
                    let now = now.unwrap_or_default();
                    if !self.connection.is_json() && said != now {
                        writeln!(out, "{now}")?;
                        out.flush()?;
                        said = now;
                    }
                }
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if *self.within <= clock.now().since(began) {
                let waits = "the plan is still being carried out".to_owned();
                return Err(Failure::NotDone { waits }.into());
            }
            client.pause(PAUSE);
        }
    }
}

/// Whether another look may find what this one did not.
fn passes(error: &ClientError) -> bool {
    error.is_retryable() || error.is_timeout() || !error.is_answer()
}
