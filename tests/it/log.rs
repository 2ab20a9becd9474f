//! The replicated log as separate processes: killed, stopped, cut off, out of room and with flipped bits, while clients append and read.
//!
//! Every value that is appended is another one, so what the clients were answered can be compared with the logs at the end.

mod clients;
mod cluster;
mod configurer;
mod cuts;
mod deaths;
// Only there can a limit be set for a process that runs.
#[cfg(target_os = "linux")]
mod disks;
mod node;
