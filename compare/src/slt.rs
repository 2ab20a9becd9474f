//! Scripts in the format of SQLite's corpus of logic tests.
//!
//! A [`Script`] is read from its text; [`run`] plays it on a database and says of each record what became of it. What the script expects
//! decides. One SQLite database plays along, and says whether SQLite would have accepted what was refused. [`fleet`] runs many scripts,
//! each in a process of its own, and [`complete`] writes the answers of SQLite into a script.

mod completion;
pub mod fleet;
mod rendering;
mod running;
mod script;
mod tally;

pub use completion::complete;
pub use running::{Judged, Outcome, run};
pub use script::{Condition, Expectation, Malformed, Query, Record, Script, SortMode, Task};
pub use tally::Tally;
