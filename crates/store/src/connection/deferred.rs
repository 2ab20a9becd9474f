//! Foreign keys that a transaction has broken and not mended yet.

use std::ptr;

use rusqlite::ffi;

use super::Connection;
use crate::Result;

/// Returns whether the open transaction could not commit because of a deferred foreign key.
///
/// SQLite counts them as it goes, so this costs the same for every size of transaction. Neither SQL
/// nor the safe binding gives access to the count: releasing a savepoint accepts a violation, and
/// `PRAGMA foreign_key_check` reads every row of the file.
#[expect(
    unsafe_code,
    reason = "the safe binding has no sqlite3_db_status, and a batch must know before its COMMIT"
)]
pub(crate) fn deferred_violations(connection: &Connection) -> Result<bool> {
    let mut violated = 0;
    let mut unused = 0;
    // SAFETY: the handle belongs to an open connection that we borrow, and SQLite does not keep it;
    // the two pointers are to local integers and only written during the call.
    let code = unsafe {
        ffi::sqlite3_db_status(
            connection.raw().handle(),
            ffi::SQLITE_DBSTATUS_DEFERRED_FKS,
            ptr::from_mut(&mut violated),
            ptr::from_mut(&mut unused),
            0,
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(violated != 0)
    } else {
        let failure = ffi::Error::new(code);
        Err(connection.error(rusqlite::Error::SqliteFailure(failure, None)))
    }
}
