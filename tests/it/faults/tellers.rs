//! Clients that move money between accounts on several shards, and one that looks whether all of it is there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use shardwright_testkit::until;

use super::{
    access::{Access, Heard, Port},
    cluster::Cluster,
};
use crate::processes::clock;

const TELLERS: usize = 3;

const ACCOUNTS: usize = 18;

const BALANCE: i64 = 1_000;

/// How many transfers each teller makes when things go on.
const PROGRESS: u64 = 3;

/// How long a client waits after a node has let it down, or until it looks again.
const PAUSE: Duration = Duration::from_millis(20);

/// The clients.
#[derive(Debug)]
pub(super) struct Tellers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What they share.
#[derive(Debug)]
struct Shared {
    ports: Vec<Port>,
    is_over: AtomicBool,
    /// How many transfers each teller has made, and how often the money was counted.
    made: Vec<AtomicU64>,
    counted: AtomicU64,
    /// What every account has, by what was acknowledged.
    balances: Mutex<Vec<i64>>,
    wrong: Mutex<Vec<String>>,
}

impl Tellers {
    /// Opens the accounts, and lets the clients begin.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let sql = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)";
        cluster.answer(sql, "leased");
        let rows = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})"));
        let rows: Vec<String> = rows.collect();
        let sql = format!("INSERT INTO accounts VALUES {}", rows.join(", "));
        cluster.answer_to(&json!({"sql": sql, "client": "bank", "seq": 1}));
        let shared = Arc::new(Shared {
            ports: cluster.ports(),
            is_over: AtomicBool::new(false),
            made: (0..TELLERS).map(|_| AtomicU64::new(0)).collect(),
            counted: AtomicU64::new(0),
            balances: Mutex::new(vec![BALANCE; ACCOUNTS]),
            wrong: Mutex::default(),
        });
        let tellers = (0..TELLERS).map(|teller| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || transfer(&shared, teller))
        });
        let counting = Arc::clone(&shared);
        let counter = std::iter::once(thread::spawn(move || count(&counting)));
        let threads = tellers.chain(counter).collect();
        Self { shared, threads }
    }

    /// Waits until every teller has made some more transfers, and the money was counted.
    #[track_caller]
    pub(super) fn wait_for_progress(&self) {
        let now = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let before: Vec<u64> = self.shared.made.iter().map(now).collect();
        let counted = now(&self.shared.counted);
        until("all tellers are served", || {
            let mut made = self.shared.made.iter().zip(&before);
            let is_served = made.all(|(made, before)| now(made) >= before + PROGRESS)
                && now(&self.shared.counted) > counted;
            (is_served || !self.wrong().is_empty()).then_some(())
        });
        assert!(self.wrong().is_empty(), "{:?}", self.wrong());
    }

    fn wrong(&self) -> Vec<String> {
        self.shared.wrong.lock().expect("no holder panics").clone()
    }

    /// Stops all clients, and checks that each account has what was acknowledged.
    #[track_caller]
    pub(super) fn stop(&mut self, cluster: &Cluster) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no client panics");
        }
        assert!(self.wrong().is_empty(), "{:?}", self.wrong());
        let sql = "SELECT balance FROM accounts ORDER BY id";
        let seen = cluster.answer(sql, "leased");
        let balances = self.shared.balances.lock().expect("no holder panics");
        let expected: Vec<Value> = balances.iter().map(|balance| json!([balance])).collect();
        assert_eq!(seen["rows"], json!(expected));
    }
}

impl Drop for Tellers {
    fn drop(&mut self) {
        // They would go on for as long as other tests run.
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn complain(&self, wrong: String) {
        self.wrong.lock().expect("no holder panics").push(wrong);
    }

    /// Asks one node after the other until one answers. Returns nothing if a client must not be told so.
    fn until_answered(&self, access: &Access, at: &mut usize, request: &Value) -> Option<Value> {
        loop {
            let heard = access.sql(&self.ports[*at % self.ports.len()], request.clone());
            match heard {
                Heard::Answer(answer) => return Some(answer),
                refused if refused.may_be_retried() => *at += 1,
                refused => {
                    self.complain(format!("{request} was answered {refused:?}"));
                    return None;
                }
            }
            clock::pause(PAUSE);
        }
    }
}

/// Moves money until it is over, each time between two accounts, however often that has to be tried.
fn transfer(shared: &Shared, teller: usize) {
    let access = Access::new();
    for number in 1.. {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let from = (teller * 5 + number * 7) % ACCOUNTS;
        let to = (from + 1 + number % (ACCOUNTS - 1)) % ACCOUNTS;
        let amount = i64::try_from(1 + number % 9).expect("small");
        let sql = "UPDATE accounts SET balance = balance + CASE id WHEN ?1 THEN -?3 ELSE ?3 END
            WHERE id IN (?1, ?2)";
        let request = json!({
            "sql": sql, "args": [from, to, amount], "client": format!("teller {teller}"), "seq": number,
        });
        // Every node is the caller of some.
        let mut at = teller + number;
        let Some(answer) = shared.until_answered(&access, &mut at, &request) else {
            return;
        };
        if answer["changes"] != 2 {
            shared.complain(format!("{request} changed {}", answer["changes"]));
        }
        let mut balances = shared.balances.lock().expect("no holder panics");
        balances[from] -= amount;
        balances[to] += amount;
        drop(balances);
        shared.made[teller].fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts the money until it is over.
fn count(shared: &Shared) {
    let access = Access::new();
    let all = i64::try_from(ACCOUNTS).expect("few") * BALANCE;
    let sql = "SELECT sum(balance) FROM accounts";
    let request = json!({"sql": sql, "read": "consistent"});
    let mut at = 0;
    while !shared.is_over.load(Ordering::SeqCst) {
        let Some(answer) = shared.until_answered(&access, &mut at, &request) else {
            return;
        };
        if answer["rows"] != json!([[all]]) {
            shared.complain(format!("of {all}, {} were counted", answer["rows"]));
        }
        shared.counted.fetch_add(1, Ordering::SeqCst);
        at += 1;
        clock::pause(PAUSE);
    }
}
