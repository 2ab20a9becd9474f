//! `import --node`: a database brought into a cluster.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use shardwright_sql::{
    Value,
    schema::{Declaration, Table, TableKind},
};

use super::{Arguments, warn};
use crate::{
    interrupt::Interrupt,
    output::{self, ListingFormat, Sheet},
    progress,
    transfer::{Journal, Progress, Source, Transfer},
};

/// Brings a file or a directory into a cluster.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let source = Source::open(&arguments.file, &arguments.options()?)?;
    source.check()?;
    if arguments.dry_run {
        return report(arguments, &source, "would be in the cluster", out);
    }
    let interrupt = Interrupt::catch()?;
    let path = journal_path(arguments);
    let client = arguments.cluster.client()?;
    let mut journal = if arguments.resume {
        Journal::resume(path, &source)?
    } else {
        Journal::check_absent(&path)?;
        let transfer = Transfer {
            source: &source,
            client: &client,
            rows: &client,
            interrupt: &interrupt,
        };
        transfer.check_absent()?;
        Journal::begin(path, &source)?
    };
    let rows = arguments
        .cluster
        .client_named(journal.client().to_owned())?;
    let transfer = Transfer {
        source: &source,
        client: &client,
        rows: &rows,
        interrupt: &interrupt,
    };
    let bar = progress::rows(source.rows());
    let done = transfer.run(&mut journal, &mut |Progress { doing, rows }| {
        bar.set_message(doing.to_owned());
        bar.set_position(rows);
    });
    bar.finish_and_clear();
    done?;
    journal.finish()?;
    let are = if arguments.resume {
        "are now in the cluster, after an interruption"
    } else {
        "are now in the cluster"
    };
    report(arguments, &source, are, out)
}

/// Where it is written what has been acknowledged, unless said otherwise: in the current directory.
fn journal_path(arguments: &Arguments) -> PathBuf {
    arguments.journal.clone().unwrap_or_else(|| {
        let name = arguments.file.file_name();
        let name = name.map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| "database".to_owned());
        Path::new(".").join(format!("{name}.import-journal"))
    })
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
