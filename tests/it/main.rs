//! Whole-stack tests, through the facade as its users see it.

#[cfg(unix)]
mod control;
mod differential;
mod documents;
mod public_names;
mod samples;
mod scripts;
mod sharded;
mod sqllogic;
