//! Changes of the schema in numbered files, each made once.
//!
//! A file `0007_add_age.sql` is the migration 7. Its statements and the row that notes it are made together: on all shards or on none. So
//! there is no step at which an interruption leaves a migration half made, or made and not noted, and whoever goes on reads the notes.

mod error;
mod file;
mod plan;
mod target;

pub(crate) use self::{
    error::MigrationError,
    file::Migration,
    plan::{Note, Planned, State, plan},
    target::{Target, make, notes},
};
