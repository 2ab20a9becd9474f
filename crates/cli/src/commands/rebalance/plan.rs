//! `rebalance plan`, and what can be asked of plans.

use std::{collections::BTreeMap, io::Write, str::FromStr};

use reqwest::Method;
use serde::Serialize;
use shardwright_sql::Value;

use super::PATH;
use crate::{
    client::{Connection, Impact, Lack, Plan, Received},
    output::{self, Sheet},
};

/// Print what would even the load out, and what that costs.
///
/// Shards that nodes keep are balanced by what is measured: their sizes, requests and work, and by their number where nothing is. Primaries are
/// handed over before anything is copied. Of partitions it prints what the leader plans and has not begun. Nothing is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright rebalance plan
  shardwright rebalance plan --weight n4=50 --bytes-max 10000000000
  shardwright rebalance plan -o json > plan.json")]
pub(crate) struct Show {
    #[command(flatten)]
    asked: Asked,

    #[command(flatten)]
    connection: Connection,
}

/// What is asked of a plan.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Asked {
    /// Balance by the load, or by the number of shards.
    #[arg(long, value_enum)]
    by: Option<By>,

    /// The share of a node, in place of the weight that it has registered with; 100 is ordinary, and 0 gives all that it has away.
    #[arg(long = "weight", value_name = "NODE=WEIGHT")]
    weights: Vec<Weight>,

    /// A shard that stays where it is.
    #[arg(long = "pin", value_name = "SHARD")]
    pins: Vec<String>,

    /// Shards no two of which are to share a node.
    #[arg(long, value_name = "SHARD,SHARD")]
    apart: Vec<Group>,

    /// How far apart the copies of one shard are kept. Zones, unless said otherwise.
    #[arg(long, value_enum)]
    spread: Option<Spread>,

    /// How many moves and hand-overs the plan has at most.
    #[arg(long, value_name = "COUNT")]
    moves_max: Option<u64>,

    /// How many bytes are copied at most.
    #[arg(long, value_name = "BYTES")]
    bytes_max: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum By {
    Load,
    Count,
}

#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Spread {
    Nodes,
    Zones,
    Regions,
}

/// A node and its weight.
#[derive(Clone, Debug)]
struct Weight(String, u32);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, weight) = text.split_once('=').ok_or("write NODE=WEIGHT")?;
        let weight = weight.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(node.to_owned(), weight))
    }
}

/// Shards that are kept apart.
#[derive(Clone, Debug, Serialize)]
struct Group(Vec<String>);

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shards: Vec<String> = text.split(',').map(str::to_owned).collect();
        match shards.len() {
            0 | 1 => Err("name two shards or more, with commas between them".to_owned()),
            _ => Ok(Self(shards)),
        }
    }
}

/// The same, as a coordinator takes it.
#[derive(Debug, Serialize)]
pub(super) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    weights: BTreeMap<&'a str, u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pins: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    apart: &'a [Group],
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moves_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
}

impl Asked {
    pub(super) fn options(&self) -> Options<'_> {
        let weights = self.weights.iter();
        Options {
            by: self.by,
            weights: weights
                .map(|Weight(node, weight)| (node.as_str(), *weight))
                .collect(),
            pins: &self.pins,
            apart: &self.apart,
            spread: self.spread,
            moves_max: self.moves_max,
            bytes_max: self.bytes_max,
        }
    }

    /// Whether anything is asked of the plan.
    pub(super) fn is_some(&self) -> bool {
        serde_json::to_value(self.options()).is_ok_and(|options| options != serde_json::json!({}))
    }
}

impl Show {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let path = format!("{PATH}/plan");
        let plan: Received<Plan> = client.send(Method::POST, &path, &self.asked.options())?;
        print(&self.connection, &plan, out)
    }
}

/// Prints a plan, and what it means if it does anything.
pub(super) fn print(
    connection: &Connection,
    plan: &Received<Plan>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    connection.print(out, plan, || sheet(plan))?;
    match &plan.impact {
        Some(impact) if !connection.is_json() && !plan.moves.is_empty() => {
            writeln!(out, "{}", told(impact, plan.deferred))?;
        }
        _ => {}
    }
    if !plan.unheard.is_empty() && !connection.is_json() {
        let nodes = plan.unheard.join(", ");
        writeln!(
            out,
            "planned without {nodes}: the leader has yet to hear from there; plan again a little later"
        )?;
    }
    Ok(())
}

/// What a plan means, in words.
fn told(impact: &Impact, deferred: u64) -> String {
    let copied = output::grouped(impact.data_movement_bytes);
    let shards = output::count(impact.shards_affected, "shard");
    let seconds = std::time::Duration::from_secs(impact.estimated_duration_secs);
    let lasts = humantime::format_duration(seconds);
    let better = impact.load_improvement * 100.0;
    let later = match deferred {
        0 => String::new(),
        deferred => format!("; {} left for later", output::count(deferred, "move")),
    };
    format!(
        "{shards} affected, {}, {copied} bytes copied in about {lasts}, the most loaded node has {better:.0} % less{later}",
        output::count(impact.hand_overs, "hand-over"),
    )
}

/// The moves, and then what no move can mend.
fn sheet(plan: &Plan) -> Sheet {
    let mut sheet = Sheet::with_columns(&["keyspace", "shard", "what", "from", "to", "why"]);
    let moves = plan.moves.iter().map(|step| {
        let shard = (step.keyspace.as_str(), step.shard.as_str());
        let (from, to) = (step.from.as_deref(), step.to.as_deref());
        row(Some(shard), &step.kind, from, to, &step.reason)
    });
    sheet.rows.extend(moves);
    let lacking = |lack: &Lack, why: &str| {
        let shard = (lack.keyspace.as_str(), lack.shard.as_str());
        let why = format!("{} of {} {why}", lack.has, lack.wants);
        row(Some(shard), NOTHING, None, None, &why)
    };
    let few = plan.under_replicated.iter();
    let few = few.map(|lack| lacking(lack, "copies, and no node may take more"));
    let crowded = plan.crowded.iter();
    let crowded = crowded.map(|lack| lacking(lack, "zones or regions, and no node of another"));
    let staying = |stuck: &crate::client::Stuck, why| {
        let shard = (stuck.keyspace.as_str(), stuck.shard.as_str());
        row(Some(shard), NOTHING, Some(&stuck.node), None, why)
    };
    let stuck = plan.stuck.iter();
    let stuck = stuck.map(|stuck| {
        staying(
            stuck,
            "it is to leave, and is pinned or no other node may take it",
        )
    });
    let together = plan.together.iter();
    let together = together.map(|stuck| {
        staying(
            stuck,
            "it is to be apart, and is pinned or no other node may take it",
        )
    });
    let refused = plan.refused.iter().map(|refused| {
        let named = refused.partition.as_ref();
        let shard = named.map(|named| (named.keyspace.as_str(), named.shard.as_str()));
        let why = format!("the sharder would not plan: {}", refused.code);
        row(shard, NOTHING, refused.node.as_deref(), None, &why)
    });
    let unmended = few
        .chain(crowded)
        .chain(stuck)
        .chain(together)
        .chain(refused);
    sheet.rows.extend(unmended);
    sheet
}

/// What is done about what no move can mend.
const NOTHING: &str = "nothing";

fn row(
    shard: Option<(&str, &str)>,
    what: &str,
    from: Option<&str>,
    to: Option<&str>,
    why: &str,
) -> Vec<Value> {
    vec![
        output::optional(shard.map(|(keyspace, _)| keyspace)),
        output::optional(shard.map(|(_, shard)| shard)),
        output::text(what),
        output::optional(from),
        output::optional(to),
        output::text(why),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asked: Asked,
    }

    fn asked(arguments: &[&str]) -> Result<Asked, clap::Error> {
        let line = ["plan"].iter().chain(arguments);
        Ok(Line::try_parse_from(line)?.asked)
    }

    #[test]
    fn what_is_asked_for_is_what_coordinators_take() {
        let all = [
            "--by",
            "count",
            "--weight",
            "n1=50",
            "--weight",
            "n2=0",
            "--pin",
            "shard-0",
            "--apart",
            "shard-1,shard-2",
            "--spread",
            "nodes",
            "--moves-max",
            "3",
            "--bytes-max",
            "1000",
        ];
        let all = asked(&all).unwrap();
        let expected = json!({
            "by": "count", "weights": {"n1": 50, "n2": 0}, "pins": ["shard-0"], "apart": [["shard-1", "shard-2"]],
            "spread": "nodes", "moves_max": 3, "bytes_max": 1000,
        });
        assert_eq!(serde_json::to_value(all.options()).unwrap(), expected);
        assert!(all.is_some());
        let none = asked(&[]).unwrap();
        assert_eq!(serde_json::to_value(none.options()).unwrap(), json!({}));
        assert!(!none.is_some());
        for refused in [&["--weight", "n1"][..], &["--apart", "shard-1"]] {
            assert!(asked(refused).is_err(), "{refused:?}");
        }
    }
}
