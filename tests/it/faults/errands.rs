//! Clients of a kind of their own: each does the same errand again and again, and notes what it was promised.

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

use super::access::{Access, Heard, Port};
use crate::processes::clock;

/// How long a client waits between two errands, so that others have their turn.
const PAUSE: Duration = Duration::from_millis(10);

/// What a client does in one turn.
pub(super) type Kind = fn(&mut Errand<'_>);

/// What was kept: the table, and the name of the row.
pub(super) type Kept = (&'static str, String);

/// The clients.
#[derive(Debug)]
pub(super) struct Errands {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ports: Vec<Port>,
    /// How many statements of each client came to an end.
    ended: Vec<AtomicU64>,
    kept: Mutex<Vec<Kept>>,
    wrong: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// One client at its errand.
#[derive(Debug)]
pub(super) struct Errand<'s> {
    shared: &'s Shared,
    access: &'s Access,
    client: usize,
    sequence: u64,
    at: usize,
    /// Which turn it is, from zero.
    pub(super) turn: u64,
}

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// A constraint forbids it.
    Forbidden,
}

impl Errands {
    /// Starts a client of each kind.
    pub(super) fn start(ports: Vec<Port>, kinds: &[Kind]) -> Self {
        let shared = Arc::new(Shared {
            ports,
            ended: kinds.iter().map(|_| AtomicU64::new(0)).collect(),
            kept: Mutex::default(),
            wrong: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let start = |(client, &kind): (usize, &Kind)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run(client, kind))
        };
        let threads = kinds.iter().enumerate().map(start).collect();
        Self { shared, threads }
    }

    /// Waits until every client has been served.
    #[track_caller]
    pub(super) fn wait_for_progress(&self) {
        let ended = || {
            self.shared
                .ended
                .iter()
                .map(|ended| ended.load(Ordering::SeqCst))
        };
        let before: Vec<u64> = ended().collect();
        until("all errands go on", || {
            let all = ended().zip(&before).all(|(now, before)| now > before + 1);
            (all || !self.shared.wrong().is_empty()).then_some(())
        });
        self.assert_nothing_wrong();
    }

    /// Stops all clients, and returns what they kept.
    #[track_caller]
    pub(super) fn stop(&mut self) -> Vec<Kept> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("no client panics");
        }
        self.assert_nothing_wrong();
        self.shared.kept.lock().expect("no holder panics").clone()
    }

    #[track_caller]
    fn assert_nothing_wrong(&self) {
        let wrong = self.shared.wrong();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, client: usize, kind: Kind) {
        let access = Access::new();
        let mut errand = Errand {
            shared: self,
            access: &access,
            client,
            sequence: 0,
            at: client,
            turn: 0,
        };
        while !self.is_over() {
            kind(&mut errand);
            errand.turn += 1;
            clock::pause(PAUSE);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("no holder panics").clone()
    }
}

impl Errand<'_> {
    /// A name that no other row has.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.client, self.turn)
    }

    /// Notes what was promised.
    pub(super) fn keep(&self, table: &'static str, name: String) {
        let mut kept = self.shared.kept.lock().expect("no holder panics");
        kept.push((table, name));
    }

    /// Asks one node after the other until the outcome is known.
    pub(super) fn ask(&mut self, sql: &str, args: Value) -> Outcome {
        self.sequence += 1;
        let request = self.request(sql, args);
        loop {
            match self.once(&request) {
                None => clock::pause(PAUSE),
                Some(outcome) => return outcome,
            }
        }
    }

    fn request(&self, sql: &str, args: Value) -> Value {
        let client = format!("errand {}", self.client);
        json!({"sql": sql, "args": args, "client": client, "seq": self.sequence})
    }

    /// Asks a node; `None` if the next one is to be asked, as the same number happens once.
    fn once(&mut self, request: &Value) -> Option<Outcome> {
        let port = &self.shared.ports[self.at % self.shared.ports.len()];
        let outcome = match self.access.sql(port, request.clone()) {
            Heard::Answer(_) => Outcome::Done,
            Heard::Refusal(_, body) if body["error"]["code"] == "CONSTRAINT" => Outcome::Forbidden,
            again if again.may_be_retried() => {
                self.at += 1;
                return None;
            }
            refused => {
                let wrong = format!("{request} was answered {refused:?}");
                self.shared
                    .wrong
                    .lock()
                    .expect("no holder panics")
                    .push(wrong);
                Outcome::Forbidden
            }
        };
        self.shared.ended[self.client].fetch_add(1, Ordering::SeqCst);
        Some(outcome)
    }
}
