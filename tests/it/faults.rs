//! A cluster that answers SQL, as separate processes: killed, stopped, cut off, out of room and without its registry, while clients write
//! and read.
//!
//! Every write is numbered by its client and tried until it is acknowledged, so in the end all of them have to be there, once. The longest
//! time that a client waited between two acknowledgements is printed for each fault.

mod access;
mod alone;
mod cluster;
mod copies;
mod errands;
mod gaps;
mod halting;
mod links;
mod nodes;
mod random;
mod readers;
mod registry;
mod reshaping;
mod tellers;
mod traffic;
mod wounds;
mod writers;
