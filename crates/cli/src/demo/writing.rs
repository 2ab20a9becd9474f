//! A writer that runs while a node is killed, and what it was told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use shardwright_registry::Clock;
use shardwright_sql::Value;
use shardwright_topology::Timestamp;

use crate::{
    client::{SqlClient, SqlError, Writing},
    interrupt::Interrupt,
};

/// The table that it writes to.
pub(crate) const TABLE: &str = "CREATE TABLE IF NOT EXISTS written (value TEXT PRIMARY KEY)";

/// A writer in a thread of its own.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    acknowledged: Receiver<(String, Timestamp)>,
    thread: JoinHandle<Result<(), SqlError>>,
    written: Written,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) values: BTreeSet<String>,
    /// The longest time between two acknowledgements, since it was asked last.
    pub(crate) longest_gap: Duration,
    last: Option<Timestamp>,
}

impl Written {
    fn take(&mut self, value: String, at: Timestamp) {
        let gap = self.last.map(|last| at.since(last));
        self.longest_gap = self.longest_gap.max(gap.unwrap_or_default());
        self.last = Some(at);
        self.values.insert(value);
    }
}

impl Writer {
    /// Starts it.
    pub(crate) fn start(client: SqlClient) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, acknowledged) = mpsc::channel();
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let clock = Clock::start();
            for number in 0.. {
                if asked.load(Ordering::Relaxed) {
                    break;
                }
                let value = format!("value-{number:06}");
                let sql = "INSERT INTO written VALUES (?1)";
                let args = [Value::from(value.as_str())];
                client.execute(sql, &args, Writing::Single)?;
                if told.send((value, clock.now())).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Self {
            stop,
            acknowledged,
            thread,
            written: Written::default(),
        }
    }

    /// Waits until so many more writes have been acknowledged.
    ///
    /// # Errors
    /// When the user asks to stop. A writer that fails is told of at the end.
    pub(crate) fn until(&mut self, more: usize, interrupt: &Interrupt) -> anyhow::Result<()> {
        for _ in 0..more {
            interrupt.check()?;
            let Ok((value, at)) = self.acknowledged.recv() else {
                break;
            };
            self.written.take(value, at);
        }
        Ok(())
    }

    /// Returns the longest time between two acknowledgements since this was asked last.
    pub(crate) fn take_gap(&mut self) -> Duration {
        std::mem::take(&mut self.written.longest_gap)
    }

    /// Ends it, and returns all that was acknowledged.
    ///
    /// # Errors
    /// The failure that ended it.
    pub(crate) fn finish(mut self) -> anyhow::Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        while let Ok((value, at)) = self.acknowledged.recv() {
            self.written.take(value, at);
        }
        match self.thread.join() {
            Ok(ended) => ended?,
            Err(_) => anyhow::bail!("the writer panicked"),
        }
        Ok(self.written)
    }
}
