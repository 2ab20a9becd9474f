//! The binary from outside: its arguments, its output and its exit codes.

mod command;
mod demo;
mod fixture;
mod hash;
