//! Where the other nodes are.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use shardwright_quorum::log::{BoxError, peer::Resolve};
use shardwright_registry::Addresses;
use shardwright_topology::NodeId;

use super::NodeOptions;

/// Finds nodes by the registry, and by memory while the registry is away: the data path runs without it.
#[derive(Debug)]
pub(super) struct PeerAddresses {
    addresses: Addresses,
    known: Mutex<HashMap<NodeId, String>>,
}

impl PeerAddresses {
    pub(super) fn new(addresses: Addresses) -> Self {
        Self {
            addresses,
            known: Mutex::default(),
        }
    }
}

#[async_trait]
impl Resolve for PeerAddresses {
    async fn address(&self, node: &NodeId) -> Result<Option<String>, BoxError> {
        let found = self.addresses.get(node).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (found, known.get(node)) {
            (Ok(Some(address)), _) => {
                known.insert(node.clone(), address.clone());
                Ok(Some(address))
            }
            (Ok(None), _) => Ok(None),
            (Err(_), Some(address)) => Ok(Some(address.clone())),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// Returns where other nodes find this one: the host that it gives, or the one that it listens at.
pub(super) fn advertised(options: &NodeOptions, listening: SocketAddr) -> String {
    match &options.advertise_peers {
        None => listening.to_string(),
        Some(given)
            if given
                .rsplit_once(':')
                .is_some_and(|(_, port)| is_port(port)) =>
        {
            given.clone()
        }
        Some(host) => format!("{host}:{}", listening.port()),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_find_a_node_at_the_host_that_it_gives() {
        let listening = SocketAddr::from(([127, 0, 0, 1], 7559));
        let node = NodeId::new("n1").expect("a name");
        let at = |given: Option<&str>| {
            let options = NodeOptions {
                advertise_peers: given.map(str::to_owned),
                ..NodeOptions::new(node.clone(), "n1", "http://127.0.0.1:7558")
            };
            advertised(&options, listening)
        };
        assert_eq!(at(None), "127.0.0.1:7559");
        assert_eq!(at(Some("db-1.example")), "db-1.example:7559");
        assert_eq!(at(Some("db-1.example:80")), "db-1.example:80");
        assert_eq!(at(Some("[2001:db8::1]")), "[2001:db8::1]:7559");
    }
}
