//! The storage in files: crashes at every step, faults, and damage of every bit.

mod crashes;
mod damage;
mod fake;
mod faults;
mod files;
mod script;
