//! How long clients waited for an acknowledgement, fault by fault.

use std::{fmt, time::Duration};

use crate::processes::clock::Moment;

/// What was measured, in the order in which it happened.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<Gap>);

/// The longest wait around a fault.
#[derive(Debug)]
struct Gap {
    fault: String,
    longest: Duration,
    goal: Option<Duration>,
}

impl Gaps {
    pub(super) fn add(&mut self, fault: &str, longest: Duration, goal: Option<Duration>) {
        self.0.push(Gap {
            fault: fault.to_owned(),
            longest,
            goal,
        });
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:>11} {:>7}", "fault", "longest gap", "goal")?;
        for Gap {
            fault,
            longest,
            goal,
        } in &self.0
        {
            let longest = format!("{:.2} s", longest.as_secs_f64());
            let goal = goal.map(|goal| format!("{:.2} s", goal.as_secs_f64()));
            writeln!(
                f,
                "{fault:<44} {longest:>11} {:>7}",
                goal.unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

/// The longest time between two moments that follow one another, of which the later one is within a span.
pub(super) fn longest_gap(moments: &[Moment], since: Moment, until: Moment) -> Duration {
    let gaps = moments.windows(2).filter_map(|pair| match pair {
        [earlier, later] if (since..=until).contains(later) => Some(later - earlier),
        _ => None,
    });
    Duration::from_nanos(gaps.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_that_a_fault_makes_begins_before_it() {
        let moments = [0, 10, 90, 100, 250];
        for (since, until, gap) in [(20, 100, 80), (95, 100, 10), (95, 250, 150), (260, 300, 0)] {
            let longest = longest_gap(&moments, since, until);
            assert_eq!(longest, Duration::from_nanos(gap), "{since}..={until}");
        }
    }
}
