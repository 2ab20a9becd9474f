//! Ids that are drawn, not chosen: 128 random bits, so that no two are ever equal.

use std::{fmt, str::FromStr};

use rand::RngCore;
use serde::{Deserialize, Serialize};

/// A text that is no random id: not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not 32 hexadecimal digits")]
pub struct InvalidRandomId {
    /// The text that was refused.
    pub text: String,
}

fn parse(text: &str) -> Result<u128, InvalidRandomId> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = if digits {
        u128::from_str_radix(text, 16).ok()
    } else {
        None
    };
    parsed.ok_or_else(|| InvalidRandomId {
        text: text.to_owned(),
    })
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// Draws a new id from `rng`.
            #[must_use]
            pub fn random(rng: &mut (impl RngCore + ?Sized)) -> Self {
                Self((u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64()))
            }

            /// Returns the id with these bits.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl FromStr for $name {
            type Err = InvalidRandomId;

            fn from_str(text: &str) -> Result<Self, InvalidRandomId> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidRandomId;

            fn try_from(text: String) -> Result<Self, InvalidRandomId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

random_id! {
    /// Identifies one copy of a shard's data.
    ///
    /// A copy gets a new id when it is created, wiped, restored or found damaged, and an id is never used again: what
    /// was said of a copy does not hold for its successor on the same node.
    ReplicaId
}

random_id! {
    /// Identifies one configuration, so that a coordinator that lost the answer to its change finds out whether the
    /// configuration in the registry is the one that it proposed.
    ConfigId
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = ReplicaId::random(&mut StdRng::seed_from_u64(7));
        assert_eq!(id.to_string().len(), 32);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            ReplicaId::from_bits(1).to_string(),
            "00000000000000000000000000000001"
        );
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32)] {
            assert!(text.parse::<ConfigId>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn two_draws_differ() {
        let rng = &mut StdRng::seed_from_u64(7);
        assert_ne!(ConfigId::random(rng), ConfigId::random(rng));
    }
}
