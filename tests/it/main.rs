//! Whole-stack tests, through the facade as its users see it.

mod channels;
#[cfg(unix)]
mod clients;
#[cfg(unix)]
mod control;
mod differential;
mod documents;
mod engines;
// Only there is it known which process has opened a connection.
#[cfg(target_os = "linux")]
mod faults;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod nodes;
mod places;
#[cfg(unix)]
mod processes;
mod public_names;
mod samples;
mod scripts;
mod sharded;
mod sqllogic;
