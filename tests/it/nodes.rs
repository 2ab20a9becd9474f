//! Nodes as separate processes: how they find one another, come and go, and what they answer.

pub(crate) mod cluster;
mod leaving;
mod replacing;
