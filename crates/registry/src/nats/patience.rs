//! The clock of the store in NATS: how long a call goes on trying, and how long writers that met keep apart.

use std::{collections::HashMap, time::Duration};

use rand::Rng;
use shardwright_topology::Backoff;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Key;

/// The waits of one call between its tries, up to its deadline.
#[derive(Debug)]
pub(super) struct Patience {
    ends_at: Instant,
    waits: Backoff,
}

const WAIT_FIRST: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_millis(250);

impl Patience {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            ends_at: Instant::now() + deadline,
            waits: Backoff::new(WAIT_FIRST, WAIT_MAX, rand::rng().random()),
        }
    }

    /// Waits before the next try. Returns false, at once, if the deadline would pass.
    pub(super) async fn wait(&mut self) -> bool {
        let wait = self.waits.next().unwrap_or(WAIT_MAX);
        let next_at = Instant::now() + wait;
        if self.ends_at < next_at {
            return false;
        }
        sleep_until(next_at).await;
        true
    }
}

/// Keeps writers of one key apart after they met.
///
/// A writer that lost waits before it reads what beat it, so that what it then decides is fresh. The wait is a random part of a
/// bound that doubles with each loss in a row, in units of what a write takes here and now.
#[derive(Debug, Default)]
pub(super) struct Pace {
    losses: HashMap<Key, u32>,
    write_time: Duration,
}

/// The waits stop doubling after so many losses in a row.
const DOUBLINGS_MAX: u32 = 6;

/// The longest wait after a loss.
const LOSS_WAIT_MAX: Duration = Duration::from_millis(200);

impl Pace {
    pub(super) fn won(&mut self, key: &Key, took: Duration) {
        self.losses.remove(key);
        self.write_time = if self.write_time.is_zero() {
            took
        } else {
            (self.write_time * 7 + took) / 8
        };
    }

    /// Returns how long the loser waits.
    pub(super) fn lost(&mut self, key: &Key) -> Duration {
        let losses = self.losses.entry(key.clone()).or_default();
        *losses = (*losses + 1).min(DOUBLINGS_MAX);
        let unit = self.write_time.max(Duration::from_micros(50));
        let bound = (unit * (1 << *losses)).min(LOSS_WAIT_MAX);
        bound.mul_f64(rand::rng().random())
    }
}

pub(super) async fn pause(wait: Duration) {
    sleep(wait).await;
}

/// Measures how long something takes.
pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began_at = Instant::now();
    let done = work.await;
    (done, began_at.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loser_waits_longer_with_each_loss_and_no_longer_after_a_win() {
        let mut pace = Pace::default();
        let key = Key::new("a").expect("a key");
        pace.won(&key, Duration::from_millis(1));
        for losses in 1..20 {
            let bound = Duration::from_millis(1 << losses.min(DOUBLINGS_MAX));
            assert!(pace.lost(&key) <= bound.min(LOSS_WAIT_MAX));
        }
        pace.won(&key, Duration::from_millis(1));
        assert!(pace.lost(&key) <= Duration::from_millis(2));
    }
}
