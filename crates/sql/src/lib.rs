//! Many SQLite files as one database: planner, scatter and gather, adoption of existing files.

pub mod adopt;
pub mod error;
pub mod key;
pub mod schema;
pub mod shards;
pub mod statement;

pub use crate::{error::Error, key::Key};
