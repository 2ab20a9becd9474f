//! What the workers say they served, and the proof that no two served one shard at once.
//!
//! Each worker appends to an audit log of its own, in times of the machine's monotonic clock, which all its processes share. A worker
//! serves a shard from the `serve` of it to its `delete`, and never longer than the last `extend` of its lease says: that is
//! when a worker stops that is killed, stopped or cut off. From this follow the spans of time in which a shard was served.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Deserialize;

use crate::processes::clock::Moment;

/// A line of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Line {
    /// When it was written: for `serve` and `extend` before they hold, for `delete` when it has happened.
    pub(crate) at: Moment,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The worker is about to serve a shard.
    Serve {
        shard: String,
        epoch: u64,
        role: String,
    },
    /// The worker may serve until then.
    Extend { until: Moment },
    /// The worker has ceased to serve a shard. The epoch may have grown since it began, without a break.
    Delete { shard: String, epoch: u64 },
}

/// Reads an audit log. A line that a death cut short is left out.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line| serde_json::from_str(line).expect("a line of an audit log");
    whole.lines().map(parse).collect()
}

/// A time in which a process could serve a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) process: String,
    pub(crate) shard: String,
    pub(crate) epoch: u64,
    pub(crate) from: Moment,
    /// Not included.
    pub(crate) to: Moment,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            process,
            shard,
            epoch,
            from,
            to,
        } = self;
        write!(f, "{process} served {shard} at e{epoch} in [{from}, {to})")
    }
}

/// The spans of all processes as primary.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Per shard, in the order of their starts.
    spans: BTreeMap<String, Vec<Span>>,
}

impl History {
    /// The history that these audit logs tell, each with the name of its process.
    pub(crate) fn new<'a>(logs: impl IntoIterator<Item = (&'a str, &'a [Line])>) -> Self {
        let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for (process, lines) in logs {
            for span in spans_of(process, lines) {
                spans.entry(span.shard.clone()).or_default().push(span);
            }
        }
        for spans in spans.values_mut() {
            spans.sort_by_key(|span| (span.from, span.to));
        }
        Self { spans }
    }

    /// Every two spans of one shard that overlap, or whose epochs do not grow.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for spans in self.spans.values() {
            for (index, later) in spans.iter().enumerate() {
                for earlier in &spans[..index] {
                    if later.from < earlier.to {
                        violations.push(format!("two at once: {earlier}; {later}"));
                    }
                    let is_same = later.process == earlier.process && later.epoch == earlier.epoch;
                    if later.epoch <= earlier.epoch && !is_same {
                        violations.push(format!("the epoch did not grow: {earlier}; {later}"));
                    }
                }
            }
        }
        violations
    }

    /// Who could serve which shard at `now`.
    pub(crate) fn serving(&self, now: Moment) -> BTreeMap<&str, &Span> {
        let spans = self.spans.values().flatten();
        spans
            .filter(|span| (span.from..span.to).contains(&now))
            .map(|span| (span.shard.as_str(), span))
            .collect()
    }

    /// When, after `since`, the last of `shards` was served again that was not all the time; `None` if one is not served at `now`.
    pub(crate) fn restored(
        &self,
        shards: &BTreeSet<String>,
        since: Moment,
        now: Moment,
    ) -> Option<Moment> {
        let mut restored = since;
        for shard in shards {
            let mut until = since;
            for span in self.spans.get(shard)? {
                if span.to <= until || span.from > now {
                    continue;
                }
                if span.from > until {
                    restored = restored.max(span.from);
                }
                until = span.to;
            }
            if until <= now {
                return None;
            }
        }
        Some(restored)
    }
}

/// The spans of one process, which holds one lease for all its shards.
fn spans_of(process: &str, lines: &[Line]) -> Vec<Span> {
    let mut closed = Vec::new();
    let mut open: Vec<Span> = Vec::new();
    let mut lease = 0;
    for line in lines {
        match &line.event {
            Event::Extend { until } => {
                lease = lease.max(*until);
                for span in &mut open {
                    // A lease that ended before it was extended leaves a gap.
                    if span.to < line.at {
                        closed.push(span.clone());
                        span.from = line.at;
                    }
                    span.to = lease.max(line.at);
                }
            }
            Event::Serve { shard, epoch, role } if role == "primary" => open.push(Span {
                process: process.to_owned(),
                shard: shard.clone(),
                epoch: *epoch,
                from: line.at,
                to: lease.max(line.at),
            }),
            Event::Serve { .. } => {}
            Event::Delete { shard, .. } => {
                for mut span in open.extract_if(.., |span| span.shard == *shard) {
                    span.to = span.to.min(line.at);
                    closed.push(span);
                }
            }
        }
    }
    closed.append(&mut open);
    closed.retain(|span| span.from < span.to);
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log in short: `100 serve p 1`, `100 extend 900`, `300 delete p 1`.
    fn log(text: &str) -> Vec<Line> {
        let line = |words: Vec<&str>| {
            let number = |index: usize| words[index].parse().unwrap();
            let shard = || words[2].to_owned();
            let event = match words[1] {
                "serve" => Event::Serve {
                    shard: shard(),
                    epoch: number(3),
                    role: "primary".to_owned(),
                },
                "extend" => Event::Extend { until: number(2) },
                "delete" => Event::Delete {
                    shard: shard(),
                    epoch: number(3),
                },
                other => panic!("{other}"),
            };
            Line {
                at: number(0),
                event,
            }
        };
        text.split("; ")
            .map(|text| line(text.split(' ').collect()))
            .collect()
    }

    #[track_caller]
    fn violations(a: &str, b: &str) -> Vec<String> {
        let (a, b) = (log(a), log(b));
        History::new([("a", a.as_slice()), ("b", b.as_slice())]).violations()
    }

    #[test]
    fn a_hand_over_is_no_violation() {
        let a = "1 extend 900; 2 serve p 1; 300 delete p 1";
        assert!(violations(a, "10 extend 950; 300 serve p 2").is_empty());
        assert_eq!(
            violations(a, "10 extend 950; 299 serve p 2"),
            ["two at once: a served p at e1 in [2, 300); b served p at e2 in [299, 950)"]
        );
    }

    #[test]
    fn a_process_that_is_killed_serves_until_its_lease_ends() {
        let a = "1 extend 900; 2 serve p 1; 500 extend 1400";
        assert!(violations(a, "10 extend 2000; 1400 serve p 2").is_empty());
        assert_eq!(violations(a, "10 extend 2000; 1399 serve p 2").len(), 1);
    }

    #[test]
    fn a_lease_that_ended_leaves_a_gap_before_it_is_taken_up_again() {
        let slow = "1 extend 900; 2 serve p 1; 5000 extend 6000; 5500 delete p 1";
        let other = "10 extend 9000; 901 serve p 2; 4000 delete p 2";
        assert!(violations(slow, "10 extend 9000; 5500 serve p 2").is_empty());
        assert_eq!(
            violations(slow, other),
            [
                "the epoch did not grow: b served p at e2 in [901, 4000); a served p at e1 in [5000, 5500)"
            ]
        );
        assert_eq!(violations(slow, "10 extend 9000; 5499 serve p 2").len(), 1);
    }

    #[test]
    fn an_owner_without_a_new_epoch_is_found() {
        let a = "1 extend 900; 2 serve p 3; 300 delete p 3";
        assert_eq!(
            violations(a, "10 extend 950; 400 serve p 3"),
            [
                "the epoch did not grow: a served p at e3 in [2, 300); b served p at e3 in [400, 950)"
            ]
        );
    }

    #[test]
    fn the_time_of_recovery_is_the_start_of_the_last_new_span() {
        let a = log("1 extend 900; 2 serve p 1; 3 serve q 1");
        let b = log("10 extend 3000; 1000 serve p 2; 1200 serve q 2; 11 serve r 1");
        let history = History::new([("a", a.as_slice()), ("b", b.as_slice())]);
        let all: BTreeSet<String> = ["p", "q", "r"].map(str::to_owned).into();
        assert_eq!(history.restored(&all, 500, 2000), Some(1200));
        assert_eq!(history.restored(&all, 1500, 2000), Some(1500));
        assert_eq!(history.restored(&all, 500, 1100), None);
        assert_eq!(history.serving(500).len(), 3);
        assert_eq!(history.serving(950).len(), 1);
    }

    #[test]
    fn the_lines_of_an_audit_log_are_read() {
        let text = "{\"at\":5,\"event\":\"extend\",\"until\":9}\n\
                    {\"at\":6,\"event\":\"serve\",\"shard\":\"p\",\"epoch\":1,\"role\":\"primary\"}\n\
                    {\"at\":7,\"event\":\"delete\",\"shard\":\"p\",\"epoch\":1}\n{\"at\":8,\"ev";
        assert_eq!(parse(text), log("5 extend 9; 6 serve p 1; 7 delete p 1"));
    }
}
