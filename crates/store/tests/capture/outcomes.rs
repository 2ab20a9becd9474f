//! Outcomes of requests: known, new or expired, the same on each copy.

use shardwright_store::{ChangeSet, Entry, Error, ReplicaError, Seen, ShardFile, Window};

use crate::pair::{Pair, digest, statements};

/// What the ids of streams begin with.
const STREAM: u8 = 255;

fn client(number: u8) -> [u8; 16] {
    let mut client = [number; 16];
    if number == STREAM {
        // Not a name.
        client[1] = 1;
    }
    client
}

/// Commits a batch with the outcomes of these requests, on both files.
fn commit(pair: &mut Pair, requests: &[(u8, u64)]) {
    let outcomes: Vec<_> = requests
        .iter()
        .map(|request| format!("{request:?}"))
        .collect();
    let entries: Vec<_> = requests
        .iter()
        .zip(&outcomes)
        .map(|(&(number, sequence), outcome)| Entry {
            client: client(number),
            sequence,
            outcome: outcome.as_bytes(),
        })
        .collect();
    let next = pair.next();
    let mut writer = pair.primary.writer().unwrap();
    let captured = writer
        .execute_batch(&mut [statements(&["INSERT INTO t VALUES (NULL)"])])
        .unwrap();
    writer.commit_at(next, &entries).unwrap();
    drop(writer);
    pair.applied = next;
    pair.follow(&captured.changes, &entries).unwrap();
    pair.compare();
}

fn expire(pair: &mut Pair, window: &Window) {
    let next = pair.next();
    for file in [&pair.primary, &pair.copy] {
        file.writer().unwrap().expire(next, window).unwrap();
    }
    pair.applied = next;
    pair.compare();
}

fn pair() -> Pair {
    Pair::after(&["CREATE TABLE t (id INTEGER PRIMARY KEY)"])
}

fn find(file: &ShardFile, number: u8, sequence: u64) -> Seen {
    let seen = file.find(&client(number), sequence).unwrap();
    let mut writer = file.writer().unwrap();
    assert_eq!(writer.find(&client(number), sequence).unwrap(), seen);
    seen
}

fn known(number: u8, sequence: u64) -> Seen {
    Seen::Known(format!("{:?}", (number, sequence)).into_bytes())
}

#[test]
fn an_outcome_is_found_on_each_copy() {
    let mut pair = pair();
    commit(&mut pair, &[(1, 5), (2, 0), (1, 3)]);
    for file in [&pair.primary, &pair.copy] {
        assert_eq!(find(file, 1, 5), known(1, 5));
        assert_eq!(find(file, 1, 3), known(1, 3));
        assert_eq!(find(file, 2, 0), known(2, 0));
        // A sequence below the highest may arrive late.
        assert_eq!(find(file, 1, 4), Seen::New);
        assert_eq!(find(file, 3, 5), Seen::New);
    }
    let pair = pair.reopen().reinstall();
    assert_eq!(find(&pair.copy, 2, 0), known(2, 0));
}

#[test]
fn what_leaves_the_window_is_expired_and_never_new() {
    let mut pair = pair();
    for sequence in [2, 1, 3, 5, 4] {
        commit(&mut pair, &[(1, sequence), (2, sequence)]);
    }
    let window = Window {
        per_client: 2,
        ..Window::default()
    };
    expire(&mut pair, &window);
    for file in [&pair.primary, &pair.copy] {
        for sequence in 0..=3 {
            assert_eq!(find(file, 1, sequence), Seen::Expired);
        }
        assert_eq!(find(file, 1, 4), known(1, 4));
        assert_eq!(find(file, 1, 6), Seen::New);
    }
    // Across clients, the newest by position stay; those of one position by their key.
    expire(&mut pair, &Window { total: 1, ..window });
    assert_eq!(find(&pair.copy, 2, 4), known(2, 4));
    assert_eq!(find(&pair.copy, 1, 4), Seen::Expired);
    assert_eq!(find(&pair.copy, 1, 5), Seen::Expired);
    assert_eq!(find(&pair.copy, 1, 6), Seen::New);
}

#[test]
fn a_forgotten_client_is_expired_and_a_later_one_is_new() {
    let mut pair = pair();
    for number in 1..=5 {
        commit(&mut pair, &[(number, 7)]);
    }
    expire(
        &mut pair,
        &Window {
            per_client: 9,
            total: 1,
            floors: 2,
        },
    );
    let rows = |file: &ShardFile| crate::pair::value(file, "SELECT count(*) FROM _dedup");
    // One outcome, two floors, and the highest forgotten client.
    assert_eq!(rows(&pair.copy), shardwright_store::Value::from(4));
    for file in [&pair.primary, &pair.copy] {
        assert_eq!(find(file, 1, 7), Seen::Expired);
        assert_eq!(find(file, 1, 8), Seen::Expired);
        assert_eq!(find(file, 2, 8), Seen::Expired);
        assert_eq!(find(file, 3, 7), Seen::Expired);
        assert_eq!(find(file, 3, 8), Seen::New);
        assert_eq!(find(file, 5, 7), known(5, 7));
        assert_eq!(find(file, 9, 0), Seen::New);
    }
}

#[test]
fn forgetting_a_name_says_nothing_of_others() {
    let mut pair = pair();
    for name in [0xf0, 0x90, 0xa0, 0x03] {
        commit(&mut pair, &[(name, 1)]);
    }
    let window = Window {
        per_client: 4,
        total: 0,
        floors: 0,
    };
    expire(&mut pair, &window);
    assert_eq!(find(&pair.primary, 0xf0, 1), Seen::New);
    assert_eq!(find(&pair.primary, 0x85, 1), Seen::New);
    assert_eq!(find(&pair.primary, 4, 1), Seen::New);
    assert_eq!(find(&pair.primary, 2, 1), Seen::Expired);
}

#[test]
fn of_a_stream_the_last_outcome_is_kept() {
    let mut pair = pair();
    for sequence in [3, 4, 300] {
        commit(&mut pair, &[(STREAM, sequence), (1, sequence)]);
    }
    let rows = |file: &ShardFile| crate::pair::value(file, "SELECT count(*) FROM _dedup");
    let pair = pair.reopen().reinstall();
    for file in [&pair.primary, &pair.copy] {
        assert_eq!(rows(file), shardwright_store::Value::from(4));
        assert_eq!(find(file, STREAM, 300), known(STREAM, 300));
        assert_eq!(find(file, STREAM, 301), Seen::New);
        for sequence in [0, 3, 4, 299] {
            assert_eq!(find(file, STREAM, sequence), Seen::Expired);
        }
        assert_eq!(find(file, 1, 3), known(1, 3));
    }
}

#[test]
fn a_stream_that_leaves_the_window_is_expired_and_never_new() {
    let mut pair = pair();
    commit(&mut pair, &[(STREAM, 300)]);
    commit(&mut pair, &[(1, 7)]);
    let window = |total, floors| Window {
        per_client: 1,
        total,
        floors,
    };
    expire(&mut pair, &window(1, 9));
    for file in [&pair.primary, &pair.copy] {
        assert_eq!(find(file, STREAM, 300), Seen::Expired);
        assert_eq!(find(file, STREAM, 301), Seen::New);
    }
    commit(&mut pair, &[(STREAM, 301)]);
    assert_eq!(find(&pair.copy, STREAM, 300), Seen::Expired);
    assert_eq!(find(&pair.copy, STREAM, 301), known(STREAM, 301));
    // A forgotten stream makes no other client a forgotten one.
    expire(&mut pair, &window(0, 0));
    for file in [&pair.primary, &pair.copy] {
        assert_eq!(find(file, STREAM, 302), Seen::Expired);
        assert_eq!(find(file, 1, 8), Seen::Expired);
        assert_eq!(find(file, 2, 0), Seen::New);
    }
}

#[test]
fn one_request_has_one_outcome() {
    let mut pair = pair();
    commit(&mut pair, &[(1, 1)]);
    let before = digest(&pair.primary);
    let entry = Entry {
        client: client(1),
        sequence: 1,
        outcome: b"again",
    };
    let mut writer = pair.primary.writer().unwrap();
    writer
        .execute_batch(&mut [statements(&["INSERT INTO t VALUES (NULL)"])])
        .unwrap();
    let error = writer.commit_at(pair.next(), &[entry]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Replica(ReplicaError::DuplicateEntry { sequence: 1 })
        ),
        "{error}"
    );
    drop(writer);
    assert_eq!(digest(&pair.primary), before);
    let mut writer = pair.copy.writer().unwrap();
    let error = writer
        .apply(pair.next(), &ChangeSet::default(), &[entry])
        .unwrap_err();
    assert!(
        matches!(error, Error::Replica(ReplicaError::DuplicateEntry { .. })),
        "{error}"
    );
    let error = writer.find(&client(1), u64::MAX).unwrap_err();
    assert!(
        matches!(error, Error::Replica(ReplicaError::OutOfRange { .. })),
        "{error}"
    );
}

#[test]
fn a_record_without_rows_moves_the_position_with_its_outcomes() {
    let mut pair = pair();
    let next = pair.next();
    let entry = Entry {
        client: client(8),
        sequence: 8,
        outcome: b"",
    };
    for file in [&pair.primary, &pair.copy] {
        file.writer().unwrap().advance(next, &[entry]).unwrap();
    }
    pair.applied = next;
    pair.compare();
    assert_eq!(find(&pair.copy, 8, 8), Seen::Known(Vec::new()));
}
