//! Copies in a directory of the file system.

use std::{fs, path::Path};

use expect_test::expect_file;
use shardwright_topology::Lsn;

use super::{
    super::{
        super::Storage,
        CreateError, OpenError, Options, Segments, Why, replay,
        sector::{Key, Mark, SECTOR},
    },
    script::{COPY, SMALL, Script, Step, tour},
};
use crate::log::Durable;

fn written(directory: &Path, script: &Script) -> Segments {
    let mut segments = Segments::create(directory, COPY, SMALL).expect("there is none");
    for writes in &script.calls {
        segments.persist(writes).expect("the disk has room");
    }
    segments
}

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node/shard");
    let script = tour();
    drop(written(&path, &script));
    let (_segments, kept) = Segments::open(&path, Options::default()).unwrap();
    assert_eq!(Some(&kept), script.kept.last());
}

#[test]
fn a_copy_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    for path in [directory.path(), &nowhere] {
        let error = Segments::open(path, SMALL).unwrap_err();
        assert!(matches!(error, OpenError::NoCopy(_)), "{error}");
    }
    drop(Segments::create(directory.path(), COPY, SMALL).unwrap());
    let error = Segments::create(directory.path(), COPY, SMALL).unwrap_err();
    assert!(matches!(error, CreateError::Exists(_)), "{error}");
    Segments::discard(directory.path()).unwrap();
    Segments::discard(directory.path()).unwrap();
    drop(Segments::create(directory.path(), COPY, SMALL).unwrap());
}

#[test]
fn a_copy_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let segments = written(path, &tour());
    let error = Segments::open(path, SMALL).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    let error = Segments::verify(path).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    let error = Segments::discard(path).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    drop(segments);
    Segments::open(path, SMALL).unwrap();
}

#[test]
fn segments_that_nobody_needs_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let append = vec![
        Step::Append {
            records: 1,
            bytes: 900
        };
        3
    ];
    let mut steps = vec![append; 20];
    let held = Script::of(&steps);
    let mut segments = written(directory.path(), &held);
    let files = || fs::read_dir(directory.path()).unwrap().count() - 1;
    assert_eq!(files(), 20);
    steps.push(vec![Step::Trim(58)]);
    let script = Script::of(&steps);
    segments.persist(&script.calls[20]).unwrap();
    assert_eq!(
        files(),
        2,
        "the last but one record is in the last but one segment"
    );
    drop(segments);
    let (_segments, kept) = Segments::open(directory.path(), SMALL).unwrap();
    assert_eq!(Some(&kept), script.kept.last());
    assert_eq!(kept.log.base().lsn, Lsn(58));
}

/// Two calls, the second of which takes three sectors.
fn two_calls() -> Script {
    let append = |bytes| Step::Append { records: 1, bytes };
    Script::of(&[
        vec![Step::Promise, append(10)],
        vec![append(1000), Step::Commit(1)],
    ])
}

#[test]
fn verifying_says_what_is_there_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = two_calls();
    drop(written(directory.path(), &script));
    let findings = Segments::verify(directory.path()).unwrap();
    assert_eq!(findings.last, script.kept[2].log.last());
    assert_eq!(findings.promised, script.kept[2].promised);
    assert_eq!((findings.segments[0].frames, findings.torn_bytes), (2, 0));
    // Without its first sector the last frame was never acknowledged.
    let file = directory.path().join(replay::name(1));
    let mut torn = fs::read(&file).unwrap();
    torn[2 * SECTOR..3 * SECTOR].fill(0);
    fs::write(&file, &torn).unwrap();
    let findings = Segments::verify(directory.path()).unwrap();
    assert_eq!(findings.last, script.kept[1].log.last());
    assert_eq!(findings.segments[0].file, file);
    assert_eq!(findings.torn_bytes, 3 * SECTOR as u64);
    assert_eq!(fs::read(&file).unwrap(), torn, "the file is as it was");
    let (segments, kept) = Segments::open(directory.path(), SMALL).unwrap();
    assert_eq!(kept, script.kept[1]);
    drop(segments);
    assert_eq!(Segments::verify(directory.path()).unwrap().torn_bytes, 0);
}

#[test]
fn a_damaged_copy_shows_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let script = two_calls();
    drop(written(directory.path(), &script));
    let file = directory.path().join(replay::name(1));
    let mut content = fs::read(&file).unwrap();
    content[3 * SECTOR + 77] ^= 1;
    fs::write(&file, &content).unwrap();
    let Err(OpenError::Damaged(damage)) = Segments::open(directory.path(), SMALL) else {
        panic!("it is damaged");
    };
    assert_eq!((&damage.file, damage.why), (&file, Why::Content));
    assert_eq!(damage.offset, 3 * SECTOR as u64);
    let left = Durable {
        clean: false,
        ..script.kept[1].clone()
    };
    assert_eq!(damage.left, Some(left));
    assert_eq!(fs::read(&file).unwrap(), content, "the file is as it was");
    Segments::discard(directory.path()).unwrap();
    assert!(!file.exists());
}

#[test]
fn another_version_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    drop(written(directory.path(), &two_calls()));
    let file = directory.path().join(replay::name(1));
    let mut content = fs::read(&file).unwrap();
    content[4..8].copy_from_slice(&2_u32.to_le_bytes());
    Key::default().close(&mut content[..SECTOR], Mark::Segment, 0, 0);
    fs::write(&file, &content).unwrap();
    let error = Segments::open(directory.path(), SMALL).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("00001.log has version 2 of the format, and this release reads 1"),
        "{error}"
    );
}

/// The sectors of a file that hold something, in hexadecimal.
fn hexadecimal(content: &[u8]) -> String {
    let lines = content.chunks(32).map(|line| {
        let digits: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.trim_end_matches("00").to_owned() + "\n"
    });
    let text: String = lines.collect();
    text.trim_end().to_owned() + "\n"
}

fn bytes_of(text: &str) -> Vec<u8> {
    let line = |line: &str| {
        let digits = format!("{line:0<64}");
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..64).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let mut bytes: Vec<u8> = text.lines().flat_map(line).collect();
    bytes.resize(bytes.len().next_multiple_of(SECTOR) + SECTOR, 0);
    bytes
}

#[test]
fn the_format_is_what_the_first_release_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let script = two_calls();
    drop(written(directory.path(), &script));
    let file = directory.path().join(replay::name(1));
    let content = fs::read(&file).unwrap();
    expect_file!["golden.hex"].assert_eq(&hexadecimal(&content));
    fs::write(&file, bytes_of(include_str!("golden.hex"))).unwrap();
    let (_segments, kept) = Segments::open(directory.path(), SMALL).unwrap();
    assert_eq!(kept, script.kept[2]);
}
