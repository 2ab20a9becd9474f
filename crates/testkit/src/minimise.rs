//! Makes a failing case smaller, so that a person can read it.

use crate::{
    dice::Dice,
    sqlgen::{Case, Order, Query},
};

/// How often a smaller case is tried at most.
const ATTEMPTS: usize = 600;

/// The smallest case found for which `fails` still holds; it must hold for `case` itself.
///
/// The last step of `case` is the one that fails. Earlier steps, rows, views, indexes, tables and clauses of the last
/// step are dropped one by one. `fails` must build everything anew, and say `false` for a case that it cannot build.
pub fn minimise(case: Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut search = Search {
        best: case,
        fails: &mut fails,
        left: ATTEMPTS,
    };
    loop {
        let before = search.size();
        search.drop_steps();
        search.drop_rows();
        search.drop_schema();
        search.drop_clauses();
        if search.left == 0 || search.size() == before {
            return search.best;
        }
    }
}

struct Search<'a> {
    best: Case,
    fails: &'a mut dyn FnMut(&Case) -> bool,
    left: usize,
}

impl Search<'_> {
    fn size(&self) -> usize {
        let rows: usize = self.best.rows.iter().map(|table| table.rows.len()).sum();
        let statements: usize = self.best.schema.statements().iter().map(String::len).sum();
        let steps: usize = self
            .best
            .steps
            .iter()
            .map(|step| step.statement.sql.len())
            .sum();
        rows + statements + steps
    }

    /// Keeps `candidate` if it still fails.
    fn attempt(&mut self, candidate: Case) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let fails = (self.fails)(&candidate);
        if fails {
            self.best = candidate;
        }
        fails
    }

    /// Drops runs of `count` elements, halving the length of a run down to one.
    fn drop_runs(&mut self, count: usize, without: impl Fn(&Case, usize, usize) -> Case) {
        let mut count = count;
        let mut run = count.div_ceil(2);
        while run > 0 && count > 0 {
            let mut at = 0;
            while at < count {
                let length = run.min(count - at);
                let candidate = without(&self.best, at, length);
                if self.attempt(candidate) {
                    count -= length;
                } else {
                    at += length;
                }
            }
            run = if run == 1 { 0 } else { run.div_ceil(2) };
        }
    }

    fn drop_steps(&mut self) {
        let earlier = self.best.steps.len().saturating_sub(1);
        self.drop_runs(earlier, |case, at, length| {
            let mut case = case.clone();
            case.steps.drain(at..at + length);
            case
        });
    }

    fn drop_rows(&mut self) {
        for table in 0..self.best.rows.len() {
            let count = self.best.rows[table].rows.len();
            self.drop_runs(count, |case, at, length| {
                let mut case = case.clone();
                case.rows[table].rows.drain(at..at + length);
                case.reload();
                case
            });
        }
    }

    fn drop_schema(&mut self) {
        self.drop_runs(self.best.schema.views.len(), |case, at, length| {
            let mut case = case.clone();
            case.schema.views.drain(at..at + length);
            case
        });
        self.drop_runs(self.best.schema.triggers.len(), |case, at, length| {
            let mut case = case.clone();
            case.schema.triggers.drain(at..at + length);
            case
        });
        self.drop_runs(self.best.schema.indexes.len(), |case, at, length| {
            let mut case = case.clone();
            case.schema.indexes.drain(at..at + length);
            case
        });
        for table in (0..self.best.schema.tables.len()).rev() {
            let mut case = self.best.clone();
            case.drop_table(table);
            self.attempt(case);
        }
    }

    fn drop_clauses(&mut self) {
        let mut at = 0;
        loop {
            let Some((query, all)) = self.best.steps.last().and_then(|step| step.query.clone())
            else {
                return;
            };
            let Some(query) = smaller(&query).into_iter().nth(at) else {
                return;
            };
            let mut case = self.best.clone();
            case.replace_last(query, all, &mut Dice::new(0));
            if !self.attempt(case) {
                at += 1;
            }
        }
    }
}

/// `query` with one part less, in every way.
fn smaller(query: &Query) -> Vec<Query> {
    let mut found = Vec::new();
    let mut change = |change: &dyn Fn(&mut Query)| {
        let mut smaller = query.clone();
        change(&mut smaller);
        found.push(smaller);
    };
    if query.limit.is_some() {
        change(&|query| query.limit = None);
    }
    if !matches!(query.order, Order::Unordered) {
        change(&|query| query.order = Order::Unordered);
    }
    (0..query.with.len()).for_each(|at| change(&|query| drop(query.with.remove(at))));
    (1..query.arms.len()).for_each(|at| change(&|query| drop(query.arms.remove(at))));
    for (at, arm) in query.arms.iter().enumerate() {
        (0..arm.filters.len())
            .for_each(|n| change(&|query| drop(query.arms[at].filters.remove(n))));
        (1..arm.from.len()).for_each(|n| change(&|query| drop(query.arms[at].from.remove(n))));
        (0..arm.groups.len()).for_each(|n| change(&|query| drop(query.arms[at].groups.remove(n))));
        if arm.having.is_some() {
            change(&|query| query.arms[at].having = None);
        }
        if arm.distinct {
            change(&|query| query.arms[at].distinct = false);
        }
    }
    let width = query.arms.first().map_or(0, |arm| arm.columns.len());
    if width > 1 {
        (0..width).for_each(|column| change(&|query| drop_column(query, column)));
    }
    found
}

fn drop_column(query: &mut Query, column: usize) {
    for arm in &mut query.arms {
        if column < arm.columns.len() {
            arm.columns.remove(column);
        }
    }
    if let Order::EveryColumn(suffixes) = &mut query.order
        && column < suffixes.len()
    {
        suffixes.remove(column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlgen::Profile;

    #[test]
    fn what_does_not_matter_is_dropped() {
        let profile = Profile {
            statements: 12,
            writes: 20,
        };
        let case = (0..)
            .map(|seed| Case::random(seed, profile))
            .find(has_select);
        let case = case.expect("some seed ends in a SELECT with GROUP BY");
        let smallest = minimise(case, has_select);
        assert_eq!(smallest.steps.len(), 1);
        assert!(smallest.rows.iter().all(|table| table.rows.is_empty()));
        assert_eq!(smallest.schema.statements().len(), 0);
        let sql = &smallest.steps[0].statement.sql;
        assert!(!sql.contains("WHERE") && !sql.contains("ORDER BY"), "{sql}");
    }

    fn has_select(case: &Case) -> bool {
        case.steps.last().is_some_and(|step| {
            step.query
                .as_ref()
                .is_some_and(|(query, _)| query.arms.len() == 1 && !query.arms[0].groups.is_empty())
        })
    }
}
