//! Numbers with a meaning: epochs, log positions and process incarnations.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the next one.
            ///
            /// # Panics
            /// After 2^64 - 1, which a counter that grows by one never reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a counter from 0 does not reach 2^64"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number! {
    /// The ownership generation of one shard, and the fencing token that its primary presents. Shown as `e7`.
    ///
    /// Epochs of different shards are unrelated, and an epoch is never compared with a store's revision.
    Epoch, "e"
}

impl Epoch {
    /// The epoch of a shard that was never assigned: no configuration has it.
    pub const UNASSIGNED: Self = Self(0);
    /// The epoch of a shard's first configuration.
    pub const INITIAL: Self = Self(1);
}

number! {
    /// The position of a record in one shard's log. The first record has 1; 0 is the empty log.
    Lsn, ""
}

number! {
    /// Counts the processes that have run under one node id, so that a restarted node is not mistaken for the
    /// process before it.
    Incarnation, "i"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_prints_with_its_letter() {
        assert_eq!(Epoch(7).to_string(), "e7");
        assert_eq!(Epoch::UNASSIGNED.next(), Epoch::INITIAL);
        assert_eq!(Lsn(12).to_string(), "12");
        assert_eq!(Incarnation(3).to_string(), "i3");
    }

    #[test]
    fn a_number_is_stored_as_a_number() {
        assert_eq!(serde_json::to_string(&Epoch(7)).expect("a number"), "7");
    }
}
