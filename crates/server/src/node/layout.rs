//! Where a node keeps what.
//!
//! ```text
//! DIRECTORY/
//!   LOCK                      held by the process that runs the node
//!   NODE                      the name of the node whose directory this is
//!   shards/KEYSPACE/SHARD/    the copy of a shard
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use shardwright_coordinator::rebalancer::PartitionId;
use shardwright_topology::{KeyspaceName, NodeId, ShardId};

use super::deletion::end_removals;

/// The directory of a node, which is this process's as long as this lives.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    _lock: File,
}

/// Why a directory cannot be that of a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Another process runs a node there.
    #[error("another process uses the directory {}: stop it, or give another directory", .0.display())]
    InUse(PathBuf),
    /// It is the directory of another node.
    #[error("the directory {} belongs to the node {owner:?}: give that name, or another directory", .directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// It cannot be read or written.
    #[error("use the directory {}", .directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Layout {
    /// Takes the directory, which is made if it is not there.
    pub(super) fn open(root: &Path, node: &NodeId) -> Result<Self, LayoutError> {
        let failed = |source| LayoutError::Io {
            directory: root.to_owned(),
            source,
        };
        fs::create_dir_all(root.join("shards")).map_err(failed)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true);
        let lock = lock.open(root.join("LOCK")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LayoutError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let name = root.join("NODE");
        match fs::read_to_string(&name) {
            Ok(owner) if owner.trim() != node.as_str() => Err(LayoutError::Foreign {
                directory: root.to_owned(),
                owner: owner.trim().to_owned(),
            }),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&name, format!("{node}\n")).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// Returns where the copy of a shard is.
    pub(super) fn copy(&self, shard: &PartitionId) -> PathBuf {
        let keyspace = self.shards().join(shard.keyspace.as_str());
        keyspace.join(shard.shard.as_str())
    }

    /// Returns the shards that there are copies of.
    pub(super) fn copies(&self) -> Result<Vec<PartitionId>, LayoutError> {
        let failed = |source| LayoutError::Io {
            directory: self.shards(),
            source,
        };
        let mut copies = Vec::new();
        for keyspace in names(&self.shards()).map_err(failed)? {
            let Ok(name) = KeyspaceName::new(&keyspace) else {
                continue;
            };
            let keyspace = self.shards().join(&keyspace);
            end_removals(&keyspace).map_err(failed)?;
            let shards = names(&keyspace).map_err(failed)?;
            let shards = shards.iter().filter_map(|shard| ShardId::new(shard).ok());
            copies.extend(shards.map(|shard| PartitionId::new(name.clone(), shard)));
        }
        copies.sort_unstable();
        Ok(copies)
    }

    fn shards(&self) -> PathBuf {
        self.root.join("shards")
    }
}

/// The names of the directories in a directory.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_node_and_one_process() -> Result<(), LayoutError> {
        let directory = tempfile::tempdir().expect("a directory");
        let [one, two] = ["n1", "n2"].map(|name| NodeId::new(name).expect("a name"));
        let layout = Layout::open(directory.path(), &one)?;
        let again = Layout::open(directory.path(), &one);
        assert!(matches!(again, Err(LayoutError::InUse(_))), "{again:?}");
        drop(layout);
        let foreign = Layout::open(directory.path(), &two);
        assert!(matches!(foreign, Err(LayoutError::Foreign { owner, .. }) if owner == "n1"));
        Layout::open(directory.path(), &one).map(drop)
    }

    #[test]
    fn what_is_half_removed_is_no_copy_and_goes() -> Result<(), LayoutError> {
        let directory = tempfile::tempdir().expect("a directory");
        let node = NodeId::new("n1").expect("a name");
        let layout = Layout::open(directory.path(), &node)?;
        let shard = PartitionId::from(ShardId::numbered(3));
        let copy = layout.copy(&shard);
        fs::create_dir_all(&copy).expect("room");
        let gone = copy.with_file_name(".deleted-shard-4");
        fs::create_dir(&gone).expect("room");
        assert_eq!(layout.copies()?, [shard]);
        assert!(!gone.exists());
        crate::node::deletion::remove(&copy, &shardwright_topology::Halts::default())
            .expect("it is there");
        assert_eq!(layout.copies()?, []);
        Ok(())
    }
}
