//! The directory of a cluster in one process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use shardwright_topology::NodeId;

use crate::failure::Failure;

/// How many nodes a new cluster has.
const NODES: u32 = 3;

/// A directory with a registry and one directory for each node.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    nodes: u32,
}

impl Home {
    /// Opens the directory, or makes it, for so many nodes; for those that it has, unless said.
    ///
    /// # Errors
    /// When it cannot be made, or has more nodes.
    pub(super) fn open(path: PathBuf, nodes: Option<u32>) -> anyhow::Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let mut home = Self { path, nodes: 0 };
        while home.directory(home.nodes + 1).is_dir() {
            home.nodes += 1;
        }
        let there = home.nodes;
        let usual = if there == 0 { NODES } else { there };
        let asked = nodes.unwrap_or(usual);
        if asked < there {
            let directory = home.path;
            return Err(Failure::FewerNodes {
                directory,
                there,
                asked,
            }
            .into());
        }
        home.nodes = asked;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the registry is.
    pub(super) fn registry(&self) -> PathBuf {
        self.path.join("registry.db")
    }

    /// The nodes, each with its directory.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, PathBuf)> {
        let numbers = 1..=self.nodes;
        numbers.map(|number| (name(number), self.directory(number)))
    }

    fn directory(&self, number: u32) -> PathBuf {
        self.path.join(name(number).as_str())
    }
}

fn name(number: u32) -> NodeId {
    NodeId::new(format!("n{number}")).expect("a letter and a number are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_of_a_directory_are_run_again_and_never_fewer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trial");
        let open = |nodes| Home::open(path.clone(), nodes);
        let home = open(None).unwrap();
        assert_eq!(home.nodes, NODES);
        assert_eq!(open(Some(5)).unwrap().nodes, 5);
        for (_, directory) in open(Some(4)).unwrap().nodes() {
            fs::create_dir(directory).unwrap();
        }
        assert_eq!(open(None).unwrap().nodes, 4);
        assert_eq!(open(Some(6)).unwrap().nodes().count(), 6);
        let refused = open(Some(3)).unwrap_err();
        assert!(refused.to_string().ends_with("4 nodes, and 3 are to run"));
    }
}
