//! Clients: they route by what they saw of the journal, and write numbers that only grow.

use std::collections::BTreeMap;

use shardwright_elastic::{Layout, Record};
use shardwright_registry::Key;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::Decision;

use super::{Elastic, KEYS, Message, TIMEOUT, Token, after, first_shard, node_pid, operation_key};

/// What a client knows.
pub(super) struct Client {
    records: BTreeMap<Key, Record>,
    layout: Layout,
    /// How many operations are in the layout.
    decided: usize,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            layout: Layout::new([first_shard()]).expect("one shard owns everything"),
            decided: 0,
        }
    }
}

impl Client {
    pub(super) fn see(&mut self, key: &Key, record: &Record) {
        self.records.insert(key.clone(), record.clone());
        // In their order, because a later one begins with the shards of an earlier one.
        while let Some(next) = self.records.get(&operation_key(self.decided)) {
            match next.phase().decision() {
                Decision::Open => return,
                Decision::Commit => self.layout = after(&self.layout, next),
                Decision::Abort => {}
            }
            self.decided += 1;
        }
    }
}

impl Elastic {
    pub(super) fn client_writes(&mut self, sim: &mut Sim<Self>, at: Pid) {
        let next = sim.now(at) + TIMEOUT / 60;
        sim.wake(at, next, Token::Client);
        let Some(client) = self.clients.get(&at) else {
            return;
        };
        // Each client has keys of its own.
        let key = format!("{at}-{}", sim.dice().index(KEYS)).into_bytes();
        let owner = client.layout.owner(&key);
        let owner = owner.expect("every key has an owner");
        self.numbers += 1;
        let message = Message::Write {
            shard: owner.shard.clone(),
            key,
            number: self.numbers,
        };
        sim.send(at, node_pid(&owner.node), message);
    }
}
