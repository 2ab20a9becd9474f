//! The storage of a copy alone: what a record costs beyond its write and its sync, and how long a log takes to open.

use std::{fs, hint::black_box, path::Path};

use shardwright_quorum::{
    log::{
        Storage,
        segments::{Options, Segments},
    },
    topology::ReplicaId,
};

use super::{PAYLOAD, local::Chain};
use crate::{
    bare_file::BareFile,
    harness::{Better, Suite, milliseconds},
};

/// The records of the log that is opened: about 100 MB of files.
const BATCHES: usize = 9_300;

/// The records of one batch.
const BATCH: usize = 64;

/// Measures one call with one record and with 64, and the opening.
pub(super) fn run(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    persist(suite, directory, "persist_1", 1)?;
    persist(suite, directory, "persist_64", BATCH)?;
    open(suite, &directory.join("large"))
}

/// Against a bare write and sync of the payloads. Both sides make the records, whose hashes are no matter of the storage.
fn persist(
    suite: &mut Suite,
    directory: &Path,
    case: &'static str,
    records: usize,
) -> anyhow::Result<()> {
    let copy = ReplicaId::from_bits(1);
    let mut segments = Segments::create(directory.join(case), copy, Options::default())?;
    let mut bare = BareFile::create(&directory.join("bare"))?;
    let (mut chain, mut other) = (Chain::default(), Chain::default());
    let payloads = PAYLOAD.repeat(records);
    suite.time(
        case,
        None,
        1,
        || {
            let write = chain.write(records);
            segments.persist(&[write]).expect("the disk has room");
        },
        || {
            black_box(other.write(records));
            bare.append(&payloads).expect("the disk has room");
        },
    );
    Ok(())
}

/// Against reading the same files and doing nothing with them.
fn open(suite: &mut Suite, directory: &Path) -> anyhow::Result<()> {
    let mut segments = Segments::create(directory, ReplicaId::from_bits(1), Options::default())?;
    let mut chain = Chain::default();
    for _ in 0..BATCHES {
        let mut write = chain.write(BATCH);
        write.trim = None;
        segments.persist(&[write])?;
    }
    drop(segments);
    let ours = suite.median_of(|| milliseconds(|| Segments::open(directory, Options::default())));
    let baseline = suite.median_of(|| {
        milliseconds(|| {
            let files = fs::read_dir(directory).expect("it is there");
            let bytes = files.map(|file| fs::read(file.expect("it is there").path()));
            bytes
                .map(|bytes| bytes.expect("it is read").len())
                .sum::<usize>()
        })
    });
    suite.figure("open_100mb", "ms", (None, Better::Lower), ours, baseline);
    Ok(())
}
