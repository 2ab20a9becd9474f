//! What a copy is used for: how often it was read and written lately, and how long processors worked for it.
//!
//! What was counted weighs less the longer ago it was. Nothing runs in between: the weights follow from the time whenever something is counted, or
//! somebody asks. So a copy that nobody uses costs nothing, and whoever asks first, or anew, is told the same as everybody else.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use metrics::{Counter, counter};
use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_registry::Clock;
use shardwright_topology::Timestamp;

/// After how long something weighs a third of what it did, about.
const MEMORY: Duration = Duration::from_secs(30);

/// From how much time rates are formed at least: the first request is no thousand in a second.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// How much a copy is used.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Reads in a second.
    pub reads_per_second: f64,
    /// Writes in a second, and statements of transactions.
    pub writes_per_second: f64,
    /// The part of one processor that works for it: SQLite's reads and writes, and what other copies have written. Not what is done to take a
    /// request in, or to send an answer. 0 where the system does not say it of a thread.
    pub cpu: f64,
}

/// Counts what a copy is used for.
#[derive(Debug)]
pub(crate) struct Meter {
    shard: PartitionId,
    clock: Clock,
    lately: Mutex<Lately>,
    /// What is shown of it, once there is something.
    shown: OnceLock<Shown>,
}

/// What a node shows of a copy: all that was ever counted.
struct Shown {
    reads: Counter,
    writes: Counter,
    worked: Counter,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Shown {
    fn of(shard: &PartitionId) -> Self {
        let labels = || {
            [
                ("keyspace", shard.keyspace.to_string()),
                ("shard", shard.shard.to_string()),
            ]
        };
        Self {
            reads: counter!("shardwright_shard_reads_total", &labels()),
            writes: counter!("shardwright_shard_writes_total", &labels()),
            worked: counter!("shardwright_shard_cpu_microseconds_total", &labels()),
        }
    }
}

impl Meter {
    pub(super) fn new(shard: PartitionId) -> Self {
        let clock = Clock::start();
        let lately = Mutex::new(Lately::since(clock.now()));
        Self {
            shard,
            clock,
            lately,
            shown: OnceLock::new(),
        }
    }

    /// Counts a read.
    pub(crate) fn read(&self) {
        let now = self.clock.now();
        self.lately().at(now).reads += 1.0;
        self.shown().reads.increment(1);
    }

    /// Counts a write.
    pub(crate) fn wrote(&self) {
        let now = self.clock.now();
        self.lately().at(now).writes += 1.0;
        self.shown().writes.increment(1);
    }

    /// Does something, and counts for how long this thread has kept a processor busy with it.
    pub(crate) fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = worked();
        let done = run();
        let worked = worked().saturating_sub(before);
        if !worked.is_zero() {
            let now = self.clock.now();
            self.lately().at(now).busy += worked.as_secs_f64();
            let micros = u64::try_from(worked.as_micros()).unwrap_or(u64::MAX);
            self.shown().worked.increment(micros);
        }
        done
    }

    /// Returns how much the copy is used.
    pub(crate) fn usage(&self) -> Usage {
        let now = self.clock.now();
        self.lately().usage(now)
    }

    fn shown(&self) -> &Shown {
        self.shown.get_or_init(|| Shown::of(&self.shard))
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long this thread has kept a processor busy.
#[cfg(unix)]
fn worked() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(unix))]
fn worked() -> Duration {
    Duration::ZERO
}

/// Sums in which everything weighs less the longer ago it was.
#[derive(Debug, Clone, Copy)]
struct Lately {
    since: Timestamp,
    at: Timestamp,
    reads: f64,
    writes: f64,
    /// Seconds.
    busy: f64,
}

impl Lately {
    fn since(now: Timestamp) -> Self {
        Self {
            since: now,
            at: now,
            reads: 0.0,
            writes: 0.0,
            busy: 0.0,
        }
    }

    /// Returns the sums as they are at that moment.
    fn at(&mut self, now: Timestamp) -> &mut Self {
        // Of two threads, the later one may come first.
        let passed = now.since(self.at);
        if !passed.is_zero() {
            let less = (-passed.div_duration_f64(MEMORY)).exp();
            self.reads *= less;
            self.writes *= less;
            self.busy *= less;
            self.at = now;
        }
        self
    }

    fn usage(&mut self, now: Timestamp) -> Usage {
        let counted = now.since(self.since).max(WINDOW_MIN);
        // What a steady stream has summed up to by now, for each one in a second.
        let whole = -(-counted.div_duration_f64(MEMORY)).exp_m1() * MEMORY.as_secs_f64();
        let sums = self.at(now);
        Usage {
            reads_per_second: sums.reads / whole,
            writes_per_second: sums.writes / whole,
            cpu: sums.busy / whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(Duration::from_millis(millis))
    }

    /// What is said after so many seconds of twenty reads and ten writes in each, and half a second of work.
    fn after(seconds: u64) -> (Lately, Usage) {
        let mut lately = Lately::since(at(0));
        for tick in 1..=seconds * 10 {
            let sums = lately.at(at(tick * 100));
            (sums.reads, sums.writes) = (sums.reads + 2.0, sums.writes + 1.0);
            sums.busy += 0.05;
        }
        let usage = lately.usage(at(seconds * 1_000));
        (lately, usage)
    }

    #[test]
    fn a_steady_stream_has_its_rate_from_the_beginning() {
        for seconds in [1, 10, 60, 600] {
            let (_, usage) = after(seconds);
            let is_near = |is: f64, expected: f64| (is / expected - 1.0).abs() < 0.01;
            assert!(is_near(usage.reads_per_second, 20.0), "{usage:?}");
            assert!(is_near(usage.writes_per_second, 10.0), "{usage:?}");
            assert!(is_near(usage.cpu, 0.5), "{usage:?}");
        }
    }

    #[test]
    fn what_was_is_forgotten() {
        let (mut lately, before) = after(300);
        let third = lately.usage(at(330_000)).reads_per_second / before.reads_per_second;
        assert!((0.36..0.38).contains(&third), "{third}");
        let gone = lately.usage(at(900_000));
        assert!(gone.reads_per_second < 1e-6 && gone.cpu < 1e-6, "{gone:?}");
    }

    #[test]
    fn the_first_request_is_no_thousand_in_a_second() {
        let mut lately = Lately::since(at(0));
        lately.at(at(1)).reads += 1.0;
        let rate = lately.usage(at(2)).reads_per_second;
        assert!((0.9..1.1).contains(&rate), "{rate}");
    }

    #[cfg(unix)]
    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let shard = PartitionId::from(shardwright_topology::ShardId::numbered(0));
        let meter = Meter::new(shard);
        let (waits, wakes) = std::sync::mpsc::channel::<()>();
        meter.during(|| {
            // Ends by the time-out: nothing is sent.
            let _timed_out = wakes.recv_timeout(Duration::from_millis(20));
        });
        let waited = meter.usage().cpu;
        drop(waits);
        let mut sum = 0_u64;
        meter.during(
            || {
                while worked_since_begin(&mut sum) < Duration::from_millis(20) {}
            },
        );
        let busy = meter.usage().cpu;
        assert!(waited < busy / 4.0, "{waited} of {busy}, {sum}");
    }

    /// How long this thread works in all, after some more of it.
    #[cfg(unix)]
    fn worked_since_begin(sum: &mut u64) -> Duration {
        for number in 0..10_000 {
            *sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
        worked()
    }
}
