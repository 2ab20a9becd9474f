//! Compares a sharded database with one SQLite file: by scripts, and by random cases.
//!
//! [`slt`] runs scripts in the format of SQLite's own corpus of them. [`random`] runs generated cases, and [`fuzz`] many of those, in
//! search of one that fails. The integration tests run a few of either.

pub mod embedded;
pub mod fuzz;
pub mod random;
pub mod slt;

pub use embedded::Embedded;
