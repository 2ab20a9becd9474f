//! Names in a directory, made to outlast a crash.

use std::{io, path::Path};

/// Makes durable which names are in a directory.
#[cfg(unix)]
pub(in crate::log) fn sync(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Windows has no such call: names are as durable as its file system makes them.
#[cfg(not(unix))]
pub(in crate::log) fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}
