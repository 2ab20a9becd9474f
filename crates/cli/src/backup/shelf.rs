//! A directory of backups.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{BackupError, Manifest, manifest::MANIFEST};

/// What the name of a directory ends with whose backup is not complete.
const UNFINISHED: &str = ".unfinished";

/// A directory of backups.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(PathBuf);

/// What is in it under a name.
#[derive(Clone, Debug)]
pub(crate) struct Shelved {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) standing: Standing,
}

/// Whether it can be restored, as far as its manifest says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    Complete(Box<Manifest>),
    /// It is being made, or was interrupted.
    Unfinished,
    /// Its manifest cannot be used.
    Unreadable(String),
}

impl Shelf {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the backup of a name is, or is to be.
    ///
    /// # Errors
    /// [`BackupError::BadName`].
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf, BackupError> {
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let is_name = !name.is_empty()
            && name.len() <= 200
            && name.chars().all(is_fine)
            && !name.starts_with('.')
            && !name.ends_with(UNFINISHED);
        match is_name {
            true => Ok(self.0.join(name)),
            false => Err(BackupError::BadName {
                name: name.to_owned(),
            }),
        }
    }

    /// What is there, the oldest complete one first, and then what is not complete.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Shelved>, BackupError> {
        let failed = || BackupError::io("read the directory", &self.0);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let path = entry.path();
            if let Ok(name) = entry.file_name().into_string()
                && path.is_dir()
                && let Some(standing) = standing(&name, &path)
            {
                found.push(Shelved {
                    name,
                    path,
                    standing,
                });
            }
        }
        found.sort_by_key(|shelved| {
            let created = match &shelved.standing {
                Standing::Complete(manifest) => manifest.created.clone(),
                Standing::Unfinished | Standing::Unreadable(_) => "~".to_owned(),
            };
            (created, shelved.name.clone())
        });
        Ok(found)
    }

    /// The newest complete one.
    ///
    /// # Errors
    /// [`BackupError::Nothing`], or when the directory cannot be read.
    pub(crate) fn latest(&self) -> Result<PathBuf, BackupError> {
        let complete = self.list()?.into_iter();
        let complete = complete.filter(|shelved| matches!(shelved.standing, Standing::Complete(_)));
        let path = self.0.clone();
        let latest = complete.last().map(|shelved| shelved.path);
        latest.ok_or(BackupError::Nothing { path })
    }

    /// Begins a backup.
    ///
    /// # Errors
    /// [`BackupError::Exists`] if there is one of that name, also one that is not complete.
    pub(super) fn begin(&self, name: &str) -> Result<Unfinished, BackupError> {
        let path = self.place(name)?;
        fs::create_dir_all(&self.0).map_err(BackupError::io("make the directory", &self.0))?;
        let unfinished = self.0.join(format!("{name}{UNFINISHED}"));
        if path.exists() {
            return Err(BackupError::Exists { path });
        }
        match fs::create_dir(&unfinished) {
            Ok(()) => Ok(Unfinished {
                directory: Some(unfinished),
                path,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Exists { path: unfinished })
            }
            Err(error) => Err(BackupError::io("make the directory", unfinished)(error)),
        }
    }
}

impl Shelved {
    /// Removes it. It is not complete any more as soon as that begins.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), BackupError> {
        let manifest = self.path.join(MANIFEST);
        match fs::remove_file(&manifest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BackupError::io("remove", manifest)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let removed = fs::remove_dir_all(&self.path);
        removed.map_err(BackupError::io("remove", &self.path))
    }
}

fn standing(name: &str, path: &Path) -> Option<Standing> {
    if name.ends_with(UNFINISHED) {
        return Some(Standing::Unfinished);
    }
    match Manifest::read(path) {
        Ok(manifest) => Some(Standing::Complete(Box::new(manifest))),
        // Something else, or one whose removal was interrupted.
        Err(BackupError::Absent { .. }) => {
            let is_left = path.join("catalog.db").exists();
            is_left.then_some(Standing::Unfinished)
        }
        Err(error) => Some(Standing::Unreadable(error.to_string())),
    }
}

/// A backup that is being made. What there is of it goes with this, unless it is complete.
#[derive(Debug)]
pub(super) struct Unfinished {
    directory: Option<PathBuf>,
    path: PathBuf,
}

impl Unfinished {
    pub(super) fn directory(&self) -> &Path {
        self.directory.as_deref().unwrap_or(&self.path)
    }

    /// Gives it its name: everything is there.
    pub(super) fn publish(mut self, manifest: &Manifest) -> Result<PathBuf, BackupError> {
        let directory = self.directory().to_owned();
        let file = directory.join(MANIFEST);
        let written = fs::write(&file, manifest.text()).and_then(|()| sync(&file));
        written.map_err(BackupError::io("write", &file))?;
        sync(&directory).map_err(BackupError::io("sync", &directory))?;
        fs::rename(&directory, &self.path).map_err(BackupError::io("rename", &directory))?;
        self.directory = None;
        let parent = self.path.parent().unwrap_or(Path::new("."));
        sync(parent).map_err(BackupError::io("sync", parent))?;
        Ok(self.path.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // What stays is listed as what it is.
            let _removed = fs::remove_dir_all(directory);
        }
    }
}

/// Has what is at a path on the disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() && !cfg!(unix) {
        return Ok(());
    }
    File::open(path)?.sync_all()
}
