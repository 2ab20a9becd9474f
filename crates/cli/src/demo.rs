//! The demo's data, its questions, one SQLite file to compare the answers with, and a cluster that loses a node.

pub(crate) mod baseline;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod home;
pub(crate) mod load;
mod processes;
pub(crate) mod questions;
pub(crate) mod report;
mod reshaping;
pub(crate) mod survival;
mod writing;
