//! The bytes of a file in the state of a snapshot, read from the file itself.
//!
//! A checkpoint that moves all of the write-ahead log leaves the file as the last commit was. If a snapshot of that state is held, nothing that
//! is committed later moves into the file for as long as the snapshot lives (SQLite, "WAL-mode File Format", on read marks). So it need not be
//! copied to be read. That nothing is left in the log matters: of a page that was written again, what the snapshot sees is skipped.
//!
//! It is read through the handle that SQLite has open: to close another one of the same file would give up the locks that the process holds on
//! it (SQLite, "How To Corrupt An SQLite Database File", on POSIX advisory locks).

use std::{
    ffi::c_int,
    io::{self, Read},
    ptr,
};

use rusqlite::ffi;

use crate::{
    Checkpoint, Params, Result, ShardFile, Snapshot,
    checkpoint::{Logged, bare, run_checkpoint},
    connection::{Connection, Purpose},
    file::Shared,
    snapshot::FIRST_READ,
};

/// How much is read at once, at most.
const READ_BYTES: usize = 1 << 20;

/// The bytes of a file in the state of a snapshot, one after the other.
#[derive(Debug)]
pub struct FileBytes {
    snapshot: Snapshot,
    at: u64,
    end: u64,
}

impl ShardFile {
    /// Moves what nobody needs of the write-ahead log into the file, beside the writer. Returns whether nothing is left.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn move_log(&self) -> Result<bool> {
        move_log(&self.shared)
    }
}

impl Snapshot {
    /// Returns the bytes of the file in this state. Nobody may commit between the beginning of the snapshot and the end of this, or it is in
    /// vain; what is committed later changes nothing. While somebody reads an older state it is in vain too.
    ///
    /// # Errors
    /// The snapshot, if the file is not in its state. It can be [copied](Snapshot::copy_to).
    pub fn bytes(self) -> std::result::Result<FileBytes, Box<Self>> {
        let is_still = move_log(self.shared()).unwrap_or(false);
        match self.file_size().ok().filter(|_| is_still) {
            Some(end) => Ok(FileBytes {
                snapshot: self,
                at: 0,
                end,
            }),
            None => Err(Box::new(self)),
        }
    }

    /// Returns how many bytes the file has in this state.
    fn file_size(&self) -> Result<u64> {
        let number = |sql| {
            let found = self.query_row(sql, Params::NONE, |row| row.get(0).as_i64());
            let found = found?
                .flatten()
                .and_then(|number| u64::try_from(number).ok());
            found.ok_or_else(|| self.busy())
        };
        Ok(number("PRAGMA main.page_count")? * number("PRAGMA main.page_size")?)
    }
}

fn move_log(shared: &Shared) -> Result<bool> {
    let mover = Connection::open(&shared.path, &bare(&shared.config), Purpose::Write)?;
    // A connection knows of the log once it has read.
    mover.query_row(FIRST_READ, Params::NONE, |_| ())?;
    let Logged { pages, moved, .. } = run_checkpoint(&mover, Checkpoint::Passive)?;
    Ok(pages.is_some() && pages == moved)
}

impl Read for FileBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left).min(READ_BYTES);
        if count == 0 {
            return Ok(0);
        }
        read_at(
            self.snapshot.connection().raw(),
            &mut buffer[..count],
            self.at,
        )?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Reads bytes of the file of a connection, all of them.
#[expect(unsafe_code, reason = "SQLite's handle of the file is a pointer")]
fn read_at(connection: &rusqlite::Connection, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let failed = |code: c_int| io::Error::other(ffi::Error::new(code));
    let (Ok(length), Ok(at)) = (c_int::try_from(buffer.len()), i64::try_from(at)) else {
        return Err(failed(ffi::SQLITE_TOOBIG));
    };
    let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
    // SAFETY: the connection is open, its name for the file ends with a zero byte, and the operation writes one pointer to where it is told.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_FILE_POINTER,
            (&raw mut file).cast(),
        )
    };
    if code != ffi::SQLITE_OK || file.is_null() {
        return Err(failed(code));
    }
    // SAFETY: the file belongs to the connection, which nobody else uses meanwhile and which is open, so its methods are there; the method
    // writes no more than that many bytes.
    let code = unsafe {
        let methods = (*file).pMethods.as_ref();
        match methods.and_then(|methods| methods.xRead) {
            Some(read) => read(file, buffer.as_mut_ptr().cast(), length, at),
            None => ffi::SQLITE_MISUSE,
        }
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(failed(code)),
    }
}
