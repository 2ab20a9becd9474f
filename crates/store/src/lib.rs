//! One SQLite shard file: one writer, several readers, write batches, snapshots, scans and hashes.
