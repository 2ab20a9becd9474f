//! How far the write-ahead log of a file has moved into it.

use std::ops::ControlFlow;

use crate::{Checkpoint, Config, Params, Result, connection::Connection};

/// What there is in a log, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Whether somebody was in the way.
    pub(crate) busy: bool,
    /// How long it is, unless somebody else moves it or the connection has not read yet.
    pub(crate) pages: Option<u32>,
    /// How much of it is in the file.
    pub(crate) moved: Option<u32>,
}

/// Moves the log, and returns how it is then.
pub(crate) fn run_checkpoint(connection: &Connection, how: Checkpoint) -> Result<Logged> {
    let sql = match how {
        Checkpoint::Passive => "PRAGMA main.wal_checkpoint(PASSIVE)",
        Checkpoint::Truncate => "PRAGMA main.wal_checkpoint(TRUNCATE)",
    };
    let (_, flow) = connection.query(sql, Params::NONE, |row| {
        let number = |column| row.get(column).as_i64().unwrap_or(0);
        ControlFlow::Break(Logged {
            busy: number(0) != 0,
            pages: u32::try_from(number(1)).ok(),
            moved: u32::try_from(number(2)).ok(),
        })
    })?;
    Ok(flow.break_value().unwrap_or_default())
}

/// Returns what a connection needs that runs nothing of anybody.
pub(crate) fn bare(config: &Config) -> Config {
    Config {
        functions: Vec::new(),
        setup_sql: String::new(),
        ..config.clone()
    }
}
