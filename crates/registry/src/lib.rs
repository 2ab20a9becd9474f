//! The durable shard map: a compare-and-set store contract with backends, leases, and the registry on top.
