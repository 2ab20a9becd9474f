//! Tools for testing sharded systems: random schemas and statements, comparison with one SQLite file, a simulator, and
//! checks of histories.
//!
//! A [`Case`](sqlgen::Case) is a schema, its rows and statements, all of which follow from a seed. A database under test implements
//! [`Database`]; [`judge`] runs each statement on an [`Oracle`] too, which is one SQLite database, and says whether
//! the answer is one that a single SQLite file may give.
//!
//! ```
//! use shardwright_testkit::{Database, ForeignKeys, Oracle, Statement, Verdict, judge};
//!
//! let mut oracle = Oracle::in_memory(ForeignKeys::Enforced).unwrap();
//! let mut tested = Oracle::in_memory(ForeignKeys::Enforced).unwrap();
//! let statement = Statement::query("SELECT upper('a') AS letter");
//!
//! let answer = tested.execute(&statement.sql, &statement.params);
//! assert_eq!(judge(&mut oracle, &statement, &answer), Verdict::Equal);
//! ```
//!
//! [`nats`] starts real nats-servers. A [`Dependant`] is a process that does not outlive its test, [`until`] waits for what
//! processes do, and a [`Way`] to a store can be cut. [`sim`] runs pure state machines in virtual time, with everything that goes
//! wrong between processes. [`history`] judges what clients of a real or of a simulated system were answered.

mod answer;
mod compare;
mod count;
mod dependant;
mod dice;
pub mod history;
mod minimise;
pub mod nats;
mod oracle;
pub mod sample;
pub mod sim;
pub mod sqlgen;
mod statement;
mod value;
mod wait;
mod way;

pub use answer::{Answer, Database, Failure, FailureKind};
pub use compare::{Verdict, judge};
pub use count::Count;
pub use dependant::Dependant;
pub use dice::Dice;
pub use minimise::minimise;
pub use oracle::{ForeignKeys, Oracle};
pub use statement::{Sequence, Statement, Tolerance};
pub use value::Value;
pub use wait::until;
pub use way::Way;
