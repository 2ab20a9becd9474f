//! Commits over several shards: money moves between accounts on different shards, and none is made or lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::{Value as Json, json};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_server::shard::CopyGap;
use shardwright_topology::{Halts, ShardId};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    by_hand::ByHand,
    cluster::{Cluster, PATIENCE, wait},
    split::{manager, merge, split},
    sql::Asking,
};

/// How long a teller waits until it tries again.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) const ACCOUNTS: u64 = 24;

pub(crate) const BALANCE: i64 = 1_000;

const TRANSFER: &str =
    "UPDATE accounts SET balance = balance + CASE id WHEN ?1 THEN -?3 ELSE ?3 END
    WHERE id IN (?1, ?2)";

/// Accounts on all shards, and what was done to them.
#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) asking: Asking,
    made: Arc<Mutex<BTreeMap<u64, i64>>>,
    count: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
}

impl Bank {
    pub(crate) async fn open(nodes: u32, shards: u32) -> Self {
        let asking = Asking::start(nodes, shards).await;
        asking
            .run(
                "n1",
                "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
            )
            .await;
        let rows = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})"));
        let rows: Vec<String> = rows.collect();
        let opened = format!("INSERT INTO accounts VALUES {}", rows.join(", "));
        let answer = asking.run("n1", &opened).await;
        assert_eq!(answer["changes"], ACCOUNTS);
        assert!(answer["shards"].as_array().is_some_and(|on| on.len() > 1));
        Self {
            asking,
            made: Arc::default(),
            count: Arc::default(),
            stops: Arc::default(),
        }
    }

    fn cluster(&self) -> &Cluster {
        &self.asking.cluster
    }

    /// Moves money, however often that has to be tried: under its number it happens once.
    async fn transfer(&self, teller: u64, number: u64, node: &str) {
        let from = 1 + (teller * 7 + number * 5) % ACCOUNTS;
        let to = 1 + (from + 3 + number % 11) % ACCOUNTS;
        let amount = 1 + i64::try_from(number % 9).expect("it is small");
        if from == to {
            return;
        }
        let body = json!({
            "sql": TRANSFER,
            "args": [from, to, amount],
            "client": format!("teller {teller}"),
            "seq": number,
            "timeout_ms": 20_000,
        });
        let transferred = async {
            loop {
                if let Some(answer) = self.attempt(node, &body).await {
                    return answer;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let answer = timeout(PATIENCE, transferred).await;
        let answer = answer.expect("waited in vain for a transfer");
        assert_eq!(answer["changes"], 2, "{answer}");
        let mut made = self.made.lock().expect("it is whole");
        *made.entry(from).or_default() -= amount;
        *made.entry(to).or_default() += amount;
        drop(made);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    async fn attempt(&self, node: &str, body: &Json) -> Option<Json> {
        // One that was killed answers nobody: another one knows, too.
        let names = self.cluster().names();
        let through = match names.iter().any(|name| name == node) {
            true => node,
            false => names.first()?,
        };
        let (status, answer) = self.asking.post(through, body).await?;
        let error = &answer["error"];
        let is_unknown = error["code"] == "INDETERMINATE";
        let again = error["retryable"] == true || is_unknown;
        assert!(status.is_success() || again, "{answer}");
        status.is_success().then_some(answer)
    }

    /// Lets tellers work until they are to stop, each through its own node.
    pub(crate) fn tellers(&self, count: u64, nodes: &[&'static str]) -> JoinSet<()> {
        let mut tellers = JoinSet::new();
        for teller in 0..count {
            let bank = self.clone();
            let node = nodes[usize::try_from(teller).expect("few") % nodes.len()];
            tellers.spawn(async move {
                let mut number = 1;
                while !bank.stops.load(Ordering::Relaxed) {
                    bank.transfer(teller, number, node).await;
                    number += 1;
                }
            });
        }
        tellers
    }

    pub(crate) async fn at_least(&self, count: u64) {
        let come = async || (count <= self.count.load(Ordering::Relaxed)).then_some(());
        wait("transfers", come).await;
    }

    pub(crate) async fn stop(&self, mut tellers: JoinSet<()>) {
        self.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = tellers.join_next().await {
            ended.expect("no panic");
        }
    }

    /// Checks that a shard says that it waits for a decision which its gateway has not asked for.
    async fn sees_a_commit(&self, halted: &str) {
        let names = self.cluster().names();
        let other = names.iter().find(|name| *name != halted).expect("three");
        wait("a prepared part", async || {
            let listed = self.asking.get(other, "/v1/commits").await?;
            let commits = listed["commits"].as_array()?;
            let is_prepared = |commit: &Json| commit["state"] == "prepared";
            commits.iter().any(is_prepared).then_some(())
        })
        .await;
    }

    /// Checks that a consistent read sees all the money.
    pub(crate) async fn check_sum(&self, node: &str) {
        let body = json!({
            "sql": "SELECT count(*), sum(balance) FROM accounts",
            "read": "consistent",
            "timeout_ms": 20_000,
        });
        let seen = self.asking.ask(node, body).await.expect("it is read");
        let all = i64::try_from(ACCOUNTS).expect("few") * BALANCE;
        assert_eq!(seen["rows"], json!([[ACCOUNTS, all]]), "{seen}");
    }

    /// Checks that each transfer that was acknowledged has happened once, and nothing else.
    async fn check(&self, node: &str) {
        self.check_sum(node).await;
        let seen = self
            .asking
            .run(node, "SELECT id, balance FROM accounts ORDER BY id")
            .await;
        let made = self.made.lock().expect("it is whole").clone();
        let expected: Vec<Json> = (1..=ACCOUNTS)
            .map(|id| json!([id, BALANCE + made.get(&id).copied().unwrap_or(0)]))
            .collect();
        assert_eq!(seen["rows"], json!(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consistent_reads_see_every_transfer_whole_while_tellers_on_all_nodes_cross() {
    let bank = Bank::open(3, 4).await;
    let tellers = bank.tellers(6, &["n1", "n2", "n3"]);
    for round in 1..=8 {
        bank.at_least(round * 10).await;
        let node = ["n1", "n2", "n3"][usize::try_from(round).expect("few") % 3];
        bank.check_sum(node).await;
    }
    bank.stop(tellers).await;
    bank.check("n2").await;
    bank.asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_sent_again_makes_a_transfer_once() {
    let bank = Bank::open(3, 3).await;
    let body = json!({
        "sql": TRANSFER, "args": [1, 9, 5], "client": "shop", "seq": 1,
    });
    let mut answers = Vec::new();
    for node in ["n1", "n2", "n3", "n1"] {
        answers.push(
            bank.asking
                .ask(node, body.clone())
                .await
                .expect("it is made"),
        );
    }
    for answer in &answers {
        assert_eq!(answer["changes"], 2, "{answer}");
    }
    let seen = bank
        .asking
        .run("n2", "SELECT balance FROM accounts WHERE id = 1")
        .await;
    assert_eq!(seen["rows"], json!([[BALANCE - 5]]));
    // What a constraint forbids at one shard happens at none.
    let body = json!({
        "sql": "UPDATE accounts SET balance = CASE id WHEN 1 THEN NULL ELSE 0 END WHERE id IN (1, 2, 3, 4, 9)",
    });
    let refused = bank
        .asking
        .ask("n3", body)
        .await
        .expect_err("it is NOT NULL");
    assert_eq!(refused["error"]["code"], "CONSTRAINT");
    bank.check_sum("n1").await;
    bank.asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn primaries_that_are_killed_cost_no_transfer() {
    let bank = Bank::open(3, 3).await;
    let tellers = bank.tellers(4, &["n1", "n2", "n3"]);
    for round in 0..3 {
        bank.at_least(round * 12 + 6).await;
        let shard = PartitionId::from(ShardId::numbered(u32::try_from(round).expect("few")));
        let (node, _) = bank.cluster().leading(&shard).await;
        bank.cluster().kill(&node);
        bank.at_least(round * 12 + 10).await;
        bank.cluster().restart(&node).await;
    }
    bank.stop(tellers).await;
    bank.check("n1").await;
    bank.asking.cluster.stop().await;
}

/// Kills whichever node comes to a gap first, while tellers work, and checks that nothing is half.
async fn killed_at(gap: CopyGap) {
    let bank = Bank::open(3, 3).await;
    let (reached, halted) = mpsc::channel::<(String, mpsc::Sender<()>)>();
    for name in ["n1", "n2", "n3"] {
        bank.cluster().shut_down(name).await;
        let reached = reached.clone();
        let own = name.to_owned();
        let halts = Halts::at(gap, 2, move |_| {
            let (lets_go, waits) = mpsc::channel();
            // Once somebody was killed, the others go on.
            if reached.send((own.clone(), lets_go)).is_ok() {
                let _killed = waits.recv();
            }
        });
        bank.cluster().restart_halting(name, halts).await;
    }
    drop(reached);
    let tellers = bank.tellers(3, &["n1", "n2", "n3"]);
    let (node, held) = wait("a gap", async || halted.try_recv().ok()).await;
    if gap == CopyGap::Undecided {
        bank.sees_a_commit(&node).await;
    }
    drop(halted);
    bank.cluster().kill(&node);
    drop(held);
    let before = bank.count.load(Ordering::Relaxed);
    bank.at_least(before + 5).await;
    bank.cluster().restart(&node).await;
    bank.at_least(before + 10).await;
    bank.stop(tellers).await;
    bank.check("n1").await;
    bank.asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_when_its_part_is_prepared_costs_nothing() {
    killed_at(CopyGap::Prepared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_before_it_asks_for_the_decision_costs_nothing() {
    killed_at(CopyGap::Undecided).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_when_it_has_decided_costs_nothing() {
    killed_at(CopyGap::Decided).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_when_its_part_is_resolved_costs_nothing() {
    killed_at(CopyGap::Resolved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_sealed_while_tellers_work_and_is_itself_again() {
    let bank = Bank::open(1, 2).await;
    let tellers = bank.tellers(3, &["n1"]);
    bank.at_least(5).await;
    let split = ByHand::split(bank.cluster(), 1, "shard-0").await;
    split.seal().await;
    split.abort().await;
    let before = bank.count.load(Ordering::Relaxed);
    bank.at_least(before + 5).await;
    bank.stop(tellers).await;
    bank.check("n1").await;
    bank.asking.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_split_and_merged_while_tellers_work() {
    let bank = Bank::open(3, 2).await;
    let manager = manager(bank.cluster()).await;
    let tellers = bank.tellers(4, &["n1", "n2", "n3"]);
    bank.at_least(10).await;
    let parts = split(&manager, "shard-0").await;
    bank.check_sum("n2").await;
    let before = bank.count.load(Ordering::Relaxed);
    bank.at_least(before + 10).await;
    let parts: Vec<&ShardId> = parts.iter().collect();
    merge(&manager, &parts).await;
    bank.check_sum("n3").await;
    let before = bank.count.load(Ordering::Relaxed);
    bank.at_least(before + 10).await;
    bank.stop(tellers).await;
    bank.check("n1").await;
    bank.asking.cluster.stop().await;
}
