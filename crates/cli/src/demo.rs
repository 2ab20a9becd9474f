//! The demo's data, its questions, and one SQLite file to compare the answers with.

pub(crate) mod baseline;
pub(crate) mod compare;
pub(crate) mod data;
pub(crate) mod home;
pub(crate) mod load;
pub(crate) mod questions;
pub(crate) mod report;
