//! How late this machine runs a thread that only wants to wake up.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::processes::clock::{self, Moment};

/// How long the thread wants to sleep.
const NAP: Duration = Duration::from_millis(5);

/// The delays since the watch began. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Lag(Arc<Mutex<Delays>>);

impl Lag {
    /// Watches from now on.
    pub(crate) fn watch() -> Self {
        let delays: Arc<Mutex<Delays>> = Arc::default();
        let watched = Arc::downgrade(&delays);
        thread::spawn(move || {
            while let Some(delays) = watched.upgrade() {
                let start = clock::now();
                clock::pause(NAP);
                let end = clock::now();
                let late = Duration::from_nanos(end - start).saturating_sub(NAP);
                delays.lock().expect("no holder panics").add(end, late);
            }
        });
        Self(delays)
    }

    /// The longest delay of those that ended after `since`.
    pub(crate) fn longest_since(&self, since: Moment) -> Duration {
        let delays = self.0.lock().expect("no holder panics");
        delays.longest_since(since)
    }
}

/// The delays that no later one exceeds, with the moments of their ends: no others are the longest since any moment.
#[derive(Debug, Default)]
struct Delays(Vec<(Moment, Duration)>);

impl Delays {
    fn add(&mut self, end: Moment, late: Duration) {
        while self.0.pop_if(|(_, earlier)| *earlier <= late).is_some() {}
        self.0.push((end, late));
    }

    fn longest_since(&self, since: Moment) -> Duration {
        let mut later = self.0.iter().filter(|(end, _)| *end > since);
        later.next().map_or(Duration::ZERO, |(_, late)| *late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_counts() {
        let mut delays = Delays::default();
        for (end, late) in [(10, 7), (20, 9), (30, 2), (40, 4), (50, 1)] {
            delays.add(end, Duration::from_millis(late));
        }
        for (since, longest) in [(0, 9), (19, 9), (20, 4), (39, 4), (40, 1), (50, 0)] {
            assert_eq!(
                delays.longest_since(since),
                Duration::from_millis(longest),
                "since {since}"
            );
        }
    }
}
