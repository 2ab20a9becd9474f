//! A node as a process of its own.

use std::{io::Write, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::Url;
use shardwright_registry::Addresses;
use shardwright_server::{Node, NodeOptions, http::CONNECTIONS_MAX, http::serve};
use shardwright_topology::Location;
use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    halts,
    health::{self, Held},
    listening::Listening,
    pass_on::{self, Coordinators},
    process, registry,
    settings::{
        ADVERTISE, ADVERTISE_PEERS, BUCKET, COORDINATOR_OR_REGISTRY, DATA, Family, Given, HALT_AT,
        HEARTBEAT_TIMEOUT, ID, LISTEN, LISTEN_PEERS, LOG, NATS_CREDS, REGION, REGISTRY,
        STREAM_IDLE, Setting, SettingError, Settings, TOKEN_FILE, TRANSACTION_IDLE, ZONE,
    },
    signals::{self, Ending},
    streams, timing,
};

/// How long a node that ends waits for others to take over what it is the primary of.
const HAND_OVER: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(super) struct Keep {
    #[command(flatten)]
    settings: Given<Keeping>,
}

/// The settings of a node.
#[derive(Debug)]
struct Keeping;

impl Family for Keeping {
    const SETTINGS: &'static [&'static Setting] = &[
        &ID,
        &REGISTRY,
        &LISTEN,
        &ADVERTISE,
        &DATA,
        &LISTEN_PEERS,
        &ADVERTISE_PEERS,
        &COORDINATOR_OR_REGISTRY,
        &HEARTBEAT_TIMEOUT,
        &BUCKET,
        &NATS_CREDS,
        &ZONE,
        &REGION,
        &STREAM_IDLE,
        &TRANSACTION_IDLE,
        &HALT_AT,
        &TOKEN_FILE,
        &LOG,
    ];
}

pub(super) fn run(arguments: &Keep, out: &mut dyn Write) -> anyhow::Result<()> {
    process::run(&arguments.settings, async |settings| {
        keep(settings, out).await
    })
}

async fn keep(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let location = shared_registry(settings)?;
    let directory: PathBuf = settings.required(&DATA)?;
    settings.required::<String>(&ID)?;
    let ending = Ending::catch()?;
    signals::outlive_size_limits()?;
    let listening = Listening::open(settings, ("127.0.0.1", 0)).await?;
    let options = options(settings, directory, &listening)?;
    let store = location.open(settings).await?;
    let coordinators = Coordinators {
        named: options.coordinators.clone(),
        registry: Addresses::of_coordinators(Arc::clone(&store)),
    };
    let node = Node::start(store, options)
        .await
        .context("start the node")?;
    let node = Arc::new(node);
    let known = Arc::downgrade(&node);
    let held = move || Held::Copies(known.upgrade().map_or(0, |node| node.shards().len()));
    let router = node
        .router()
        .merge(health::routes(node.worker().clone(), held)?)
        .merge(pass_on::routes(coordinators, listening.token.as_ref())?);
    listening.announce(out)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = async {
        // Nobody has to ask: the server ends with whoever could.
        let _asked = stopped.await;
    };
    let mut server = tokio::spawn(serve(listening.listener, router, CONNECTIONS_MAX, ended));
    let handed_over = tokio::select! {
        handed_over = leave(ending, &node) => handed_over,
        ended = &mut server => return ended.context("serve requests"),
    };
    // What is under way is answered, or told that it has to go elsewhere, before the copies stop.
    drop(stop);
    server.await.context("serve requests")?;
    if let Some(node) = Arc::into_inner(node) {
        node.stop().await;
    }
    if handed_over {
        Ok(())
    } else {
        Err(Failure::NotHandedOver.into())
    }
}

/// Waits until the process is to end, and gives away what others can take.
async fn leave(ending: Ending, node: &Node) -> bool {
    ending.asked().await;
    node.worker().leave(HAND_OVER).await
}

/// The registry that all processes of the cluster share.
fn shared_registry(settings: &Settings) -> Result<registry::Location, SettingError> {
    match settings.required(&REGISTRY)? {
        registry::Location::Memory => Err(SettingError::Refused {
            refusal: "a registry in memory is known to one process alone, and a node needs coordinators",
            remedy: "name one with sqlite:PATH or nats://HOST:PORT, or use `shardwright dev`",
        }),
        shared => Ok(shared),
    }
}

fn options(
    settings: &Settings,
    directory: PathBuf,
    listening: &Listening,
) -> anyhow::Result<NodeOptions> {
    let host = listening.listener.local_addr()?.ip();
    let listen_peers: Option<String> = settings.optional(&LISTEN_PEERS)?;
    let listen_peers = listen_peers.unwrap_or_else(|| match host {
        IpAddr::V4(host) => format!("{host}:0"),
        IpAddr::V6(host) => format!("[{host}]:0"),
    });
    Ok(NodeOptions {
        advertise_peers: advertised(settings, &listen_peers, &listening.url)?,
        listen_peers,
        coordinators: settings.list(&COORDINATOR_OR_REGISTRY)?,
        location: Location {
            region: settings.optional(&REGION)?,
            zone: settings.optional(&ZONE)?,
        },
        token: listening.token.clone(),
        log: timing::of_log(settings.duration(&HEARTBEAT_TIMEOUT)?),
        streams: streams::of(settings)?,
        halts: halts::of(settings)?,
        ..NodeOptions::new(listening.id(settings)?, directory, &listening.url)
    })
}

/// Where other nodes find this one. They cannot connect to "any address": there it is the host that clients use.
fn advertised(
    settings: &Settings,
    listen_peers: &str,
    url: &str,
) -> Result<Option<String>, SettingError> {
    let given = settings.optional(&ADVERTISE_PEERS)?;
    let host = listen_peers.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    let is_any = host.parse().is_ok_and(|host: IpAddr| host.is_unspecified());
    let host_of = |url: Url| url.host_str().map(str::to_owned);
    Ok(match given {
        None if is_any => url.parse().ok().and_then(host_of),
        given => given,
    })
}
