//! Random schemas, rows and statements in SQLite's SQL, all from one seed.
//!
//! Every generated statement has one answer but for what its [`Statement`](crate::statement::Statement) declares
//! open: expressions cannot fail while they run, windows and scalar subqueries have a total order, and
//! sums are of numbers that neither overflow nor cancel out.

mod aggregate;
mod case;
mod column;
mod composer;
mod content;
mod eventful;
mod expr;
mod name;
mod nested;
mod params;
mod predicate;
mod query;
mod rows;
mod schema;
mod scope;
mod select;
mod source;
mod subquery;
mod table;
mod view;
mod window;
mod write;

pub use case::{Case, Profile, Step};
pub use column::{Affinity, Collation, Column};
pub use content::Content;
pub use query::{Arm, Order, OrderTerm, Query};
pub use rows::TableRows;
pub use schema::Schema;
pub use table::{ForeignKey, Placement, PrimaryKey, Table};
pub use view::View;
