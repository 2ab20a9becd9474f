//! What is on the disks at the end: every copy of a shard holds the same.

use std::{collections::BTreeMap, fs, path::Path};

use shardwright::store::{Config, Scrub, Scrubbed, ShardFile};

/// How many rows are read at a time.
const SLICE: u64 = 10_000;

/// What each shard of a node holds.
pub(super) type Contents = BTreeMap<String, Scrubbed>;

/// Returns what each shard holds that a node has a copy of. The node's process has ended.
pub(super) fn contents(directory: &Path) -> Contents {
    let shards = fs::read_dir(directory.join("shards/main")).expect("list the shards of a node");
    let shards = shards.map(|entry| {
        let entry = entry.expect("list the shards of a node");
        let name = entry.file_name().into_string().expect("a name of ours");
        (name, content(&entry.path().join("copy/data")))
    });
    shards.collect()
}

fn content(directory: &Path) -> Scrubbed {
    let files = fs::read_dir(directory).expect("list the files of a copy");
    let mut paths = files.map(|entry| entry.expect("list the files of a copy").path());
    let path = paths.find(|path| path.extension().is_some_and(|extension| extension == "db"));
    let path = path.expect("a copy has a file");
    let file = ShardFile::open(path, &Config::default()).expect("open a copy");
    let snapshot = file.snapshot().expect("read a copy");
    let mut scrub = Scrub::new(snapshot).expect("it is a copy of a shard");
    loop {
        if let Some(scrubbed) = scrub.slice(SLICE).expect("read a copy") {
            return scrubbed;
        }
    }
}
