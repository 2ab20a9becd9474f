//! Nodes as separate processes: how they find one another, come and go, and what they answer.

mod cluster;
mod leaving;
mod replacing;
