//! The control plane as separate processes: killed, stopped and cut off, and what the workers served meanwhile.

pub(crate) mod binary;
mod cluster;
mod commands;
mod cuts;
mod deaths;
mod history;
pub(crate) mod lag;
mod leaving;
mod on_nats;
mod pauses;
