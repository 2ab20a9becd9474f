//! The coordinator's HTTP interface: real coordinators on one store, real connections on loopback.

mod admin;
mod balance;
mod collegedb;
mod copies;
mod door;
mod events;
mod forwarding;
mod limits;
mod moves;
mod openapi;
mod operations;
mod page;
// It stops and continues a process.
#[cfg(unix)]
mod python;
mod schema;
mod setting;
mod workers;
