//! A copy that is kept in a directory.
//!
//! ```text
//! DIRECTORY/
//!   copy/             the copy in use
//!     log/            its log, in segments
//!     data/           its data, the affair of the state machine
//!     snapshot        a snapshot of another copy on its way to be the data
//!   aside-NUMBER/     a copy that was set aside; people may remove it once nobody needs to look at it
//! ```

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use shardwright_topology::ReplicaId;

use super::{Home, OpenError, Opened};
use crate::log::{
    Durable, StateError, StateMachine,
    segments::{self, CreateError, Options, Segments},
};

/// How much room there has to be when a copy is opened.
const ROOM: usize = 1 << 20;

/// Keeps a copy in a directory: its log in segments, its data as a function opens it.
pub struct InDirectory<F> {
    directory: PathBuf,
    copy: PathBuf,
    options: Options,
    open_data: F,
}

impl<F, S> InDirectory<F>
where
    F: FnMut(&Path) -> Result<S, StateError> + Send + 'static,
    S: StateMachine,
{
    /// Keeps a copy in `directory`, which is made when it is needed, and its data in the directory that `open_data` is given, which
    /// exists and is empty for a new copy.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, options: Options, open_data: F) -> Self {
        let directory = directory.into();
        Self {
            copy: directory.join("copy"),
            directory,
            options,
            open_data,
        }
    }

    fn open_log(&self, fresh: ReplicaId) -> Result<(Segments, Durable), OpenError> {
        let log = self.copy.join("log");
        match Segments::open(&log, self.options) {
            Err(segments::OpenError::NoCopy(_)) => {
                let created = Segments::create(&log, fresh, self.options);
                Ok((created.map_err(not_created)?, Durable::new(fresh)))
            }
            opened => opened.map_err(not_opened),
        }
    }

    /// Returns a directory for one more copy that is set aside.
    fn next_aside(&self) -> PathBuf {
        let mut names = (1_u64..).map(|number| self.directory.join(format!("aside-{number}")));
        let free = names.find(|path| !path.exists());
        free.unwrap_or_else(|| self.directory.join("aside"))
    }
}

impl<F, S> Home for InDirectory<F>
where
    F: FnMut(&Path) -> Result<S, StateError> + Send + 'static,
    S: StateMachine,
{
    type State = S;

    fn open(&mut self, fresh: ReplicaId) -> Result<Opened<S>, OpenError> {
        let data = self.copy.join("data");
        fs::create_dir_all(&data).map_err(of_io)?;
        has_room(&self.copy).map_err(of_io)?;
        let (storage, durable) = self.open_log(fresh)?;
        let state = (self.open_data)(&data)?;
        Ok(Opened {
            storage: Box::new(storage),
            durable,
            state,
        })
    }

    fn set_aside(&mut self) -> Result<Option<Durable>, OpenError> {
        let left = match Segments::open(self.copy.join("log"), self.options) {
            Ok((_, durable)) => Some(durable),
            Err(segments::OpenError::Damaged(damage)) => damage.left,
            Err(segments::OpenError::Locked(path)) => {
                return Err(not_opened(segments::OpenError::Locked(path)));
            }
            Err(_) => None,
        };
        if self.copy.exists() {
            fs::rename(&self.copy, self.next_aside()).map_err(of_io)?;
            sync(&self.directory).map_err(of_io)?;
        }
        Ok(left.map(|durable| Durable {
            clean: false,
            ..durable
        }))
    }

    fn directory(&self) -> &Path {
        &self.copy
    }
}

impl<F> fmt::Debug for InDirectory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InDirectory")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Finds out whether something can be written.
fn has_room(directory: &Path) -> io::Result<()> {
    let path = directory.join("room");
    let tried = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    tried.and(removed)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn of_io(error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::NoRoom(error),
        _ => OpenError::Failed(error.into()),
    }
}

fn not_opened(error: segments::OpenError) -> OpenError {
    match error {
        segments::OpenError::Io { source, .. } => of_io(source),
        segments::OpenError::Damaged(damage) => OpenError::Damaged(damage),
        error => OpenError::Failed(error.into()),
    }
}

fn not_created(error: CreateError) -> OpenError {
    match error {
        CreateError::Io { source, .. } => of_io(source),
        error => OpenError::Failed(error.into()),
    }
}
