//! What a lease holds next, as functions of what it holds.

use super::{Holder, LeaseRecord};

impl LeaseRecord {
    /// Returns the lease once somebody took it: the next term. `before` is what it held, `None` if it never existed.
    ///
    /// Whoever stores it has found the lease vacant, and replaces exactly what was seen.
    #[must_use]
    pub fn taken(before: Option<&Self>, holder: Holder) -> Self {
        Self {
            holder: Some(holder),
            term: before.map_or(0, |before| before.term) + 1,
            counter: 0,
        }
    }

    /// Returns the lease with one more sign of life of its holder.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            counter: self.counter + 1,
            ..self.clone()
        }
    }

    /// Returns the lease once its holder, who has stopped acting, gave it back.
    #[must_use]
    pub fn released(&self) -> Self {
        Self {
            holder: None,
            ..self.clone()
        }
    }

    /// Returns the lease once somebody else ended it, who found it vacant: nobody holds the next term, and no renewal of this one
    /// counts any more.
    #[must_use]
    pub fn expired(&self) -> Self {
        Self {
            holder: None,
            term: self.term + 1,
            counter: 0,
        }
    }
}
