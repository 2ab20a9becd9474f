//! `hashing`: keys to shards, against the crates that people use for it.
//!
//! 100 shards, 150 virtual nodes each, text keys; every side hashes the key itself.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    hint::black_box,
};

use shardwright_hashing::{Position, Rendezvous, Ring, Weight};

use crate::harness::{Better, Suite};

const SHARDS: u32 = 100;
const VIRTUAL_NODES: u32 = 150;
const KEYS: usize = 1 << 16;

/// Measures every case.
pub(crate) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let keys: Vec<String> = (0..KEYS)
        .map(|key| format!("user:{}", key * 7919))
        .collect();
    let mut hashed = Ring::hashed();
    let mut placed = Ring::placed();
    for shard in shards() {
        hashed.add(shard.clone())?;
        placed.add(shard)?;
    }
    ring_look_ups(suite, &hashed, &keys);
    let lower = |goal| (Some(goal), Better::Lower);
    let balance = |ring: &Ring<String>| ring.heaviest_over_mean().unwrap_or(f64::NAN);
    suite.figure("ring_balance", "x mean", lower(1.25), balance(&hashed), 1.0);
    suite.figure(
        "ring_balance_placed",
        "x mean",
        lower(1.10),
        balance(&placed),
        1.0,
    );
    jump(suite, &keys);
    tables(suite, &placed, &keys);
    rendezvous(suite, &keys)
}

fn shards() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| format!("node-{shard}"))
}

/// A pass over all keys.
fn each<'a, R>(keys: &'a [String], look_up: impl Fn(&'a String) -> R) -> impl FnMut() {
    move || {
        for key in keys {
            black_box(look_up(black_box(key)));
        }
    }
}

fn ring_look_ups(suite: &mut Suite, ring: &Ring<String>, keys: &[String]) {
    #[derive(Hash)]
    struct VirtualNode {
        shard: String,
        number: u32,
    }
    let mut theirs = hashring::HashRing::new();
    let numbered = |shard: String| {
        (0..VIRTUAL_NODES).map(move |number| VirtualNode {
            shard: shard.clone(),
            number,
        })
    };
    theirs.batch_add(shards().flat_map(numbered).collect());
    suite.time(
        "ring_fast",
        Some(0.25),
        keys.len(),
        each(keys, |key| ring.shard_at(Position::fast_of(key))),
        each(keys, |key| {
            theirs.get(key).map(|node| (&node.shard, node.number))
        }),
    );
    suite.time(
        "ring_sha256",
        Some(1.3),
        keys.len(),
        each(keys, |key| ring.shard_of(key)),
        each(keys, Position::of),
    );
}

fn jump(suite: &mut Suite, keys: &[String]) {
    let theirs = jumphash::JumpHasher::new_with_keys(1, 2);
    suite.time(
        "jumphash",
        None,
        keys.len(),
        each(keys, |key| Position::fast_of(key).jump(SHARDS)),
        each(keys, |key| theirs.slot(key, SHARDS)),
    );
}

/// Our ring against hashes by table, which know neither weights nor splits.
fn tables(suite: &mut Suite, ring: &Ring<String>, keys: &[String]) {
    let capacity = u16::try_from(SHARDS * 2).expect("a small number");
    let anchor = anchorhash::Builder::default()
        .with_resources(shards())
        .build(capacity);
    suite.time(
        "anchorhash",
        None,
        keys.len(),
        each(keys, |key| ring.shard_at(Position::fast_of(key))),
        each(keys, |key| anchor.get_resource(key)),
    );
    let maglev = maglev::Maglev::new(shards());
    suite.time(
        "maglev",
        None,
        keys.len(),
        each(keys, |key| ring.shard_at(Position::fast_of(key))),
        each(keys, |key| maglev::ConsistentHasher::get(&maglev, key)),
    );
}

/// Against the loop as textbooks have it: the highest hash of key and shard, without weights.
fn rendezvous(suite: &mut Suite, keys: &[String]) -> anyhow::Result<()> {
    let mut ours = Rendezvous::new();
    for shard in shards() {
        ours.add(shard, Weight::ONE)?;
    }
    let names: Vec<String> = shards().collect();
    let hash = |key: &String, shard: &String| {
        let mut hasher = DefaultHasher::new();
        (key, shard).hash(&mut hasher);
        hasher.finish()
    };
    let keys = &keys[..KEYS / 16];
    suite.time(
        "rendezvous",
        None,
        keys.len(),
        each(keys, |key| ours.shard_at(Position::fast_of(key))),
        each(keys, |key| {
            names.iter().max_by_key(|shard| hash(key, shard))
        }),
    );
    Ok(())
}
