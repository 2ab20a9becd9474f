//! A coordinator of these tests: it names another primary when the one there is does not answer, and takes whole copies in.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shardwright::{
    registry::{Prefix, Record, Records, Registry, SqliteStore, Stored},
    topology::{
        Conditions, Config, ConfigId, Epoch, Incarnation, KeyspaceName, Member, NodeId, Primary,
        Proposal, ReplicaId, ShardId, ShardRecord,
    },
};

use super::node::{Port, Status};
use crate::processes::clock::{self, Moment};

/// How soon a node has to answer.
const SOON: Duration = Duration::from_millis(400);

/// How long a primary may be away, and an attempt take.
const PATIENCE: u64 = 1_000_000_000;

/// The copy on a node, as its process announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Announced {
    copy: Member,
    incarnation: Incarnation,
}

impl Record for Announced {
    const KIND: &'static str = "announced copy";
    const VERSION: u64 = 1;
}

/// A thread that configures the log until it is dropped.
#[derive(Debug)]
pub(crate) struct Configurer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ports: BTreeMap<NodeId, Port>,
    /// The nodes that it does not reach.
    unreachable: Mutex<BTreeSet<NodeId>>,
    is_over: AtomicBool,
}

impl Configurer {
    pub(crate) fn start(directory: &Path, ports: BTreeMap<NodeId, Port>) -> Self {
        let store = SqliteStore::open(directory.join("registry.db")).expect("open the registry");
        let registry = Registry::new(Arc::new(store), KeyspaceName::main());
        let prefix = Prefix::new("copy/").expect("a prefix");
        let copies = Records::new(registry.store().clone(), prefix);
        let shared = Arc::new(Shared {
            ports,
            unreachable: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let mut loops = Loop {
            shared: Arc::clone(&shared),
            registry,
            copies,
            pending: None,
            away_since: None,
        };
        let thread = thread::spawn(move || {
            while !loops.shared.is_over.load(Ordering::SeqCst) {
                loops.look();
                clock::pause(Duration::from_millis(50));
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Lets it reach all nodes but these.
    pub(crate) fn lose(&self, nodes: impl IntoIterator<Item = NodeId>) {
        let lost = nodes.into_iter().collect();
        *self.shared.unreachable.lock().expect("no holder panics") = lost;
    }
}

impl Drop for Configurer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || thread::panicking(),
                "the configurer panicked"
            );
        }
    }
}

struct Loop {
    shared: Arc<Shared>,
    registry: Registry,
    copies: Records<Announced>,
    /// What is pending, and since when.
    pending: Option<(Epoch, Moment)>,
    /// Since when nobody is known to lead.
    away_since: Option<Moment>,
}

impl Loop {
    /// Looks at everything once. What goes wrong meanwhile is done again next time.
    fn look(&mut self) {
        let shards = self.registry.shards();
        let found = pollster::block_on(shards.get(ShardId::numbered(0)));
        let (Ok(Some(stored)), Ok(copies)) = (found, pollster::block_on(self.copies.list())) else {
            return;
        };
        let copies = copies.into_iter().map(|copy| copy.value);
        let copies = copies.map(|copy| (copy.copy.node.clone(), copy)).collect();
        if let Some(next) = self.next(&stored, &copies) {
            // Another writer was faster, or the registry is busy.
            let _replaced = pollster::block_on(shards.replace(&stored, next));
        }
    }

    fn statuses(&self) -> BTreeMap<NodeId, Status> {
        let unreachable = self
            .shared
            .unreachable
            .lock()
            .expect("no holder panics")
            .clone();
        let reachable = self
            .shared
            .ports
            .iter()
            .filter(|(node, _)| !unreachable.contains(*node));
        let answers = reachable.filter_map(|(node, port)| Some((node.clone(), port.status(SOON)?)));
        answers.filter(|(_, status)| status.runs()).collect()
    }

    fn next(
        &mut self,
        stored: &Stored<ShardRecord>,
        copies: &BTreeMap<NodeId, Announced>,
    ) -> Option<ShardRecord> {
        let (record, now) = (&stored.value, clock::now());
        let active = record.active.as_ref()?;
        let pending = record.pending.as_ref().map(|pending| pending.epoch);
        if self.pending.map(|(epoch, _)| epoch) != pending {
            self.pending = pending.map(|epoch| (epoch, now));
        }
        let statuses = self.statuses();
        let leads = |status: &Status| status.number("leads") == active.epoch.0;
        let leader = statuses
            .get(&active.primary.node)
            .filter(|status| leads(status));
        self.away_since = match leader {
            Some(_) => None,
            None => self.away_since.or(Some(now)),
        };
        let waited = |since: Moment| now.saturating_sub(since) >= PATIENCE;
        if self.pending.is_some_and(|(_, since)| !waited(since)) {
            return None;
        }
        let is_whole = |member: &Member| {
            let copy = copies.get(&member.node);
            copy.is_some_and(|copy| copy.copy == *member)
        };
        let mut members = active.members.clone();
        members.retain(is_whole);
        let primary = if let Some(leader) = leader {
            members.extend(caught_up(leader, &statuses, copies));
            if members == active.members && pending.is_none() {
                return None;
            }
            active.primary.clone()
        } else {
            self.away_since.filter(|since| waited(*since))?;
            newest(&members, &statuses)?
        };
        let clean: BTreeSet<ReplicaId> = copies.values().map(|copy| copy.copy.replica_id).collect();
        let proposal = Proposal {
            config_id: ConfigId::from_bits(u128::from(now)),
            primary,
            w: Config::majority(members.len()),
            members,
            zones: 1,
        };
        let conditions = Conditions { clean, w_min: 2 };
        record.begin_attempt(proposal, &conditions).ok()
    }
}

/// The copies that hold what the primary has committed.
fn caught_up(
    leader: &Status,
    statuses: &BTreeMap<NodeId, Status>,
    copies: &BTreeMap<NodeId, Announced>,
) -> Vec<Member> {
    let commit = leader.number("commit");
    let copies = copies.values().filter(|copy| {
        let status = statuses.get(&copy.copy.node);
        status.is_some_and(|status| {
            status.text("replica") == copy.copy.replica_id.to_string()
                && status.number("durable") + 100 >= commit
        })
    });
    copies.map(|copy| copy.copy.clone()).collect()
}

/// The member that answers and holds the most.
fn newest(members: &BTreeSet<Member>, statuses: &BTreeMap<NodeId, Status>) -> Option<Primary> {
    let statuses = members.iter().filter_map(|member| {
        let status = statuses.get(&member.node)?;
        Some((status.number("durable"), &member.node, status))
    });
    let (_, node, status) =
        statuses.max_by_key(|(durable, node, _)| (*durable, (*node).clone()))?;
    Some(Primary {
        node: node.clone(),
        incarnation: Incarnation(status.number("incarnation")),
    })
}
