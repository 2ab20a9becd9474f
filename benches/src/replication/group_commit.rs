//! The baseline: one SQLite file, and a thread that commits all that waits in one transaction.

use std::{path::Path, thread};

use anyhow::Context;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::rows::{BODY, CREATE, INSERT};

/// The file.
#[derive(Debug, Clone)]
pub(super) struct GroupCommit {
    submit: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl GroupCommit {
    /// Makes it.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        let connection = open(path, "FULL")?;
        let (submit, submitted) = mpsc::unbounded_channel();
        thread::spawn(move || commit(submitted, &connection));
        Ok(Self { submit })
    }

    /// Inserts a row, and waits until it is durable.
    pub(super) async fn insert_row(&self) -> anyhow::Result<()> {
        let (client, done) = oneshot::channel();
        self.submit.send(client).ok().context("the thread ended")?;
        Ok(done.await?)
    }
}

/// Makes a file with the table.
pub(super) fn open(path: &Path, synchronous: &str) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute(CREATE, ())?;
    Ok(connection)
}

/// Commits batch after batch, of all that was submitted meanwhile, until nobody submits any more.
fn commit(
    mut submitted: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    connection: &Connection,
) -> anyhow::Result<()> {
    let mut begin = connection.prepare("BEGIN IMMEDIATE")?;
    let mut insert = connection.prepare(INSERT)?;
    let mut commit = connection.prepare("COMMIT")?;
    while let Some(first) = submitted.blocking_recv() {
        begin.execute(())?;
        let mut clients = Vec::new();
        let mut next = Some(first);
        while let Some(client) = next {
            insert.execute([&BODY[..]])?;
            clients.push(client);
            next = submitted.try_recv().ok();
        }
        commit.execute(())?;
        for client in clients {
            // A client that has gone needs no answer.
            client.send(()).ok();
        }
    }
    Ok(())
}
