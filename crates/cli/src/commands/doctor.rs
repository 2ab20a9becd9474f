//! `doctor`: what is wrong with a cluster, and what to do about it.

use std::io::Write;

use anyhow::Context as _;
use serde::Serialize;
use shardwright_registry::{Level, NatsError, NatsOptions, NatsStore};
use shardwright_sql::Value;

use crate::{
    client::{Client, ClientError, Node, Shard},
    failure::Failure,
    output::{self, ListingFormat, Sheet},
    registry::Location,
    settings::{
        ALLOW_SHORT_LEASES, BUCKET, CHECK_INTERVAL, COORDINATOR, Family, Given, HEARTBEAT_TIMEOUT,
        NATS_CREDS, REGISTRY, Setting, SettingError, Settings, TOKEN_FILE,
    },
    timing::Timing,
};

/// Say what is wrong with a cluster, and what to do about it.
///
/// Asks every coordinator, looks at the nodes and shards that they know, and at the settings of this host. Nothing is
/// changed. The exit code is 1 if anything is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright doctor --coordinator http://127.0.0.1:7557
  shardwright doctor --registry nats://127.0.0.1:4222 -o json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Given<Examined>,

    /// The addresses at which the NATS servers are monitored, such as http://10.0.0.1:8222: only there they say whether they
    /// write to disk before they acknowledge.
    #[arg(long = "nats-monitor", value_name = "URL", value_delimiter = ',')]
    nats_monitors: Vec<String>,

    /// How long each question waits for an answer.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    timeout: humantime::Duration,

    /// How the findings are printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// The settings that are looked at.
#[derive(Debug)]
struct Examined;

impl Family for Examined {
    const SETTINGS: &'static [&'static Setting] = &[
        &COORDINATOR,
        &TOKEN_FILE,
        &REGISTRY,
        &BUCKET,
        &NATS_CREDS,
        &CHECK_INTERVAL,
        &HEARTBEAT_TIMEOUT,
        &ALLOW_SHORT_LEASES,
    ];
}

/// What was looked at, and what was found.
#[derive(Debug, Serialize)]
struct Finding {
    check: String,
    result: Level,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    fn new(
        check: impl Into<String>,
        result: Level,
        found: impl Into<String>,
        remedy: Option<String>,
    ) -> Self {
        Self {
            check: check.into(),
            result,
            found: found.into(),
            remedy,
        }
    }

    fn good(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Level::Good, found, None)
    }

    fn bad(check: impl Into<String>, found: impl Into<String>, remedy: Option<String>) -> Self {
        Self::new(check, Level::Problem, found, remedy)
    }

    fn of_error(check: impl Into<String>, error: &ClientError) -> Self {
        Self::bad(check, error.to_string(), error.hint().map(str::to_owned))
    }

    fn of_setting(check: impl Into<String>, error: &SettingError) -> Self {
        Self::bad(check, error.to_string(), error.hint())
    }
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let settings = arguments.settings.resolve()?;
    let client = Client::new(&settings, *arguments.timeout)?;
    let mut findings = of_host(&settings, arguments)?;
    findings.extend(coordinators(&client));
    match client.get::<Vec<Node>>("/api/v1/nodes") {
        Ok(nodes) => findings.push(of_nodes(&nodes)),
        Err(error) => findings.push(Finding::of_error("nodes", &error)),
    }
    match client.get::<Vec<Shard>>("/api/v1/shards") {
        Ok(shards) => findings.push(of_shards(&shards)),
        Err(error) => findings.push(Finding::of_error("shards", &error)),
    }
    match arguments.output {
        ListingFormat::Json => output::write_json(out, &findings)?,
        ListingFormat::Table => output::write_listing(out, arguments.output, &sheet(&findings))?,
    }
    let bad = findings
        .iter()
        .filter(|finding| finding.result == Level::Problem)
        .count();
    if bad > 0 {
        return Err(Failure::Unhealthy { bad }.into());
    }
    Ok(())
}

/// What the settings of this host say, and the registry that they name. What a safe timing is depends on the registry.
fn of_host(settings: &Settings, arguments: &Arguments) -> anyhow::Result<Vec<Finding>> {
    let location = match settings.optional(&REGISTRY) {
        Ok(location) => location.unwrap_or(Location::Memory),
        Err(error) => return Ok(vec![Finding::of_setting("registry", &error)]),
    };
    let mut findings = vec![timing(settings, &location)];
    // Others have nothing that could be set wrongly.
    if let Location::Nats(servers) = &location {
        match servers.options(settings) {
            Ok(options) => findings.extend(of_bucket(options, arguments)?),
            Err(error) => findings.push(Finding::of_setting("registry", &error)),
        }
    }
    Ok(findings)
}

fn timing(settings: &Settings, registry: &Location) -> Finding {
    match Timing::of(settings, registry) {
        Ok(timing) => Finding::good(
            "timing",
            format!(
                "check-interval {}, heartbeat-timeout {}",
                humantime::format_duration(timing.check_interval),
                humantime::format_duration(timing.heartbeat_timeout)
            ),
        ),
        Err(error) => Finding::of_setting("timing", &error),
    }
}

/// What the servers of NATS say of the registry's bucket, which is only looked for.
fn of_bucket(options: NatsOptions, arguments: &Arguments) -> anyhow::Result<Vec<Finding>> {
    let patience = *arguments.timeout;
    let options = NatsOptions {
        request_timeout: patience,
        deadline: patience,
        ..options
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let diagnosed = runtime.block_on(async {
        // Connecting takes its own time for each server.
        let opening = NatsStore::open_existing(options);
        let opened = tokio::time::timeout(patience, opening).await;
        let store = opened.with_context(|| format!("no answer within {}", arguments.timeout))??;
        anyhow::Ok(store.diagnose(&arguments.nats_monitors).await?)
    });
    let findings = match diagnosed {
        Ok(findings) => findings,
        Err(error) => {
            let remedy = if let Some(NatsError::NoBucket { .. }) = error.downcast_ref() {
                "does --bucket name it as the coordinators do? The first coordinator creates it"
            } else {
                "is --registry the address of the NATS servers?"
            };
            let found = format!("{error:#}");
            return Ok(vec![Finding::bad(
                "registry",
                found,
                Some(remedy.to_owned()),
            )]);
        }
    };
    let shown = findings.into_iter().map(|finding| {
        let remedy = Some(finding.advice).filter(|advice| !advice.is_empty());
        Finding::new("registry", finding.level, finding.what, remedy)
    });
    Ok(shown.collect())
}

/// Each coordinator, asked whether it is ready.
fn coordinators(client: &Client) -> Vec<Finding> {
    let finding = |url: &reqwest::Url| {
        let check = format!("coordinator {url}");
        match client.is_ready(url) {
            Ok(()) => Finding::good(check, "ready"),
            Err(error) => Finding::of_error(check, &error),
        }
    };
    client.endpoints().iter().map(finding).collect()
}

/// A node that is down and holds nothing has left, or its shards are served by others.
fn of_nodes(nodes: &[Node]) -> Finding {
    let is_down = |node: &&Node| node.state == "down";
    let up = nodes.iter().filter(|node| node.state == "up").count();
    let stuck: Vec<&str> = nodes
        .iter()
        .filter(is_down)
        .filter(|node| node.shards > 0)
        .map(|node| node.id.as_str())
        .collect();
    let found = format!("{up} of {} up", nodes.len());
    if up == 0 {
        let remedy = "start one with `shardwright worker`".to_owned();
        Finding::bad("nodes", found, Some(remedy))
    } else if stuck.is_empty() {
        Finding::good("nodes", found)
    } else {
        let remedy = "nobody takes what they hold: start them, or more nodes".to_owned();
        let found = format!("{found}; down with shards: {}", stuck.join(" "));
        Finding::bad("nodes", found, Some(remedy))
    }
}

fn of_shards(shards: &[Shard]) -> Finding {
    let orphans: Vec<&str> = shards
        .iter()
        .filter(|shard| shard.primary.is_none())
        .map(|shard| shard.id.as_str())
        .collect();
    if orphans.is_empty() {
        return Finding::good(
            "shards",
            format!("{} known, all have a primary", shards.len()),
        );
    }
    let remedy = "`shardwright node list` says whether any node may take them".to_owned();
    let found = format!("without a primary: {}", orphans.join(" "));
    Finding::bad("shards", found, Some(remedy))
}

fn sheet(findings: &[Finding]) -> Sheet {
    let mut sheet = Sheet::with_columns(&["check", "result", "found", "remedy"]);
    for finding in findings {
        sheet.rows.push(vec![
            output::text(&finding.check),
            output::text(finding.result.to_string()),
            output::text(&finding.found),
            finding
                .remedy
                .as_deref()
                .map_or_else(|| Value::Text(Vec::new()), output::text),
        ]);
    }
    sheet
}
