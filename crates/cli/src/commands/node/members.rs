//! Nodes that come and go: `node add`, `drain`, `replace` and `remove`.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use super::watch::{Look, Waiting, all_whole, find, held, term};
use crate::client::{Client, Connection};

/// Say how a node joins the cluster, and watch it do so.
///
/// A node is added by starting it: nothing has to be said to the cluster before. With --wait the command ends once the node is up and
/// has copies of shards, or none lacks one: then it gets some when another node is drained, replaced or lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node add n4
  shardwright node add n4 --wait")]
pub(super) struct Add {
    /// The name of the node.
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

/// Move every shard of a node to others, and give it none any more.
///
/// The primaries are handed over first; other nodes get copies in place of those on this one, which are deleted then. Returns as soon as
/// the node is marked, unless it is to wait. The process goes on, and may be stopped once it has nothing left; a node that starts again
/// takes part again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node drain n2
  shardwright node drain n2 --wait --within 1h")]
pub(super) struct Drain {
    /// The node.
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

/// Move what a node has to another one, and give it nothing any more.
///
/// As `drain`, but the copies are made on the node that is named, if it can take them. A node that is down is replaced too: its copies are
/// made from the others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node replace n2 n4 --wait")]
pub(super) struct Replace {
    /// The node that goes.
    #[arg(value_name = "OLD")]
    old: String,

    /// The node that takes its place, which is up.
    #[arg(value_name = "NEW")]
    new: String,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

/// Forget a node that is down and will not come back.
///
/// What it held is made anew on other nodes at once, as far as others have it: nobody waits for it to come back. A node that is up is
/// refused; with --wait it is drained first, and forgotten when its process has been stopped. Returns as soon as the coordinators have taken
/// it in, unless it is to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright node remove n2
  shardwright node remove n2 --wait")]
pub(super) struct Remove {
    /// The node.
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    connection: Connection,
}

impl Add {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { node, waiting, .. } = self;
        let client = self.connection.client()?;
        let known = find(&client, node)?;
        let is_json = self.connection.is_json();
        if known.as_ref().is_none_or(|known| known.state == "down") && !is_json {
            writeln!(
                out,
                "start it on its machine, with the registry of the coordinators:\n  \
                 shardwright node --id {node} --registry REGISTRY --listen HOST:PORT --data DIR"
            )?;
            out.flush()?;
        }
        if !waiting.wait {
            let said = known.map_or_else(
                || format!("{node} is not known yet"),
                |known| format!("{node} is {}", known.state),
            );
            return self.finish(&client, &said, out);
        }
        let mut silent = std::io::sink();
        let told = told(&self.connection, out, &mut silent);
        let said = waiting.until(&client, told, || self.look(&client))?;
        self.finish(&client, &said, out)
    }

    fn look(&self, client: &Client) -> anyhow::Result<Look<String>> {
        let node = &self.node;
        let Some(known) = find(client, node)? else {
            return Ok(Look::Waits(format!("{node} is not known yet")));
        };
        if known.state != "up" {
            return Ok(Look::Waits(format!("{node} is {}", known.state)));
        }
        let held = held(client, node)?;
        if held > 0 {
            let shards = crate::output::count(held, "shard");
            return Ok(Look::Done(format!("{node} is up, with copies of {shards}")));
        }
        Ok(if all_whole(client)? {
            Look::Done(format!(
                "{node} is up; every shard has all its copies, so it gets some when another node goes"
            ))
        } else {
            Look::Waits(format!("{node} is up, without copies yet"))
        })
    }

    fn finish(&self, client: &Client, said: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.connection.is_json() {
            let path = format!("/api/v1/nodes?node={}", self.node);
            let nodes: Vec<Value> = client.get(&path)?;
            let known = nodes.into_iter().next().unwrap_or(Value::Null);
            Ok(crate::output::write_json(out, &known)?)
        } else {
            Ok(writeln!(out, "{said}")?)
        }
    }
}

/// Where it is told how far something is: only people are told.
fn told<'a>(
    connection: &Connection,
    out: &'a mut dyn Write,
    silent: &'a mut std::io::Sink,
) -> &'a mut dyn Write {
    if connection.is_json() { silent } else { out }
}

/// A change of a node that was asked for.
struct Change<'a> {
    connection: &'a Connection,
    client: &'a Client,
    waiting: &'a Waiting,
}

impl Change<'_> {
    fn ask(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.client.send(Method::POST, path, body)?)
    }

    /// Waits until `look` says that it is done. Only people are told how far it is.
    fn until(
        &self,
        out: &mut dyn Write,
        look: impl FnMut() -> anyhow::Result<Look<()>>,
    ) -> anyhow::Result<()> {
        let mut silent = std::io::sink();
        let told = told(self.connection, out, &mut silent);
        self.waiting.until(self.client, told, look)
    }

    /// Waits until a node is empty. Only people are told how far it is.
    fn until_empty(
        &self,
        node: &str,
        out: &mut dyn Write,
        each: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut silent = std::io::sink();
        let told = told(self.connection, out, &mut silent);
        self.waiting.until_empty(self.client, told, node, each)
    }

    /// Prints the answer for a program, or what is so for people.
    fn finish(&self, answer: &Value, said: &str, out: &mut dyn Write) -> anyhow::Result<()> {
        if self.connection.is_json() {
            Ok(crate::output::write_json(out, answer)?)
        } else {
            Ok(writeln!(out, "{said}")?)
        }
    }
}

impl Drain {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let change = Change {
            connection: &self.connection,
            client: &client,
            waiting: &self.waiting,
        };
        let node = &self.node;
        let answer = change.ask("/api/v1/drain", &json!({ "node": node }))?;
        let said = if self.waiting.wait {
            change.until_empty(node, out, || Ok(()))?;
            format!("{node} has nothing left, and may be stopped")
        } else {
            format!("{node} is draining; `node list` shows how much it still has")
        };
        change.finish(&answer, &said, out)
    }
}

impl Replace {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let change = Change {
            connection: &self.connection,
            client: &client,
            waiting: &self.waiting,
        };
        let Self { old, new, .. } = self;
        let body = json!({ "node": old, "by": new });
        let answer = change.ask("/api/v1/replace", &body)?;
        let said = if self.waiting.wait {
            let mut asked_in = term(&client)?;
            change.until_empty(old, out, || {
                // The next leader does not know who takes whose place.
                let now = term(&client)?;
                if now != asked_in {
                    change.ask("/api/v1/replace", &body)?;
                    asked_in = now;
                }
                Ok(())
            })?;
            format!("{old} has nothing left, and may be stopped")
        } else {
            format!("{new} takes the place of {old}; `node list` shows how far it is")
        };
        change.finish(&answer, &said, out)
    }
}

impl Remove {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let change = Change {
            connection: &self.connection,
            client: &client,
            waiting: &self.waiting,
        };
        let node = &self.node;
        if self.waiting.wait {
            self.empty_and_stop(&change, out)?;
        }
        let answer = change.ask("/api/v1/remove", &json!({ "node": node }))?;
        let said = if self.waiting.wait {
            change.until(out, || {
                let waits = format!("the coordinators still know {node}");
                let known = find(&client, node)?;
                Ok(known.map_or(Look::Done(()), |_| Look::Waits(waits)))
            })?;
            change.until_empty(node, out, || Ok(()))?;
            format!("{node} is forgotten, and no shard counts on it")
        } else {
            format!("{node} is being forgotten; `status` shows what has to be made anew")
        };
        change.finish(&answer, &said, out)
    }

    /// Drains the node if it is up, and waits until its process has been stopped.
    fn empty_and_stop(&self, change: &Change<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
        let (client, node) = (change.client, &self.node);
        let is_up = find(client, node)?.is_some_and(|known| known.state != "down");
        if !is_up {
            return Ok(());
        }
        change.ask("/api/v1/drain", &json!({ "node": node }))?;
        change.until_empty(node, out, || Ok(()))?;
        change.until(out, || {
            let known = find(client, node)?;
            let is_down = known.is_none_or(|known| known.state == "down");
            let waits = format!("{node} has nothing left: stop its process");
            Ok(if is_down {
                Look::Done(())
            } else {
                Look::Waits(waits)
            })
        })
    }
}
