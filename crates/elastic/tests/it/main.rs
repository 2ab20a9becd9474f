//! The manager with stores of one's own, with stores that stream their changes, and with a registry.

mod admission;
mod beginning;
mod document;
mod guards;
mod interleaved;
mod lagging;
mod own;
mod refusals;
mod registry;
mod replicated;
mod restart;
mod scripted;
mod streaming;
