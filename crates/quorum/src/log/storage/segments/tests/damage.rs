//! Damage is never taken for absence.

use shardwright_topology::ReplicaId;

use super::{
    super::{
        damage::Why,
        journal::Journal,
        replay::{self, NotRead},
        sector::SECTOR,
    },
    fake::Fake,
    script::{COPY, SMALL, Script, Step, tour},
};
use crate::log::Durable;

/// A disk with a copy, and what it keeps.
fn written(script: &Script, copy: ReplicaId) -> (Fake, Durable) {
    let disk = Fake::new(0);
    let journal = Journal::create(disk.clone(), Durable::new(copy), SMALL);
    let mut journal = journal.expect("nothing fails");
    for writes in &script.calls {
        journal.persist(writes).expect("nothing fails");
    }
    let kept = journal.kept().clone();
    (disk, kept)
}

/// Calls that fill three segments and part of a fourth one.
fn script() -> Script {
    let append = |bytes| Step::Append { records: 1, bytes };
    let script = Script::of(&[
        vec![Step::Promise, append(100)],
        vec![append(600)],
        vec![Step::Commit(0)],
        vec![Step::Replace {
            back: 1,
            bytes: 900,
        }],
        vec![append(0)],
        vec![Step::Trim(1), append(700)],
        vec![append(500)],
    ]);
    let (disk, _) = written(&script, COPY);
    assert_eq!(names(&disk).len(), 3, "the test is about several segments");
    script
}

fn names(disk: &Fake) -> Vec<String> {
    let numbers = replay::list(disk).expect("nothing fails");
    numbers.into_iter().map(replay::name).collect()
}

/// Reads a damaged copy: `None` if the damage is noticed, else what was read. What is left is something that was kept once.
#[track_caller]
fn read(disk: &Fake, script: &Script) -> Option<Durable> {
    match replay::read(disk) {
        Ok(replay) => Some(replay.kept),
        Err(NotRead::Damaged(_, _, _, left)) => {
            if let Some(left) = left {
                assert!(!left.clean, "what is left says so");
                let whole = Durable {
                    clean: true,
                    ..*left
                };
                assert!(script.kept.contains(&whole), "what is left was kept once");
            }
            None
        }
        Err(other) => panic!("it is damage, and no {other:?}"),
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let script = script();
    let (disk, kept) = written(&script, COPY);
    let (mut noticed, mut harmless) = (0, 0);
    for name in names(&disk) {
        let content = disk.content(&name);
        for bit in 0..content.len() * 8 {
            let mut damaged = content.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            disk.put(&name, damaged);
            match read(&disk, &script) {
                None => noticed += 1,
                Some(read) => {
                    assert_eq!(read, kept, "bit {bit} of {name} lost something");
                    harmless += 1;
                }
            }
        }
        disk.put(&name, content);
    }
    assert!(
        noticed > 10 * harmless,
        "only what is not used is harmless: {harmless} of {noticed}"
    );
}

#[test]
fn a_file_that_was_cut_off_is_noticed_or_whole() {
    let script = script();
    let (disk, kept) = written(&script, COPY);
    for name in names(&disk) {
        let content = disk.content(&name);
        for length in 0..content.len() {
            disk.put(&name, content[..length].to_vec());
            if let Some(read) = read(&disk, &script) {
                assert_eq!(read, kept, "{name} of {length} bytes lost something");
            }
        }
        disk.put(&name, content);
    }
}

#[test]
fn a_sector_of_zeros_is_noticed_unless_it_is_of_the_very_last_frame() {
    let script = script();
    let (disk, kept) = written(&script, COPY);
    let before = script.kept.iter().rev().nth(1).cloned();
    let names = names(&disk);
    for (number, name) in names.iter().enumerate() {
        let content = disk.content(name);
        let end = content
            .chunks(SECTOR)
            .rposition(|sector| sector != [0; SECTOR]);
        // The last call took so many sectors.
        let last = end.expect("it is written") + 1 - 2;
        for sector in 0..content.len() / SECTOR {
            let mut damaged = content.clone();
            damaged[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            disk.put(name, damaged);
            let read = read(&disk, &script);
            let is_last = number + 1 == names.len() && sector >= last;
            let is_possible = read.is_none() || read.as_ref() == Some(&kept);
            assert!(
                is_possible || (is_last && read == before),
                "sector {sector} of {name}"
            );
        }
        disk.put(name, content);
    }
}

#[test]
fn a_file_that_is_missing_is_noticed() {
    let script = script();
    let (disk, _) = written(&script, COPY);
    for name in names(&disk) {
        let content = disk.content(&name);
        disk.lose(&name);
        let error = replay::read(&disk);
        let is_missing = matches!(error, Err(NotRead::Damaged(_, _, Why::Missing, Some(_))));
        assert!(is_missing, "without {name}: {error:?}");
        disk.put(&name, content);
    }
}

#[test]
fn a_file_of_another_copy_is_noticed() {
    let script = script();
    let (disk, _) = written(&script, COPY);
    let (other, _) = written(&script, ReplicaId::from_bits(8));
    for (number, name) in names(&disk).into_iter().enumerate() {
        let content = disk.content(&name);
        disk.put(&name, other.content(&name));
        let error = replay::read(&disk);
        assert!(
            matches!(error, Err(NotRead::Damaged(..))),
            "segment {number}: {error:?}"
        );
        disk.put(&name, content);
    }
}

#[test]
fn an_older_state_of_a_file_is_noticed_unless_it_is_the_last_file() {
    let script = script();
    let (disk, kept) = written(&script, COPY);
    let newest = names(&disk).pop();
    for calls in 1..script.calls.len() {
        let fewer = Script {
            calls: script.calls[..calls].to_vec(),
            kept: script.kept.clone(),
        };
        let (older, _) = written(&fewer, COPY);
        for name in names(&older) {
            let (now, then) = (disk.content(&name), older.content(&name));
            if now == then || Some(&name) == newest.as_ref() {
                continue;
            }
            disk.put(&name, then);
            // Only what says that another segment follows may be missing without harm.
            let read = read(&disk, &script).filter(|read| *read != kept);
            assert_eq!(read, None, "{name} after {calls} calls");
            disk.put(&name, now);
        }
    }
}

#[test]
fn the_oldest_file_may_be_gone_only_if_it_is_not_needed() {
    let script = tour();
    let (disk, kept) = written(&script, COPY);
    let names = names(&disk);
    assert!(names[0] != replay::name(1), "older segments were removed");
    assert_eq!(replay::read(&disk).expect("it is whole").kept, kept);
}
