//! The coordinator's HTTP interface: real coordinators on one store, real connections on loopback.

mod admin;
mod collegedb;
mod events;
mod forwarding;
mod limits;
mod openapi;
mod page;
mod python;
mod schema;
mod setting;
mod workers;
