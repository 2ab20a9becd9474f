//! Benchmarks of Shardwright against its peers.

fn main() {}
