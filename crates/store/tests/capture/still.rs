//! Files that are read in the state of a snapshot, without a copy.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::PathBuf,
};

use proptest::{collection, prelude::*};
use shardwright_store::{Checkpoint, FileBytes, ShardFile, Snapshot};

use crate::pair::{Pair, config, digest, statements};

fn filled(rows: u32) -> Pair {
    Pair::after(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a)",
        &format!(
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, hex(randomblob(800)) FROM n"
        ),
    ])
}

fn write(pair: &mut Pair) {
    let next = pair.next();
    let mut writer = pair.primary.writer().unwrap();
    let sql = ["UPDATE t SET a = a || 'x' WHERE id % 7 = 0"];
    writer.execute_batch(&mut [statements(&sql)]).unwrap();
    writer.commit_at(next, &[]).unwrap();
    pair.applied = next;
}

fn checkpoint(pair: &Pair, mode: Checkpoint) {
    pair.primary.checkpoint(mode).unwrap();
}

fn bytes(snapshot: Snapshot) -> Option<FileBytes> {
    snapshot.bytes().ok()
}

fn received(pair: &Pair) -> PathBuf {
    pair.directory.path().join("received.db")
}

/// Puts what was received into use.
fn install(pair: &Pair) -> ShardFile {
    let path = pair.directory.path().join("third.db");
    ShardFile::install(received(pair), path, &[9; 16], &config()).unwrap()
}

#[test]
fn a_file_is_read_as_it_was_while_the_writer_goes_on() {
    let mut pair = filled(5_000);
    let moment = digest(&pair.primary);
    let mut bytes = bytes(pair.primary.snapshot().unwrap()).expect("nobody else reads");
    let mut file = File::create(received(&pair)).unwrap();
    let mut part = vec![0; 100_000];
    let mut parts = 0;
    loop {
        let count = bytes.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        file.write_all(&part[..count]).unwrap();
        parts += 1;
        if parts % 8 == 0 {
            write(&mut pair);
            checkpoint(&pair, Checkpoint::Passive);
        }
    }
    drop((bytes, file));
    assert!(parts > 20, "the file is too small for this test");
    assert_eq!(digest(&install(&pair)), moment);
    // What was kept from moving moves now.
    checkpoint(&pair, Checkpoint::Truncate);
}

#[test]
fn what_an_older_snapshot_keeps_from_moving_is_not_in_the_file() {
    let mut pair = filled(100);
    let older = pair.primary.snapshot().unwrap();
    write(&mut pair);
    assert!(bytes(pair.primary.snapshot().unwrap()).is_none());
    drop(older);
    assert!(bytes(pair.primary.snapshot().unwrap()).is_some());
}

/// What happens to a file meanwhile.
#[derive(Clone, Copy, Debug)]
enum Event {
    Write,
    Checkpoint,
    /// Somebody begins to read.
    Read,
    /// All who read end.
    End,
}

fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Write),
        3 => Just(Event::Checkpoint),
        1 => Just(Event::Read),
        2 => Just(Event::End),
    ];
    collection::vec(event, 0..=most)
}

#[derive(Default)]
struct Others(Vec<Snapshot>);

impl Others {
    fn happen(&mut self, pair: &mut Pair, events: &[Event]) {
        for event in events {
            match event {
                Event::Write => write(pair),
                Event::Checkpoint => checkpoint(pair, Checkpoint::Passive),
                Event::Read => self.0.push(pair.primary.snapshot().unwrap()),
                Event::End => self.0.clear(),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_is_read_is_the_state_of_the_snapshot(
        [before, begun, read] in [events(6), events(1), events(3)],
    ) {
        let (mut pair, mut others) = (filled(200), Others::default());
        others.happen(&mut pair, &before);
        let moment = digest(&pair.primary);
        let snapshot = pair.primary.snapshot().unwrap();
        others.happen(&mut pair, &begun);
        if let Some(mut bytes) = bytes(snapshot) {
            others.happen(&mut pair, &read);
            let mut content = Vec::new();
            bytes.read_to_end(&mut content).unwrap();
            drop(bytes);
            fs::write(received(&pair), content).unwrap();
            prop_assert_eq!(digest(&install(&pair)), moment);
        }
    }
}
