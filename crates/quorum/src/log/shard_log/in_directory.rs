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
    Durable, StateError, StateMachine, directory,
    segments::{self, CreateError, Options, Segments},
};

/// How much room there has to be when a copy is opened.
const ROOM: usize = 1 << 20;

/// Keeps a copy in a directory: its log in segments, its data as a function opens it.
pub struct InDirectory<F> {
    root: PathBuf,
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
        let root = directory.into();
        Self {
            copy: root.join("copy"),
            root,
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
        let mut names = (1_u64..).map(|number| self.root.join(format!("aside-{number}")));
        let free = names.find(|path| !path.exists());
        free.unwrap_or_else(|| self.root.join("aside"))
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
        fs::create_dir_all(&data).map_err(OpenError::from)?;
        has_room(&self.copy).map_err(OpenError::from)?;
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
            fs::rename(&self.copy, self.next_aside()).map_err(OpenError::from)?;
            directory::sync(&self.root).map_err(OpenError::from)?;
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
            .field("root", &self.root)
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

fn not_opened(error: segments::OpenError) -> OpenError {
    match error {
        segments::OpenError::Io { source, .. } => source.into(),
        segments::OpenError::Damaged(damage) => OpenError::Damaged(damage),
        error => OpenError::Failed(error.into()),
    }
}

fn not_created(error: CreateError) -> OpenError {
    match error {
        CreateError::Io { source, .. } => source.into(),
        error => OpenError::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Arc};

    use shardwright_topology::{ConfigId, Epoch};

    use super::*;
    use crate::log::{Ballot, Point, Record, Snapshot};

    /// Data that is never changed.
    #[derive(Debug)]
    struct Nothing;

    impl StateMachine for Nothing {
        fn applied(&self) -> Point {
            Point::default()
        }

        fn apply(&mut self, _: &[Arc<Record>]) -> Result<(), StateError> {
            Ok(())
        }

        fn snapshot(&mut self) -> Result<Snapshot, StateError> {
            let (base, content) = (Point::default(), Box::new(io::empty()));
            Ok(Snapshot { base, content })
        }

        fn install(&mut self, _: Point, _: &mut dyn Read) -> Result<(), StateError> {
            Ok(())
        }
    }

    #[test]
    fn a_damaged_copy_is_set_aside_and_what_is_left_of_it_is_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options::default();
        let mut home = InDirectory::new(directory.path(), options, |path: &Path| {
            assert!(path.is_dir());
            Ok(Nothing)
        });
        let (first, second) = (ReplicaId::from_bits(1), ReplicaId::from_bits(2));
        let mut opened = home.open(first).expect("a new copy");
        let promised = |epoch| Ballot {
            epoch: Epoch(epoch),
            config_id: ConfigId::from_bits(1),
        };
        for epoch in [1, 2] {
            let write = crate::log::Write {
                promised: Some(promised(epoch)),
                ..crate::log::Write::default()
            };
            opened.storage.persist(&[write]).expect("room");
        }
        drop(opened);
        let opened = home.open(second).expect("it is whole");
        let kept = (opened.durable.replica_id, opened.durable.promised);
        assert_eq!(kept, (first, Some(promised(2))));
        drop(opened);
        damage(&directory.path().join("copy/log"));
        let damaged = home.open(second);
        assert!(matches!(damaged, Err(OpenError::Damaged(_))), "{damaged:?}");
        let left = home.set_aside().expect("it can be put away");
        let left = left.expect("its begin can be read");
        assert_eq!((left.replica_id, left.clean), (first, false));
        assert!(directory.path().join("aside-1/log").is_dir());
        let opened = home.open(second).expect("a new copy");
        assert_eq!(opened.durable, Durable::new(second));
    }

    /// Flips a bit in the middle of what was written last.
    fn damage(log: &Path) {
        let files = fs::read_dir(log).expect("a directory");
        let mut paths = files.map(|file| file.expect("a file").path());
        let path = paths.find(|path| path.extension().is_some_and(|end| end == "log"));
        let path = path.expect("a segment");
        let mut bytes = fs::read(&path).expect("a file");
        let last = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .expect("something");
        bytes[last] ^= 1;
        fs::write(&path, bytes).expect("room");
    }
}
