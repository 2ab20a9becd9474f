//! The binary from outside: its arguments, its output and its exit codes.

mod adopt;
mod backup;
mod bad_input;
mod client;
mod command;
mod demo;
mod dev;
mod fixture;
mod hash;
mod import;
mod interruption;
mod keys;
mod limits;
mod op;
mod roles;
mod running;
mod schema;
mod shell;
mod tx;
mod worker;
