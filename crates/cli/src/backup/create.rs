//! A backup as a node sends it becomes a directory.

use std::{
    fs::{self, File},
    io::{Read, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use shardwright_server::backup::{FORMAT, FileHead, Frame, FrameError, Head};
use shardwright_sql::{Layout, backup};

use super::{
    BackupError, Manifest, Shelf,
    check::{check, quick_check},
    manifest::{FileEntry, hexadecimal},
    shelf::{Unfinished, sync},
};

/// What SQLite may leave beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Takes in what a node sends, and checks it. `progress` is told how many bytes have come; where it fails, nothing is left.
///
/// # Errors
/// [`BackupError`], and what `progress` says.
pub(crate) fn receive(
    shelf: &Shelf,
    name: &str,
    created: &str,
    from: &mut impl Read,
    progress: &mut dyn FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<(PathBuf, Manifest)> {
    let unfinished = shelf.begin(name)?;
    let head = head(from)?;
    let layout = Layout::of(unfinished.directory());
    let mut receiving = Receiving {
        from,
        progress,
        bytes: 0,
    };
    let mut files = Vec::new();
    for place in head.outline.places() {
        files.push(receiving.file(&layout, place)?);
    }
    match next(receiving.from)? {
        Frame::End => {}
        other => return Err(unexpected(&other).into()),
    }
    backup::complete(&layout, &head.keyspace, &head.outline)?;
    for file in &files {
        quick_check(&unfinished.directory().join(&file.name))?;
    }
    files.push(entry(&layout.registry())?);
    let manifest = Manifest::new(name, created, head, files);
    let path = finish(unfinished, &manifest)?;
    Ok((path, manifest))
}

/// Gives the backup its name, once it is known to be as its manifest says.
fn finish(unfinished: Unfinished, manifest: &Manifest) -> Result<PathBuf, BackupError> {
    let directory = unfinished.directory();
    for file in &manifest.files {
        let path = directory.join(&file.name);
        settle(&path)?;
        sync(&path).map_err(BackupError::io("sync", &path))?;
    }
    check(directory, manifest)?;
    unfinished.publish(manifest)
}

/// Removes what SQLite has left beside a file, where that says nothing.
fn settle(path: &Path) -> Result<(), BackupError> {
    for suffix in BESIDE {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        let Ok(metadata) = fs::metadata(&beside) else {
            continue;
        };
        if metadata.len() > 0 && suffix != "-shm" {
            let why = "something of it has stayed beside it";
            return Err(BackupError::damaged(path, why));
        }
        fs::remove_file(&beside).map_err(BackupError::io("remove", &beside))?;
    }
    Ok(())
}

/// What comes from a node.
struct Receiving<'a, R> {
    from: &'a mut R,
    progress: &'a mut dyn FnMut(u64) -> anyhow::Result<()>,
    /// How many have come of all files.
    bytes: u64,
}

impl<R: Read> Receiving<'_, R> {
    /// Writes the file of a place, as long as it is what was announced.
    fn file(&mut self, layout: &Layout, place: &str) -> anyhow::Result<FileEntry> {
        let announced = match next(self.from)? {
            Frame::File(file) if file.place == place => file,
            other => return Err(unexpected(&other).into()),
        };
        let path = layout.shard(place);
        let failed = || BackupError::io("write", &path);
        let mut file = File::create_new(&path).map_err(failed())?;
        let mut digest = Sha256::new();
        let mut written = 0;
        let end = loop {
            let bytes = match next(self.from)? {
                Frame::Bytes(bytes) => bytes,
                Frame::FileEnd(end) => break end,
                other => return Err(unexpected(&other).into()),
            };
            digest.update(&bytes);
            file.write_all(&bytes).map_err(failed())?;
            written += bytes.len() as u64;
            self.bytes += bytes.len() as u64;
            (self.progress)(self.bytes)?;
        };
        let sha256 = hexadecimal(&digest.finalize());
        if (written, &sha256) != (announced.bytes, &end.sha256) {
            let why = "what came of it is not what was sent";
            return Err(BackupError::damaged(path, why).into());
        }
        Ok(FileEntry {
            name: file_name(&path),
            bytes: written,
            sha256,
        })
    }
}

/// Reads what the backup is of.
fn head(from: &mut impl Read) -> Result<Head, BackupError> {
    let head = match next(from)? {
        Frame::Head(head) => *head,
        other => return Err(unexpected(&other)),
    };
    if head.format != FORMAT {
        let what = format!("format {} in place of {FORMAT}", head.format);
        return Err(BackupError::Unexpected { what });
    }
    Ok(head)
}

fn next(from: &mut impl Read) -> Result<Frame, BackupError> {
    match Frame::read(from)? {
        Frame::Failed(failed) => Err(BackupError::Node {
            code: failed.code,
            message: failed.message,
        }),
        frame => Ok(frame),
    }
}

fn unexpected(frame: &Frame) -> BackupError {
    let what = match frame {
        Frame::Head(_) => "a second head".to_owned(),
        Frame::File(FileHead { place, .. }) => format!("the file of {place}"),
        Frame::Bytes(_) => "bytes of no file".to_owned(),
        Frame::FileEnd(_) => "the end of no file".to_owned(),
        Frame::End => "an end".to_owned(),
        Frame::Failed(_) => return FrameError::Unknown.into(),
    };
    BackupError::Unexpected { what }
}

/// The entry of a file that was made here.
fn entry(path: &Path) -> Result<FileEntry, BackupError> {
    settle(path)?;
    let (bytes, sha256) = super::check::digest(path)?;
    Ok(FileEntry {
        name: file_name(path),
        bytes,
        sha256,
    })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
