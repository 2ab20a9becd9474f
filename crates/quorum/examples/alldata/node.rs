//! One node: it takes events of clients on one address and copies of its peers on another, and keeps them in a SQLite file.

use std::{env, path::Path};

use shardwright_quorum::{
    BoxError, Coordinator, Place, ReplicationStrategy, Settings,
    http::{Http, HttpOptions, ServerOptions, Token, serve_clients, serve_peers},
    sqlite::EventStore,
    topology::Location,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// The nodes: region, zone and number.
pub(crate) const NODES: [&str; 6] = ["eu a 1", "eu a 2", "eu b 3", "eu b 4", "us c 5", "us c 6"];

/// Runs a node. It says where its peers reach it, is told where they are, says where clients reach it, and ends with its input.
#[expect(clippy::print_stdout, reason = "the other process reads the addresses")]
pub(crate) async fn run(name: &str, directory: &Path) -> Result<(), BoxError> {
    let token = Some(Token::new(&env::var("CLUSTER_TOKEN")?)?);
    let store = EventStore::open(directory.join(name))?;
    let client = Http::new(&HttpOptions {
        token: token.clone(),
        ..HttpOptions::default()
    })?;
    let settings = Settings {
        replication_factor: 3,
        replication_strategy: ReplicationStrategy {
            other_zone_replicas: 1,
            other_region_replicas: 1,
        },
        ..Settings::default()
    };
    let coordinator = Coordinator::new(store.clone(), client, settings)?;

    let address = "127.0.0.1:0";
    let for_peers = ServerOptions {
        token,
        ..ServerOptions::default()
    };
    let peers = serve_peers(address, store, &for_peers).await?;
    println!("{}", peers.url());
    let mut input = BufReader::new(stdin()).lines();
    for node in NODES {
        let url = input.next_line().await?.unwrap_or_default().parse()?;
        if node != name {
            let place = Place::seen_from(&location(name), &location(node));
            coordinator.add_peer(node, url, place);
        }
    }

    let for_clients = ServerOptions::default();
    let clients = serve_clients(address, coordinator.clone(), &for_clients).await?;
    println!("{}", clients.url());
    while input.next_line().await?.is_some() {}
    clients.shut_down().await;
    coordinator.settle().await;
    Ok(())
}

fn location(node: &str) -> Location {
    let mut words = node.split(' ').map(str::to_owned);
    let (region, zone) = (words.next(), words.next());
    Location { region, zone }
}
