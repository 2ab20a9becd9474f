//! The control plane: one elected coordinator assigns shards to workers, so that each is served by exactly one.

pub mod core;
pub mod directory;
pub mod driver;
pub mod event_log;
pub mod handle;
pub mod protocol;
pub mod worker;

mod clock;

pub use crate::{driver::Coordinator, handle::Handle};
