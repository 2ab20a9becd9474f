//! A plan as text, for people.

use std::fmt;

use super::{Plan, Step};

impl fmt::Display for Plan {
    /// One line for each move and each thing that no move mends, in columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = "-";
        let mut rows = vec![["partition", "step", "from", "to", "reason"].map(str::to_owned)];
        rows.extend(self.moves.iter().map(|planned| {
            let step = match planned.step {
                Step::Promote { .. } => "promote",
                Step::Place { .. } => "place",
                Step::Move { .. } => "move",
                Step::Drop { .. } => "drop",
            };
            let node = |node: Option<&_>| node.map_or_else(|| none.to_owned(), ToString::to_string);
            [
                planned.partition.to_string(),
                step.to_owned(),
                node(planned.step.from()),
                node(planned.step.to()),
                planned.reason.to_string(),
            ]
        }));
        if let Some(error) = &self.refused {
            return writeln!(f, "refused: {error}");
        }
        if self.moves.is_empty() {
            writeln!(f, "nothing to move")?;
        } else {
            write_columns(f, &rows)?;
        }
        for lack in &self.under_replicated {
            let (partition, has, wants) = (&lack.partition, lack.has, lack.wants);
            writeln!(
                f,
                "under-replicated: {partition} has {has} of {wants} copies"
            )?;
        }
        for crowd in &self.crowded {
            let (partition, has, wants) = (&crowd.partition, crowd.has, crowd.wants);
            writeln!(f, "crowded: {partition} is in {has} of {wants} places")?;
        }
        for stuck in &self.stuck {
            writeln!(f, "stuck: {} cannot leave {}", stuck.partition, stuck.node)?;
        }
        for both in &self.together {
            let (partition, node) = (&both.partition, &both.node);
            writeln!(
                f,
                "together: {partition} is on {node} with others that it is kept apart from"
            )?;
        }
        Ok(())
    }
}

fn write_columns(f: &mut fmt::Formatter<'_>, rows: &[[String; 5]]) -> fmt::Result {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for [partition, step, from, to, reason] in rows {
        let [a, b, c, d, _] = widths;
        writeln!(f, "{partition:a$}  {step:b$}  {from:c$}  {to:d$}  {reason}")?;
    }
    Ok(())
}
