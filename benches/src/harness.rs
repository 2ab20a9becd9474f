//! The harness: two closures measured in interleaved rounds of one run, and the median of the ratios.
//!
//! Whatever slows the machine down for a while slows both sides of a round, so the ratio of a round means
//! something where the times alone do not.

use std::{
    env, fs,
    num::NonZeroUsize,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tempfile::TempDir;

/// How long one side of a round runs, at least.
const SIDE: Duration = Duration::from_millis(20);

/// Which figures are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// Small ones.
    Lower,
    /// Large ones.
    Higher,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Figure {
    case: &'static str,
    ours: f64,
    baseline: f64,
    unit: &'static str,
    /// Ours over the baseline.
    ratio: f64,
    /// What the ratio should reach; none for a mere comparison.
    goal: Option<f64>,
    better: Better,
}

/// The cases of one run.
#[derive(Debug)]
pub(crate) struct Suite {
    rounds: NonZeroUsize,
    /// How the names of the wanted cases begin.
    only: String,
    figures: Vec<Figure>,
}

impl Suite {
    /// Returns an empty suite that measures each case so many times, if its name begins so.
    pub(crate) fn new(rounds: NonZeroUsize, only: String) -> Self {
        Self {
            rounds,
            only,
            figures: Vec::new(),
        }
    }

    /// Returns whether a case is to be measured.
    pub(crate) fn wants(&self, case: &str) -> bool {
        case.starts_with(&self.only)
    }

    /// Times two closures, each call of which does `operations`, and records nanoseconds for one operation.
    pub(crate) fn time(
        &mut self,
        case: &'static str,
        goal: Option<f64>,
        operations: usize,
        mut ours: impl FnMut(),
        mut baseline: impl FnMut(),
    ) {
        if !self.wants(case) {
            return;
        }
        let our_calls = calls_for_a_side(&mut ours);
        let their_calls = calls_for_a_side(&mut baseline);
        let nanoseconds = |time: Duration, calls: u32| {
            time.as_secs_f64() * 1e9 / (f64::from(calls) * operations as f64)
        };
        let rounds: Vec<[f64; 2]> = (0..self.rounds.get())
            .map(|round| {
                let ours = (&mut ours, our_calls);
                let [our_time, their_time] = each_side(round, ours, (&mut baseline, their_calls));
                [
                    nanoseconds(our_time, our_calls),
                    nanoseconds(their_time, their_calls),
                ]
            })
            .collect();
        self.medians(case, "ns", (goal, Better::Lower), &rounds);
    }

    /// Returns how often each case is measured.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.get()
    }

    /// Returns the median of what a closure measures, once in each round.
    pub(crate) fn median_of(&self, mut measure: impl FnMut() -> f64) -> f64 {
        median((0..self.rounds.get()).map(|_| measure()))
    }

    /// Times a closure, each call of which does `operations`, against the nanoseconds that one operation may take.
    pub(crate) fn time_within(
        &mut self,
        case: &'static str,
        limit_ns: f64,
        operations: usize,
        mut ours: impl FnMut(),
    ) {
        if !self.wants(case) {
            return;
        }
        let calls = calls_for_a_side(&mut ours);
        let each = f64::from(calls) * operations as f64;
        let rounds = (0..self.rounds.get()).map(|_| time(&mut ours, calls).as_secs_f64() * 1e9);
        let ours_ns = median(rounds.map(|round| round / each));
        let goal = (Some(1.0), Better::Lower);
        self.figure(case, "ns", goal, ours_ns, limit_ns);
    }

    /// Calls each of two closures, which do `operations` in a call, once in each round, and records how many were done in a second.
    pub(crate) fn throughput(
        &mut self,
        case: &'static str,
        goal: Option<f64>,
        operations: usize,
        mut ours: impl FnMut(),
        mut baseline: impl FnMut(),
    ) {
        if !self.wants(case) {
            return;
        }
        let rate = |time: Duration| operations as f64 / time.as_secs_f64();
        let rounds = (0..self.rounds.get())
            .map(|round| each_side(round, (&mut ours, 1), (&mut baseline, 1)).map(rate))
            .collect::<Vec<_>>();
        self.medians(case, "1/s", (goal, Better::Higher), &rounds);
    }

    /// Records how often each of two sides did something in a second. The closure measures both, once in each round.
    pub(crate) fn rates(
        &mut self,
        case: &'static str,
        goal: f64,
        mut measure: impl FnMut() -> [f64; 2],
    ) {
        if !self.wants(case) {
            return;
        }
        let rounds: Vec<[f64; 2]> = (0..self.rounds.get()).map(|_| measure()).collect();
        self.medians(case, "1/s", (Some(goal), Better::Higher), &rounds);
    }

    /// As [`Suite::rates`], in no more rounds than that: what takes long is measured less often.
    pub(crate) fn rates_at_most(
        &mut self,
        rounds: usize,
        case: &'static str,
        goal: f64,
        mut measure: impl FnMut() -> [f64; 2],
    ) {
        let rounds = self.rounds.get().min(rounds);
        let rounds: Vec<[f64; 2]> = (0..rounds).map(|_| measure()).collect();
        self.medians(case, "MB/s", (Some(goal), Better::Higher), &rounds);
    }

    /// Adds the medians of rounds of two sides, and of their ratios.
    fn medians(
        &mut self,
        case: &'static str,
        unit: &'static str,
        (goal, better): (Option<f64>, Better),
        rounds: &[[f64; 2]],
    ) {
        self.figures.push(Figure {
            case,
            ours: median(rounds.iter().map(|round| round[0])),
            baseline: median(rounds.iter().map(|round| round[1])),
            unit,
            ratio: median(rounds.iter().map(|round| round[0] / round[1])),
            goal,
            better,
        });
    }

    /// Records a figure that is no time.
    pub(crate) fn figure(
        &mut self,
        case: &'static str,
        unit: &'static str,
        (goal, better): (Option<f64>, Better),
        ours: f64,
        baseline: f64,
    ) {
        if !self.wants(case) {
            return;
        }
        let ratio = ours / baseline;
        self.figures.push(Figure {
            case,
            ours,
            baseline,
            unit,
            ratio,
            goal,
            better,
        });
    }

    /// Prints the figures as a table and writes them to `out` as JSON. A missed goal is shown, and is no error.
    #[expect(clippy::print_stdout, reason = "the table is what the command is for")]
    pub(crate) fn report(&self, out: Option<&Path>) -> anyhow::Result<()> {
        println!("{}", self.table());
        if let Some(path) = out {
            let json = serde_json::to_string_pretty(&self.figures)?;
            fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["case", "ours", "baseline", "unit", "ratio", "goal", ""]);
        for figure in &self.figures {
            table.add_row([
                figure.case.to_owned(),
                format!("{:.2}", figure.ours),
                format!("{:.2}", figure.baseline),
                figure.unit.to_owned(),
                format!("{:.3}", figure.ratio),
                figure
                    .goal
                    .map_or_else(String::new, |goal| format!("{goal:.2}")),
                figure.verdict().to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl Figure {
    fn verdict(&self) -> &'static str {
        let reached = self.goal.map(|goal| match self.better {
            Better::Lower => self.ratio <= goal,
            Better::Higher => self.ratio >= goal,
        });
        match reached {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        }
    }
}

/// Times the calls of both sides, which take turns at going first.
fn each_side(
    round: usize,
    (ours, our_calls): (&mut impl FnMut(), u32),
    (baseline, their_calls): (&mut impl FnMut(), u32),
) -> [Duration; 2] {
    let mut times = [Duration::ZERO; 2];
    for side in [round % 2, (round + 1) % 2] {
        times[side] = match side {
            0 => time(ours, our_calls),
            _ => time(baseline, their_calls),
        };
    }
    times
}

/// Returns how many calls take about the time of one side, after warming up for as long.
fn calls_for_a_side(work: &mut impl FnMut()) -> u32 {
    let mut calls = 1;
    loop {
        let elapsed = time(work, calls);
        if elapsed >= SIDE {
            let exact = f64::from(calls) * SIDE.as_secs_f64() / elapsed.as_secs_f64();
            return exact.ceil() as u32;
        }
        calls *= 2;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measuring time is what a benchmark does"
)]
fn time(work: &mut impl FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        work();
    }
    start.elapsed()
}

/// Returns how long one call takes, its result dropped after it.
#[expect(
    clippy::disallowed_methods,
    reason = "measuring time is what a benchmark does"
)]
pub(crate) fn milliseconds<R>(work: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    let result = work();
    let elapsed = start.elapsed();
    drop(result);
    elapsed.as_secs_f64() * 1e3
}

/// Says how far a measurement is that takes long.
#[expect(clippy::print_stderr, reason = "the figures go to the standard output")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// Makes a directory beside the program: the one for temporary files may be in memory, where a sync costs nothing.
pub(crate) fn directory() -> anyhow::Result<TempDir> {
    let program = env::current_exe()?;
    let beside = program.parent().context("the program is in a directory")?;
    Ok(TempDir::new_in(beside)?)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn a_missed_goal_is_shown() {
        let mut suite = Suite::new(NonZeroUsize::MIN, String::new());
        suite.figure("good", "x", (Some(1.25), Better::Lower), 1.2, 1.0);
        suite.figure("bad", "x", (Some(1.25), Better::Lower), 1.3, 1.0);
        suite.figure("plain", "x", (None, Better::Lower), 1.3, 1.0);
        let verdicts: Vec<&str> = suite.figures.iter().map(Figure::verdict).collect();
        assert_eq!(verdicts, ["met", "MISSED", ""]);
    }

    #[test]
    fn the_figures_are_written_in_the_agreed_form() {
        let mut suite = Suite::new(NonZeroUsize::MIN, String::new());
        suite.figure("balance", "x mean", (Some(1.25), Better::Lower), 1.2, 2.0);
        suite.time("loop", None, 1, || {}, || {});
        let json = serde_json::to_value(&suite.figures).unwrap();
        let expected = serde_json::json!({
            "case": "balance", "ours": 1.2, "baseline": 2.0, "unit": "x mean",
            "ratio": 0.6, "goal": 1.25, "better": "lower",
        });
        assert_eq!(json[0], expected);
        assert_eq!(json[1]["unit"], "ns");
        assert_eq!(json[1]["goal"], serde_json::Value::Null);
    }
}
