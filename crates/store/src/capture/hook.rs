//! SQLite's preupdate hook, which the safe binding offers only where libclang is installed.
//!
//! The one place that calls its C functions. A change that SQLite announces becomes a [`Touch`], which
//! lives as long as the call.

use std::{
    cell::{RefCell, RefMut},
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    rc::Rc,
    slice,
};

use rusqlite::ffi;

use super::tap::Tap;
use crate::{ValueRef, connection::Connection};

/// The tap of a connection, to which SQLite has a pointer.
///
/// Both are used by the thread that has the connection, one after the other, so that no lock is needed: taking one for each row takes a
/// good part of what a row takes.
#[derive(Debug)]
pub(super) struct TapOf(Rc<RefCell<Tap>>);

// SAFETY: nobody else has the `Rc`, and SQLite's pointer is used only while statements run on the connection. Its owner keeps the two
// together, so they move between threads together. What is in the tap may do so by itself, as the constant below has the compiler check.
#[expect(
    unsafe_code,
    reason = "a connection and its own tap may move between threads together"
)]
unsafe impl Send for TapOf {}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Tap>();
};

impl TapOf {
    /// Makes SQLite tell a tap of each row that the connection is about to change. The connection must be closed before this value is
    /// dropped.
    #[expect(
        unsafe_code,
        reason = "the safe binding has no sqlite3_preupdate_hook without libclang"
    )]
    pub(super) fn install(connection: &Connection, tap: Tap) -> Self {
        let tap = Rc::new(RefCell::new(tap));
        let context = Rc::as_ptr(&tap).cast_mut().cast::<c_void>();
        // SAFETY: the handle belongs to an open connection that we borrow. SQLite passes `context` to
        // `announce` while statements run on that connection and not otherwise; the owner of the tap
        // keeps it until the connection is closed.
        unsafe {
            ffi::sqlite3_preupdate_hook(connection.raw().handle(), Some(announce), context);
        }
        Self(tap)
    }

    /// Borrows it. No statement may run meanwhile.
    pub(super) fn get(&self) -> RefMut<'_, Tap> {
        self.0.borrow_mut()
    }
}

/// What SQLite calls before it changes a row. A panic in it ends the process.
#[expect(unsafe_code, reason = "SQLite calls it, with pointers")]
unsafe extern "C" fn announce(
    context: *mut c_void,
    database: *mut ffi::sqlite3,
    operation: c_int,
    schema: *const c_char,
    table: *const c_char,
    rowid_before: i64,
    rowid_after: i64,
) {
    // SAFETY: `context` is what `install` gave, and both names are strings that end with a zero byte
    // and stay for the time of the call.
    let (tap, schema, table) = unsafe {
        (
            &*context.cast_const().cast::<RefCell<Tap>>(),
            CStr::from_ptr(schema),
            CStr::from_ptr(table),
        )
    };
    let mut tap = tap.borrow_mut();
    tap.count();
    if schema.to_bytes() == b"main" && tap.is_listening() {
        tap.touch(&Touch {
            database,
            operation,
            table: table.to_bytes(),
            rowid_before,
            rowid_after,
        });
    }
}

/// A row that is about to change.
pub(super) struct Touch<'a> {
    database: *mut ffi::sqlite3,
    operation: c_int,
    /// The name of its table.
    pub(super) table: &'a [u8],
    /// Its rowid; of no meaning in a table WITHOUT ROWID.
    pub(super) rowid_before: i64,
    /// The rowid it will have.
    pub(super) rowid_after: i64,
}

/// What is about to happen to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    /// It goes, or a part of it is written as a blob.
    Delete,
}

impl Touch<'_> {
    pub(super) fn operation(&self) -> Operation {
        match self.operation {
            ffi::SQLITE_INSERT => Operation::Insert,
            ffi::SQLITE_UPDATE => Operation::Update,
            _ => Operation::Delete,
        }
    }

    /// Returns the number of columns of the table, generated ones among them.
    #[expect(unsafe_code, reason = "it asks SQLite")]
    pub(super) fn columns(&self) -> c_int {
        // SAFETY: a touch exists only within the call of the hook, on the handle that SQLite gave.
        unsafe { ffi::sqlite3_preupdate_count(self.database) }
    }

    /// Returns a value of the row as it is, or SQLite's result code. A column that is computed when it
    /// is read has NULL.
    #[expect(unsafe_code, reason = "it asks SQLite")]
    pub(super) fn before(&self, column: c_int) -> Result<ValueRef<'_>, c_int> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `columns`; `value` is a local pointer that is written during the call.
        let code = unsafe { ffi::sqlite3_preupdate_old(self.database, column, &raw mut value) };
        // SAFETY: a value that SQLite gave is valid until the hook returns, and `self` is not longer.
        unsafe { read(code, value) }
    }

    /// Returns a value of the row as it will be.
    #[expect(unsafe_code, reason = "it asks SQLite")]
    pub(super) fn after(&self, column: c_int) -> Result<ValueRef<'_>, c_int> {
        let mut value = ptr::null_mut();
        // SAFETY: as in `before`.
        let code = unsafe { ffi::sqlite3_preupdate_new(self.database, column, &raw mut value) };
        // SAFETY: as in `before`.
        unsafe { read(code, value) }
    }
}

/// Reads a value that SQLite gave together with a result code.
///
/// # Safety
///
/// With `SQLITE_OK`, `value` is null or a protected value that stays unchanged for `'a`.
#[expect(unsafe_code, reason = "it reads what SQLite points to")]
unsafe fn read<'a>(code: c_int, value: *mut ffi::sqlite3_value) -> Result<ValueRef<'a>, c_int> {
    match code {
        ffi::SQLITE_OK if !value.is_null() => {}
        ffi::SQLITE_OK | ffi::SQLITE_RANGE => return Ok(ValueRef::Null),
        code => return Err(code),
    }
    // SAFETY: the value is valid, says the caller. Its bytes are asked for before their number, as
    // SQLite requires, and a null pointer stands for no bytes.
    unsafe {
        Ok(match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => ValueRef::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => ValueRef::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => {
                let text = ffi::sqlite3_value_text(value);
                if text.is_null() {
                    return Err(ffi::SQLITE_NOMEM);
                }
                ValueRef::Text(bytes(text, ffi::sqlite3_value_bytes(value)))
            }
            ffi::SQLITE_BLOB => {
                let blob = ffi::sqlite3_value_blob(value).cast();
                ValueRef::Blob(bytes(blob, ffi::sqlite3_value_bytes(value)))
            }
            _ => ValueRef::Null,
        })
    }
}

/// Makes a slice of what SQLite points to.
///
/// # Safety
///
/// `start` is null, or `len` bytes from it stay readable and unchanged for `'a`.
#[expect(unsafe_code, reason = "it reads what SQLite points to")]
unsafe fn bytes<'a>(start: *const u8, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        // SAFETY: the caller says so.
        Ok(len) if !start.is_null() => unsafe { slice::from_raw_parts(start, len) },
        Ok(_) | Err(_) => &[],
    }
}
