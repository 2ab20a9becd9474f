//! The sharding strategies of HeliosDB's documentation: by hash, by range, and by range inside hash buckets.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use shardwright::hashing::{
    Error, Ring,
    strategy::{CompositeStrategy, HashStrategy, RangeStrategy},
};

fn main() -> Result<(), Error> {
    let shard = HashStrategy::shard_of("key", 10);
    println!("by hash: {shard}");
    assert_eq!(shard, 1);

    let ranges = vec![
        ("a".to_owned(), "m".to_owned()),
        ("m".to_owned(), "z".to_owned()),
    ];
    let shard = RangeStrategy::shard_of("key", &ranges)?;
    println!("by range: {shard:?}");
    assert_eq!(shard, Some(0));
    assert_eq!(RangeStrategy::shard_of("zebra", &ranges)?, None);

    let ranges_per_bucket = vec![ranges; 4];
    let shard = CompositeStrategy::shard_of("key", 4, &ranges_per_bucket)?;
    println!("by hash, then by range: {shard:?}");
    assert_eq!(shard, Some(2));

    split_on_the_ring()
}

/// A split copies the parent's keys to its children, and no other key moves.
fn split_on_the_ring() -> Result<(), Error> {
    let mut ring = Ring::hashed();
    for shard in ["shard-0", "shard-1", "shard-2", "shard-3"] {
        ring.add(shard)?;
    }
    let before = ring.clone();
    ring.split("shard-1", "shard-1-left", "shard-1-right")?;
    for user in 0..1000 {
        let key = format!("user:{user}");
        let (old, new) = (before.shard_of(&key), ring.shard_of(&key));
        assert!(old == new || old == Some(&"shard-1"));
    }
    println!(
        "split into {:.1} and {:.1} percent of the ring",
        100.0 * ring.share("shard-1-left")?,
        100.0 * ring.share("shard-1-right")?
    );
    ring.merge(&["shard-2", "shard-3"], "merged")?;
    println!("merged into {:.1} percent", 100.0 * ring.share("merged")?);
    Ok(())
}
