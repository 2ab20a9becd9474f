//! Programs that the tests need and the repository does not hold.

pub(crate) mod libsql;
pub(crate) mod nats;
