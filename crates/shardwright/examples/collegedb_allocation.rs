//! The strategies of CollegeDB's documentation: which shard becomes the home of a new key.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use shardwright::hashing::{
    Region,
    allocation::{AllocationStrategy, Allocator, Candidate, KeyHash, ShardLocation},
};

fn main() {
    let names = ["db-west", "db-east", "db-europe"];
    let at = |region, priority| Candidate::at(ShardLocation { region, priority });
    let shards = [
        at(Region::Wnam, 2.0),
        at(Region::Enam, 1.0),
        at(Region::Weur, 0.5),
    ];
    let mut allocator = Allocator {
        target: Some(Region::Wnam),
        // As CollegeDB hashes, so that a client of it which chooses for itself agrees.
        hash: KeyHash::String,
        ..Allocator::new(42)
    };
    for strategy in AllocationStrategy::ALL {
        let home = allocator.choose(strategy, "user-west-123", &shards);
        let name = home.map(|index| names[index]);
        println!("{strategy}: {}", name.unwrap_or("no shard"));
        if strategy == AllocationStrategy::Location {
            assert_eq!(name, Some("db-west"));
        }
    }
}
