//! What can be known of the file.

use rusqlite::Connection;

use super::database::{Database, read_error};
use crate::{Finding, Level, StoreError};

impl Database {
    /// Looks at what decides whether the file keeps what it acknowledged.
    pub(super) fn diagnose(&self) -> Result<Vec<Finding>, StoreError> {
        findings(&self.connection, self.writable).map_err(read_error)
    }
}

/// The value of `PRAGMA synchronous` at which a commit waits for the disk.
const SYNCHRONOUS_FULL: i64 = 2;

fn findings(connection: &Connection, writable: bool) -> rusqlite::Result<Vec<Finding>> {
    let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let mut findings = vec![Finding::new(
        Level::Warning,
        "one machine keeps the registry",
        "use NATS with three servers where the loss of a machine must not stop changes",
    )];
    let mode = text("journal_mode")?;
    findings.push(if mode == "wal" {
        Finding::good("the journal is a write-ahead log")
    } else {
        Finding::new(
            Level::Warning,
            format!("the journal mode is {mode}"),
            "no other program may change it: readers and the writer wait for one another",
        )
    });
    if writable {
        let synchronous = number("synchronous")?;
        findings.push(if SYNCHRONOUS_FULL <= synchronous {
            Finding::good("a change waits for the disk")
        } else {
            Finding::new(
                Level::Problem,
                format!("synchronous is {synchronous}"),
                "a power failure may lose acknowledged changes",
            )
        });
    }
    let damage = text("quick_check")?;
    findings.push(if damage == "ok" {
        Finding::good("the file is whole")
    } else {
        let advice = "stop all processes and restore a copy of the file";
        Finding::new(
            Level::Problem,
            format!("the file is damaged: {damage}"),
            advice,
        )
    });
    let (pages, free) = (number("page_count")?, number("freelist_count")?);
    let size = pages * number("page_size")?;
    findings.push(Finding::good(format!(
        "the file has {size} bytes, {free} of {pages} pages are free"
    )));
    Ok(findings)
}
