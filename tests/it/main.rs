//! Whole-stack tests, through the facade as its users see it.

#[cfg(unix)]
mod control;
mod differential;
mod documents;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod processes;
mod public_names;
mod samples;
mod scripts;
mod sharded;
mod sqllogic;
