//! Batches whose changes are captured before they are committed.

use std::ops::ControlFlow;

use super::{
    Writer, WriterConnection,
    batch::{Apart, Executed, Run, cause},
    keyword::{Definition, Pragma},
    member::Member,
};
use crate::{
    Applied, ChangeSet, Entry, Error, Outcome, Params, ReplicaError, Result, Row, Sql,
    capture::{Capture, SchemaStatement, refused},
    connection::Connection,
    dedup, replica,
};

/// A batch that has run, in a transaction that is still open.
#[derive(Debug)]
pub struct Captured<T> {
    /// What the members in the transaction did, in the order of their places. After an error nothing of
    /// a member is left.
    pub executed: Vec<Executed<T>>,
    /// The places of the members that are not in it, because each needs a batch of its own: they ended
    /// the transaction, or change the schema.
    pub alone: Vec<usize>,
    /// What changed in the file.
    pub changes: ChangeSet,
}

/// For how many batches members have savepoints after one in which a member had to be undone.
const CAREFUL: u32 = 16;

/// The PRAGMAs that take an argument and that copies can follow.
const ALLOWED_WITH_ARGUMENT: [&str; 14] = [
    "user_version",
    "application_id",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

impl Writer {
    /// Runs the members in one transaction, each isolated from the others, and leaves that open.
    ///
    /// As [`Writer::write_batch`], except that all may run again, in savepoints, if one fails after it has changed
    /// something, and that members which need a transaction of their own do not get it here: they are named in
    /// [`Captured::alone`], for a batch with just that member. End the transaction with [`Writer::commit_at`] or [`Writer::rollback`]. A batch of one member is always in
    /// the transaction, if only with its error.
    ///
    /// # Errors
    ///
    /// What SQLite reports when it cannot begin or undo, and [`ReplicaError::TooLarge`]. No transaction
    /// is open then, and nothing of the batch is left. A member fails with [`ReplicaError::Refused`] if
    /// copies could not repeat what it did.
    pub fn execute_batch<T>(
        &mut self,
        members: &mut [impl FnMut(&mut Member<'_>) -> Result<T>],
    ) -> Result<Captured<T>> {
        if self.in_transaction() {
            return Err(Error::TransactionStatement);
        }
        self.serve_clients()?;
        self.install_capture();
        self.connection_mut().capture_wanted = true;
        let result = self.run_captured(members);
        self.connection_mut().capture_wanted = false;
        result.inspect_err(|_| self.undo())
    }

    fn run_captured<T>(
        &mut self,
        members: &mut [impl FnMut(&mut Member<'_>) -> Result<T>],
    ) -> Result<Captured<T>> {
        let mut together: Vec<usize> = (0..members.len()).collect();
        let mut apart = self.apart(members.len());
        let executed = loop {
            match self.run_members(&together, members, apart)? {
                Run::Open(executed) => break executed,
                Run::NeedsSavepoints => {
                    self.connection_mut().careful = CAREFUL;
                    apart = Apart::Savepoints;
                }
                Run::Ended { culprit, error } if members.len() == 1 => {
                    self.begin()?;
                    self.begin_capture()?;
                    break vec![Executed {
                        member: culprit,
                        result: Err(error),
                    }];
                }
                Run::Ended { culprit, .. } => {
                    apart = Apart::Savepoints;
                    together.retain(|&member| member != culprit);
                }
            }
        };
        let changes = self.with_capture(Capture::finish)?;
        Ok(Captured {
            alone: missing(&executed, members.len()),
            executed,
            changes,
        })
    }

    /// Returns how the members of the next batch are kept apart: by savepoints for a while after a batch that needed them.
    fn apart(&mut self, members: usize) -> Apart {
        let careful = &mut self.connection_mut().careful;
        if members < 2 || *careful > 0 {
            *careful = careful.saturating_sub(1);
            return Apart::Savepoints;
        }
        Apart::Hopefully
    }

    /// Returns how many rows have been touched so far; those of statements that were undone among them.
    pub(super) fn touches(&self) -> u64 {
        self.guard().touches()
    }

    /// Commits the transaction that [`Writer::execute_batch`] left open, together with its position and
    /// the outcomes of its members.
    ///
    /// # Errors
    ///
    /// [`Error::NoTransaction`], [`ReplicaError::NotReplicated`], [`ReplicaError::NotNext`],
    /// [`ReplicaError::DuplicateEntry`], and [`Error::CommitFailed`] if the COMMIT itself failed. The
    /// transaction is rolled back then: apply the same changes with [`Writer::apply`], as a copy would.
    pub fn commit_at(&mut self, applied: Applied, entries: &[Entry<'_>]) -> Result<()> {
        if !self.in_transaction() {
            return Err(Error::NoTransaction);
        }
        let moved = self.move_to(&applied, entries).and_then(|()| {
            let late = self.guard().has_late_change();
            self.commit().map_err(|error| {
                let source = match late {
                    true => ReplicaError::ChangedAfterCapture.into(),
                    false => cause(error),
                };
                Error::CommitFailed {
                    source: Box::new(source),
                }
            })
        });
        moved.inspect_err(|_| self.undo())
    }

    /// Writes the position and the outcomes into the open transaction.
    pub(super) fn move_to(&mut self, applied: &Applied, entries: &[Entry<'_>]) -> Result<()> {
        let WriterConnection {
            inner,
            guard,
            is_copy,
            ..
        } = self.connection_mut();
        guard.ours(|| {
            if !*is_copy {
                replica::applied(inner)?;
                *is_copy = true;
            }
            replica::advance(inner, applied)?;
            dedup::store(inner, applied.lsn, entries)
        })
    }

    /// Returns whether the members that run are captured.
    pub(super) fn captures(&self) -> bool {
        let connection = self.connection.as_ref();
        connection
            .and_then(|connection| connection.capture.as_ref())
            .is_some_and(Capture::is_on)
    }

    /// Returns whether it is known that the schema has no foreign keys: while a batch is captured.
    pub(super) fn is_without_foreign_keys(&self) -> bool {
        let connection = self.connection.as_ref();
        connection
            .and_then(|connection| connection.capture.as_ref())
            .is_some_and(|capture| capture.is_on() && !capture.tables.has_foreign_keys())
    }

    /// Begins to capture, if the batch that runs is to be captured.
    pub(super) fn begin_capture(&mut self) -> Result<()> {
        if !self.connection_mut().capture_wanted {
            return Ok(());
        }
        self.guard().take_schema();
        self.guard().take_late_change();
        self.with_capture(Capture::begin)
    }

    /// Tells the capture that a statement or a member may have been undone.
    pub(super) fn note_undone(&self) {
        let connection = self.connection.as_ref();
        if let Some(capture) = connection.and_then(|connection| connection.capture.as_ref()) {
            capture.note_undone();
        }
    }

    pub(super) fn end_capture(&mut self) {
        let connection = self.connection_mut();
        if let Some(capture) = &mut connection.capture {
            capture.end();
            connection.guard.take_late_change();
        }
    }

    /// Ends the capture of a transaction that was undone.
    pub(super) fn end_undone_capture(&mut self) {
        self.end_capture();
        if let Some(capture) = &mut self.connection_mut().capture {
            capture.tables.forget_version();
        }
    }

    /// Fails if copies could not repeat what a member did.
    #[inline]
    pub(super) fn check_captured(&mut self) -> Result<()> {
        let connection = self.connection.as_ref();
        let is_broken = connection
            .and_then(|connection| connection.capture.as_ref())
            .is_some_and(Capture::is_broken);
        match is_broken || self.guard().needs_a_look() {
            true => self.look_at_captured(),
            false => Ok(()),
        }
    }

    fn look_at_captured(&mut self) -> Result<()> {
        if !self.captures() {
            return Ok(());
        }
        if self.guard().take_schema() {
            return Err(refused("a change of the schema by a statement on rows"));
        }
        let has_news = self.guard().take_news();
        self.with_capture(|capture, connection| capture.check(connection, has_news))
    }

    /// Runs a statement on the schema.
    pub(super) fn query_schema<B>(
        &mut self,
        definition: Definition,
        sql: Sql<'_>,
        params: Params<'_>,
        visit: impl FnMut(&Row<'_>) -> ControlFlow<B>,
    ) -> Result<(Outcome, ControlFlow<B>)> {
        let statement = match definition {
            Definition::Table => SchemaStatement::CreateTable,
            Definition::Analyze => SchemaStatement::Analyze,
            Definition::Other => SchemaStatement::Other,
        };
        let before = self.with_capture(Capture::before_schema_statement)?;
        let result = self.query(sql, params, visit);
        self.guard().take_schema();
        let succeeded = result.is_ok();
        self.with_capture(|capture, connection| {
            capture.after_schema_statement();
            match succeeded {
                true => capture.record(connection, sql.as_str(), statement, before),
                false => Ok(()),
            }
        })?;
        result
    }

    /// Refuses the PRAGMAs that copies could not follow.
    pub(super) fn before_pragma(&mut self, pragma: Pragma<'_>) -> Result<()> {
        let is = |name: &&str| pragma.name.eq_ignore_ascii_case(name);
        if pragma.has_argument && !ALLOWED_WITH_ARGUMENT.iter().any(is) {
            return Err(refused(format!("PRAGMA {} with an argument", pragma.name)));
        }
        if ["user_version", "application_id"].iter().any(is) {
            self.with_capture(Capture::note_settings)?;
        }
        Ok(())
    }

    fn with_capture<T>(
        &mut self,
        run: impl FnOnce(&mut Capture, &Connection) -> Result<T>,
    ) -> Result<T> {
        let WriterConnection { inner, capture, .. } = self.connection_mut();
        let capture = capture
            .as_mut()
            .expect("capture is installed before a batch runs");
        run(capture, inner)
    }

    /// Sets the hook, once for the connection.
    pub(super) fn install_capture(&mut self) {
        let connection = self.connection_mut();
        if connection.capture.is_none() {
            let capture = Capture::install(&connection.inner, &connection.guard);
            connection.capture = Some(capture);
        }
    }
}

/// Returns which of so many members are not among those that were executed.
fn missing<T>(executed: &[Executed<T>], members: usize) -> Vec<usize> {
    if executed.len() == members {
        return Vec::new();
    }
    let mut here = executed.iter().map(|executed| executed.member).peekable();
    (0..members)
        .filter(|member| here.next_if_eq(member).is_none())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use rusqlite::MAIN_DB;

    use super::*;
    use crate::{Config, Identity, Replica, ShardFile, Value};

    #[test]
    fn blobs_written_piece_by_piece_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let [primary, copy] = ["a.db", "b.db"].map(|name| {
            let path = directory.path().join(name);
            let identity = Identity::new("shop", "shard-0");
            let file = ShardFile::create(path, &identity, &Config::default()).unwrap();
            let mut writer = file.writer().unwrap();
            let applied = Applied::default();
            writer
                .start_replica(&Replica {
                    id: [1; 16],
                    applied,
                })
                .unwrap();
            writer
                .execute_script("CREATE TABLE t (b BLOB, c); INSERT INTO t VALUES (x'00000000', 1)")
                .unwrap();
            writer
        });
        let (mut primary, mut copy) = (primary, copy);
        let mut members = [|member: &mut Member<'_>| {
            let raw = member.writer().connection().raw();
            let mut blob = raw.blob_open(MAIN_DB, "t", "b", 1, false).unwrap();
            blob.seek(SeekFrom::Start(1)).unwrap();
            blob.write_all(&[7, 8]).unwrap();
            blob.close().unwrap();
            member.execute("UPDATE t SET c = 2", ()).map(drop)
        }];
        let captured = primary.execute_batch(&mut members).unwrap();
        let applied = Applied {
            epoch: 1,
            lsn: 1,
            hash: [1; 32],
        };
        primary.commit_at(applied, &[]).unwrap();
        copy.apply(applied, &captured.changes, &[]).unwrap();
        let blob = copy
            .query_row("SELECT b FROM t WHERE c = 2", (), |row| {
                row.get(0).to_value()
            })
            .unwrap();
        assert_eq!(blob, Some(Value::from(vec![0, 7, 8, 0])));
    }
}
