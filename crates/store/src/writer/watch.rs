//! Temporary triggers, which note what a transaction writes.

use std::{ops::ControlFlow, sync::Arc};

use super::Writer;
use crate::Result;

impl Writer {
    /// Makes the temporary tables and triggers of the connection those of a script, or none, in place of those that a
    /// call before has made. No transaction may be open.
    ///
    /// They outlive the writer, as everything temporary does: with the same script again, nothing is done. They are never part of
    /// the changes of a batch.
    ///
    /// # Errors
    ///
    /// What SQLite reports about a statement. Then those before are still there.
    pub fn watch(&mut self, script: Option<&Arc<str>>) -> Result<()> {
        if self.connection_mut().watched.as_ref() == script {
            return Ok(());
        }
        // A temporary file would be made for every transaction with notes.
        self.execute_script("PRAGMA temp_store = MEMORY")?;
        self.begin()?;
        let replaced = self.replace_temporary(script).and_then(|()| self.commit());
        if let Err(error) = replaced {
            if self.in_transaction() {
                self.rollback()?;
            }
            return Err(error);
        }
        self.connection_mut().watched = script.cloned();
        Ok(())
    }

    fn replace_temporary(&mut self, script: Option<&Arc<str>>) -> Result<()> {
        let mut drops = String::new();
        let _ = self.query(
            "SELECT type, name FROM temp.sqlite_schema WHERE type IN ('trigger', 'table') ORDER BY type DESC",
            (),
            |row| {
                if let (Some(kind), Some(name)) = (row.get(0).as_str(), row.get(1).as_str()) {
                    let name = name.replace('"', "\"\"");
                    drops.push_str(&format!("DROP {kind} temp.\"{name}\";\n"));
                }
                ControlFlow::<()>::Continue(())
            },
        )?;
        self.execute_script(&drops)?;
        script.map_or(Ok(()), |script| self.execute_script(script))
    }
}
