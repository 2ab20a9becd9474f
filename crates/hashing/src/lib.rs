//! Maps keys to positions and positions to shards: SHA-256, rings, jump, rendezvous and partitioning strategies.
