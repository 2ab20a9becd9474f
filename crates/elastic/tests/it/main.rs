//! The manager with stores of one's own, with stores that stream their changes, and with a registry.

mod document;
mod guards;
mod lagging;
mod own;
mod refusals;
mod registry;
mod replicated;
mod streaming;
