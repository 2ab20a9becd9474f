//! Tools for testing sharded systems: random schemas and statements, and comparison with one SQLite file.
