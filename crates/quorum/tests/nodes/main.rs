//! Copies that run on several nodes, over real connections, in one process.

mod cluster;
mod disk;
mod failing;
mod lines;
mod replicating;
mod strangers;
