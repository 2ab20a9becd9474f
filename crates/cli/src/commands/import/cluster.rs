//! `import --node`: a database brought into a cluster.

use std::io::Write;

use shardwright_sql::{
    Value,
    schema::{Declaration, Table, TableKind},
};

use super::{Arguments, warn};
use crate::{
    output::{self, ListingFormat, Sheet},
    transfer::{Bringing, Source, journal_path},
};

/// Brings a file or a directory into a cluster.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let source = Source::open(&arguments.file, &arguments.options()?)?;
    source.check()?;
    if arguments.dry_run {
        return report(arguments, &source, "would be in the cluster", out);
    }
    let bringing = Bringing {
        cluster: &arguments.cluster,
        journal: journal_path(arguments.journal.as_deref(), &arguments.file),
        resume: arguments.resume,
    };
    bringing.bring(&source)?;
    let are = if arguments.resume {
        "are now in the cluster, after an interruption"
    } else {
        "are now in the cluster"
    };
    report(arguments, &source, are, out)
}

fn report(
    arguments: &Arguments,
    source: &Source,
    are: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    output::write_listing(out, arguments.output, &sheet(source))?;
    if arguments.output == ListingFormat::Table {
        let rows = output::count(source.rows(), "row");
        let tables = output::count(source.tables().count() as u64, "table");
        writeln!(out, "{rows} in {tables} {are}.")?;
    }
    if let Some(proposal) = source.proposal() {
        warn(proposal)?;
    }
    Ok(())
}

/// What each table becomes.
fn sheet(source: &Source) -> Sheet {
    let columns = ["table", "becomes", "shard_key", "colocated_with", "rows"];
    let mut sheet = Sheet::with_columns(&columns);
    for table in source.tables() {
        let (kind, key) = match &table.kind {
            TableKind::Sharded(key) => {
                let column = &table.columns[key.column].name;
                ("sharded", output::text(column))
            }
            TableKind::Reference => ("reference", Value::Null),
            TableKind::Global => ("global", Value::Null),
        };
        sheet.rows.push(vec![
            output::text(&table.name),
            output::text(kind),
            key,
            colocated_with(source, table),
            output::number(source.count(&table.name)),
        ]);
    }
    sheet
}

fn colocated_with(source: &Source, table: &Table) -> Value {
    let declarations = &source.schema().stored().declarations;
    match declarations.get(&table.name.to_ascii_lowercase()) {
        Some(Declaration::Sharded { colocate_with, .. }) => {
            output::optional(colocate_with.as_deref())
        }
        Some(Declaration::Reference | Declaration::Global) | None => Value::Null,
    }
}
