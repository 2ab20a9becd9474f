//! What a backup says of itself.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shardwright_server::backup::Head;
use shardwright_sql::backup::Extent;

use super::BackupError;

/// The version of the form of a backup.
pub(super) const FORMAT: u32 = 1;

/// The name of the file.
pub(super) const MANIFEST: &str = "manifest.json";

/// What a backup is of, and what belongs to it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of its form.
    pub(crate) format: u32,
    pub(crate) name: String,
    /// When it was asked for, by the clock of whoever did.
    pub(crate) created: String,
    /// The release of the node that has sent it.
    pub(crate) release: String,
    pub(crate) keyspace: String,
    /// The number of the last change that reached every shard, such as one of the schema.
    pub(crate) schema: u64,
    /// The shards and what they own.
    pub(crate) shards: Vec<Extent>,
    /// Up to where in the history of each shard it reaches: epoch and number.
    pub(crate) points: BTreeMap<String, (u64, u64)>,
    pub(crate) files: Vec<FileEntry>,
    /// The SHA-256 of all of that.
    sha256: String,
}

/// A file of a backup.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    pub(super) fn new(name: &str, created: &str, head: Head, files: Vec<FileEntry>) -> Self {
        let mut manifest = Self {
            format: FORMAT,
            name: name.to_owned(),
            created: created.to_owned(),
            release: head.release,
            keyspace: head.keyspace,
            schema: head.outline.number,
            shards: head.outline.shards,
            points: head.points,
            files,
            sha256: String::new(),
        };
        manifest.sha256 = manifest.digest();
        manifest
    }

    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// [`BackupError::Absent`] without one, [`BackupError::UnknownFormat`], and [`BackupError::Damaged`] if it is not as it was written.
    pub(crate) fn read(backup: &Path) -> Result<Self, BackupError> {
        let path = backup.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = backup.to_owned();
                return Err(BackupError::Absent { path });
            }
            Err(error) => return Err(BackupError::io("read", path)(error)),
        };
        let malformed = |error: serde_json::Error| BackupError::damaged(&path, error.to_string());
        let any: serde_json::Value = serde_json::from_slice(&text).map_err(malformed)?;
        let found = any.get("format").and_then(serde_json::Value::as_u64);
        if let Some(found) = found.and_then(|found| u32::try_from(found).ok())
            && found != FORMAT
        {
            return Err(BackupError::UnknownFormat {
                path,
                found,
                supported: FORMAT,
            });
        }
        let manifest: Self = serde_json::from_value(any).map_err(malformed)?;
        let is_plain = |name: &str| {
            Path::new(name)
                .file_name()
                .is_some_and(|last| *last == *name)
        };
        if let Some(file) = manifest.files.iter().find(|file| !is_plain(&file.name)) {
            let why = format!("it names a file elsewhere, {:?}", file.name);
            return Err(BackupError::damaged(path, why));
        }
        if manifest.sha256 != manifest.digest() {
            let why = "its digest is that of another one";
            return Err(BackupError::damaged(path, why));
        }
        Ok(manifest)
    }

    /// Its text.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("all of it is JSON");
        text.push(b'\n');
        text
    }

    /// How many bytes its files have.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn digest(&self) -> String {
        let without = Self {
            sha256: String::new(),
            ..self.clone()
        };
        let text = serde_json::to_vec(&without).expect("all of it is JSON");
        hexadecimal(&Sha256::digest(text))
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
