//! Writes as a copy makes them, and what a copy keeps after each call.

use std::sync::Arc;

use proptest::prelude::*;
use shardwright_hashing::Position;
use shardwright_topology::{ConfigId, Epoch, Lsn, ReplicaId};

use super::super::Options;
use crate::log::{Ballot, BatchMember, ClientId, Durable, Hash, Kind, Log, Point, Record, Write};

/// Small enough that a few writes fill several segments.
pub(super) const SMALL: Options = Options {
    segment_bytes: 6 * 512,
    step_bytes: 2 * 512,
};

pub(super) const COPY: ReplicaId = ReplicaId::from_bits(7);

/// What one write does. Numbers choose among what is possible then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Append { records: u8, bytes: u16 },
    Replace { back: u8, bytes: u16 },
    Trim(u8),
    Begin(u8),
    Promise,
    Commit(u8),
}

/// Calls, and what is kept before the first and after each.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) calls: Vec<Vec<Write>>,
    pub(super) kept: Vec<Durable>,
}

impl Script {
    pub(super) fn of(steps: &[Vec<Step>]) -> Self {
        let mut durable = Durable::new(COPY);
        let (mut calls, mut kept) = (Vec::new(), vec![durable.clone()]);
        for call in steps {
            let mut writes = Vec::new();
            for step in call {
                let write = write(&durable, *step);
                durable.take_in(&write).expect("what is written follows");
                writes.push(write);
            }
            calls.push(writes);
            kept.push(durable.clone());
        }
        Self { calls, kept }
    }
}

fn write(durable: &Durable, step: Step) -> Write {
    let log = &durable.log;
    let held = log.last().lsn.0 - log.base().lsn.0;
    let mut write = Write {
        known_commit: durable.known_commit,
        ..Write::default()
    };
    match step {
        Step::Append { records, bytes } => {
            write.records = self::records(log.last(), log.last().epoch, records, bytes);
        }
        Step::Replace { back, bytes } => {
            let agreed = Lsn(log.last().lsn.0 - u64::from(back).min(held));
            let prev = log.point(agreed).expect("it is held");
            write.truncate_after = Some(agreed);
            write.records = records(prev, log.last().epoch.next(), 1, bytes);
        }
        Step::Trim(up) => write.trim = Some(Lsn(log.base().lsn.0 + u64::from(up).min(held))),
        Step::Begin(up) => {
            write.base = Some(Point {
                epoch: log.last().epoch.next(),
                lsn: Lsn(log.base().lsn.0 + u64::from(up)),
                hash: Hash([up; 32]),
            });
        }
        Step::Promise => {
            let epoch = durable
                .promised
                .map_or(Epoch(1), |ballot| ballot.epoch.next());
            let config_id = ConfigId::from_bits(epoch.0.into());
            write.promised = Some(Ballot { epoch, config_id });
        }
        Step::Commit(back) => {
            write.known_commit = Lsn(log.last().lsn.0 - u64::from(back).min(held));
        }
    }
    write
}

fn records(prev: Point, epoch: Epoch, count: u8, bytes: u16) -> Vec<Arc<Record>> {
    let mut log = Log::from_base(prev);
    for number in 0..count {
        let member = BatchMember {
            client: ClientId([number; 16]),
            sequence: u64::from(bytes),
            positions: vec![Position(u64::MAX), Position(3)],
            outcome: vec![number; usize::from(number)],
        };
        // Zeros too: a frame may hold sectors that carry nothing else.
        let payload = vec![number; usize::from(bytes)];
        let record = Record::after(log.last(), epoch, Kind::Batch, vec![member], payload);
        log.extend_verified(&[Arc::new(record)]);
    }
    log.after(prev.lsn).into_iter().flatten().cloned().collect()
}

/// Any calls.
pub(super) fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let bytes = prop_oneof![3 => 0..200u16, 1 => 200..3000u16];
    let step = prop_oneof![
        6 => (1..4u8, bytes.clone()).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        2 => (0..6u8, bytes).prop_map(|(back, bytes)| Step::Replace { back, bytes }),
        2 => (0..12u8).prop_map(Step::Trim),
        1 => (0..12u8).prop_map(Step::Begin),
        1 => Just(Step::Promise),
        1 => (0..4u8).prop_map(Step::Commit),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..16)
}

/// Calls that reach every part of a journal: several segments, torn frames of several sectors, trims, a truncation, a new beginning.
pub(super) fn tour() -> Script {
    let append = |bytes| Step::Append { records: 1, bytes };
    Script::of(&[
        vec![Step::Promise],
        vec![append(100)],
        vec![append(900), append(30)],
        vec![append(1200)],
        vec![Step::Replace {
            back: 2,
            bytes: 700,
        }],
        vec![Step::Commit(1), append(2000)],
        vec![Step::Trim(3)],
        vec![append(1500)],
        vec![Step::Trim(9)],
        vec![append(4000)],
        vec![Step::Begin(9), append(10)],
        vec![append(10)],
    ])
}

/// Calls that fill a segment each, of which one takes back what older ones hold; the last one makes all of them unneeded.
pub(super) fn detour() -> Script {
    let append = Step::Append {
        records: 1,
        bytes: 1500,
    };
    let replace = Step::Replace {
        back: 2,
        bytes: 1500,
    };
    let steps = [
        append,
        append,
        append,
        append,
        replace,
        append,
        append,
        Step::Begin(20),
    ];
    Script::of(&steps.map(|step| vec![step]))
}
