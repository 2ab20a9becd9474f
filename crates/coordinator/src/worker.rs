//! The worker: a process that serves what the coordinator assigns to it.

pub mod machine;
