//! Creating a shard file, all or nothing.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Access, Config, Error, Identity, Result, Synchronous,
    connection::{Connection, Purpose},
};

/// The end of the name of a file that is being created. After a crash such files may be deleted.
const UNFINISHED: &str = ".creating";

/// What SQLite adds to the name of a file for the files beside it; first the file itself.
pub(crate) const LEFT_BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Builds the file under a temporary name and links it to `path` when it is complete and on disk.
pub(crate) fn create(path: &Path, identity: &Identity, config: &Config) -> Result<()> {
    if path.exists() {
        return Err(exists(path));
    }
    let unfinished = unfinished_name(path);
    // An empty file first: the operating system says more clearly than SQLite why it cannot be.
    File::create_new(&unfinished).map_err(|source| failed("create", path, source))?;
    let result = build(&unfinished, identity, config)
        // Whoever took the name meanwhile has also cleared our unfinished file away.
        .map_err(|error| if path.exists() { exists(path) } else { error })
        .and_then(|()| publish(&unfinished, path));
    if result.is_ok() {
        remove_unfinished(path);
    } else {
        for suffix in LEFT_BESIDE {
            // The creation has failed already, and an unfinished file does no harm.
            let _removed = fs::remove_file(beside(&unfinished, suffix));
        }
    }
    result
}

fn build(path: &Path, identity: &Identity, config: &Config) -> Result<()> {
    let shared: Arc<Path> = Arc::from(path);
    let config = Config {
        access: Access::ReadWrite,
        synchronous: Synchronous::Full,
        setup_sql: String::new(),
        ..config.clone()
    };
    let connection = Connection::open(&shared, &config, Purpose::Write)?;
    connection.run_script(&format!(
        "PRAGMA page_size = {}; PRAGMA encoding = '{}'; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE",
        identity.page_size, identity.encoding
    ))?;
    identity.write(&connection)?;
    connection.run_script("COMMIT")?;
    connection.close()?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| failed("sync", path, source))
}

/// Gives the complete file its name, unless something has it.
fn publish(unfinished: &Path, path: &Path) -> Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => {}
        Err(_) if path.exists() => return Err(exists(path)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            fs::rename(unfinished, path).map_err(|source| failed("rename", unfinished, source))?;
        }
        Err(source) => return Err(failed("create", path, source)),
    }
    sync_directory(path).inspect_err(|_| {
        // The name may not survive a power failure, so it must not be relied on now.
        let _removed = fs::remove_file(path);
    })
}

#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let directory = directory(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| failed("sync", directory, source))
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> Result<()> {
    Ok(())
}

/// Removes what creations of this file left behind when they were killed.
fn remove_unfinished(path: &Path) {
    let Some(prefix) = path
        .file_name()
        .map(|name| format!("{}.", name.to_string_lossy()))
    else {
        return;
    };
    let Ok(entries) = fs::read_dir(directory(path)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let unfinished = LEFT_BESIDE.iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|name| name.ends_with(UNFINISHED))
        });
        if name.starts_with(&prefix) && unfinished {
            // Another creation that is under way fails anyway: the name is taken.
            let _removed = fs::remove_file(entry.path());
        }
    }
}

fn unfinished_name(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(
        ".{}-{}{UNFINISHED}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    PathBuf::from(name)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Returns the name of a file beside another.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn exists(path: &Path) -> Error {
    Error::Exists {
        path: path.to_path_buf(),
    }
}

pub(crate) fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
