//! `coordinator`: the process that decides who serves what.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::Context as _;
use shardwright_coordinator::{
    Coordinator,
    core::{Replication, Settings as CoreSettings},
    elastic,
    failover::replication,
    http::{self, Api, Metrics},
};
use shardwright_registry::Store;
use shardwright_topology::{Config, Incarnation, NodeId};

use crate::{
    automatic,
    elastic::elastic_store,
    halts,
    listening::Listening,
    process,
    registry::Location,
    settings::{
        ADVERTISE, ALLOW_SHORT_LEASES, AUTOMATIC, BOOTSTRAP_WAIT, BUCKET, CHECK_INTERVAL, Family,
        Given, HALT_AT, HEARTBEAT_TIMEOUT, ID, LISTEN, LOG, NATS_CREDS, OPERATION_GRACE,
        OPERATION_RETENTION, REGISTRY, REPLICAS, REPLICATION_FACTOR, SHARDER, SHARDS, Setting,
        Settings, TOKEN_FILE,
    },
    sharder::Sharder,
    signals::Ending,
    timing::Timing,
};

/// Run a coordinator.
///
/// Any number of them share a registry, and one leads: it gives each partition to one of the workers, and to another one when that is
/// gone. The others take over when the leader is gone, and pass commands on to it until then. Nothing is kept outside the registry.
///
/// Prints `listening on http://...` once it takes requests. Ctrl-C or SIGTERM ends it; if it leads, it says so first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright coordinator --registry sqlite:registry.db
  shardwright coordinator --registry nats://10.0.0.1:4222,10.0.0.2:4222 --listen 10.0.0.7:7557 --token-file token")]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Given<Coordinating>,

    /// Offer CollegeDB's /flush, which forgets every home of a key. For development.
    #[arg(long)]
    allow_flush: bool,
}

/// The settings of a coordinator.
#[derive(Debug)]
struct Coordinating;

impl Family for Coordinating {
    const SETTINGS: &'static [&'static Setting] = &[
        &REGISTRY,
        &LISTEN,
        &ADVERTISE,
        &ID,
        &BUCKET,
        &NATS_CREDS,
        &CHECK_INTERVAL,
        &HEARTBEAT_TIMEOUT,
        &ALLOW_SHORT_LEASES,
        &REPLICAS,
        &REPLICATION_FACTOR,
        &SHARDS,
        &SHARDER,
        &BOOTSTRAP_WAIT,
        &OPERATION_GRACE,
        &OPERATION_RETENTION,
        &HALT_AT,
        &TOKEN_FILE,
        &LOG,
    ];

    const MORE: (&'static str, &'static [&'static Setting]) = AUTOMATIC;
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    process::run(&arguments.settings, async |settings| {
        serve(settings, arguments.allow_flush, out).await
    })
}

async fn serve(settings: &Settings, allow_flush: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let location: Location = settings.required(&REGISTRY)?;
    let timing = Timing::of(settings, &location)?;
    let policy = settings.required::<Sharder>(&SHARDER)?.policy();
    let ending = Ending::catch()?;
    let listening = Listening::open(settings, ("127.0.0.1", http::DEFAULT_PORT)).await?;
    let store = location.open(settings).await?;
    let core = core_settings(settings, timing, listening.id(settings)?)?;
    let token = listening.token.clone();
    let shards = elastic_store(Arc::clone(&store) as Arc<dyn Store>, token.as_ref())?;
    let coordinator = Coordinator::builder(Arc::clone(&store) as Arc<dyn Store>, core, policy)
        .elastic(shards)
        .halts(halts::of(settings)?)
        .token(token)
        .start();
    let api = Api::new(
        coordinator.handle().clone(),
        Arc::clone(&store) as Arc<dyn Store>,
        http::Settings {
            token: listening.token.clone(),
            metrics: Some(Metrics::install()?),
            allow_flush,
            ..http::Settings::default()
        },
    );
    api.announce(&listening.url)
        .await
        .context("announce this coordinator in the registry")?;
    listening.announce(out)?;
    let ends = async {
        ending.asked().await;
        // The next leader need not wait for this one's lease to run out.
        coordinator.stop().await;
    };
    http::serve(listening.listener, api, ends).await;
    Ok(())
}

fn core_settings(settings: &Settings, timing: Timing, id: NodeId) -> anyhow::Result<CoreSettings> {
    let factor = settings.count(&REPLICATION_FACTOR)?;
    let bootstrap_wait = settings.duration(&BOOTSTRAP_WAIT)?;
    let shards = settings.required(&SHARDS)?;
    let usual = CoreSettings::new(id, Incarnation(rand::random()));
    Ok(CoreSettings {
        check_interval: timing.check_interval,
        timing: CoreSettings::timing_of(timing.heartbeat_timeout)?,
        replicas: settings.count(&REPLICAS)?,
        replication_factor: factor,
        shards,
        balance: automatic::balance(settings, shards)?,
        bootstrap_wait,
        replication: replication(factor, bootstrap_wait)?,
        operations: elastic::Settings {
            grace: settings.duration(&OPERATION_GRACE)?,
            retention: settings.duration(&OPERATION_RETENTION)?,
            ..usual.operations
        },
        ..usual
    })
}

/// How shards are looked after that have so many copies.
pub(super) fn replication(
    factor: u32,
    bootstrap_wait: Duration,
) -> Result<Replication, replication::InvalidSettings> {
    Replication::new(replication::Settings {
        factor,
        // Fewer copies than three leave no choice.
        w_min: Config::majority(factor as usize).min(2),
        bootstrap_wait,
        ..replication::Settings::default()
    })
}
