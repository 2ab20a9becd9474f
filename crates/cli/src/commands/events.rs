//! `events`: what happens in the cluster, as it happens.

use std::io::Write;

use eventsource_stream::Event;
use serde_json::Value;

use crate::client::Connection;

/// Follow what happens in the cluster, until interrupted.
///
/// A line per event: nodes that come and go, partitions that are served elsewhere, leaders that change. Where the coordinator goes
/// away, another is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright events
  shardwright events -o json | jq .")]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let client = arguments.connection.client()?;
    let is_json = arguments.connection.is_json();
    client.follow("/api/v1/events", |event| {
        if is_json {
            writeln!(out, "{}", event.data)?;
        } else {
            writeln!(out, "{}", line(event))?;
        }
        Ok(out.flush()?)
    })
}

/// The kind of the event and its members, as `name=value`.
fn line(event: &Event) -> String {
    let mut line = event.event.clone();
    match serde_json::from_str(&event.data) {
        Ok(Value::Object(members)) => {
            for (name, value) in members {
                if name == "kind" || name == "event" || value.is_null() {
                    continue;
                }
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                line.push_str(&format!(" {name}={value}"));
            }
        }
        _ => {
            line.push(' ');
            line.push_str(&event.data);
        }
    }
    line.escape_debug().to_string()
}
