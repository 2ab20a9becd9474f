//! How fast this node appends: writers in the process of the primary.

use std::time::Duration;

use shardwright_quorum::log::{Kind, Level, ShardLog, shard_log::Entry};
use shardwright_registry::Clock;

/// Runs writers for some seconds.
pub(crate) async fn run(log: &ShardLog, writers: &str, rest: &str) -> String {
    let (seconds, bytes) = rest.split_once(' ').unwrap_or((rest, "100"));
    let numbers = (writers.parse(), seconds.parse(), bytes.parse());
    let (Ok(writers), Ok(seconds), Ok(bytes)) = numbers else {
        return "error command give three numbers".to_owned();
    };
    let (clock, time) = (Clock::start(), Duration::from_secs(seconds));
    let write = |_: usize| {
        let log = log.clone();
        tokio::spawn(async move { one(&log, clock, time, bytes).await })
    };
    let mut took = Vec::new();
    for writer in (0..writers).map(write).collect::<Vec<_>>() {
        match writer.await {
            Ok(Ok(times)) => took.extend(times),
            Ok(Err(error)) => return format!("error refused {error}"),
            Err(error) => return format!("error panic {error}"),
        }
    }
    took.sort_unstable();
    let at = |part: usize| {
        took.get(took.len() * part / 100)
            .map_or(0, Duration::as_micros)
    };
    format!(
        "ok {} {} {}",
        took.len() as u64 / seconds.max(1),
        at(50),
        at(99)
    )
}

async fn one(
    log: &ShardLog,
    clock: Clock,
    time: Duration,
    bytes: usize,
) -> Result<Vec<Duration>, String> {
    let mut took = Vec::new();
    loop {
        let began = clock.now();
        if began.0 >= time {
            return Ok(took);
        }
        let entry = Entry::new(Kind::Batch, vec![b'x'; bytes]);
        let appended = log
            .append(entry, Level::Quorum, Duration::from_secs(10))
            .await;
        appended.map_err(|error| error.to_string())?;
        took.push(clock.now().since(began));
    }
}
