//! Capture of changes on one file, and their application to copies.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod change_sets;
mod copies;
mod differential;
mod joining;
mod kinds;
mod members;
mod notes;
mod outcomes;
mod pair;
mod parts;
mod schema;
mod still;
