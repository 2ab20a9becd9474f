//! Batons: what continues a stream, once.

use std::{fmt, str::FromStr};

use shardwright_topology::NodeId;

/// Names the stream that a request continues, and the one reply that it follows.
///
/// Stream and reply are 128 random bits each, so that nobody but who was given it can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Baton {
    /// The node that has the stream.
    pub(super) node: NodeId,
    pub(super) stream: u128,
    /// New with each reply.
    pub(super) nonce: u128,
}

/// A text that no node has given as a baton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoBaton;

impl fmt::Display for Baton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            stream,
            nonce,
        } = self;
        write!(f, "{stream:032x}.{nonce:032x}.{node}")
    }
}

impl FromStr for Baton {
    type Err = NoBaton;

    fn from_str(text: &str) -> Result<Self, NoBaton> {
        let mut parts = text.splitn(3, '.');
        let mut number = || {
            let digits = parts.next().filter(|digits| digits.len() == 32);
            let digits = digits.ok_or(NoBaton)?;
            u128::from_str_radix(digits, 16).map_err(|_| NoBaton)
        };
        let (stream, nonce) = (number()?, number()?);
        let node = NodeId::new(parts.next().ok_or(NoBaton)?).map_err(|_| NoBaton)?;
        Ok(Self {
            node,
            stream,
            nonce,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_baton_is_read_as_it_was_given(stream: u128, nonce: u128) {
            let node = NodeId::new("n-1.east").unwrap();
            let baton = Baton { node, stream, nonce };
            prop_assert_eq!(baton.to_string().parse::<Baton>(), Ok(baton));
        }

        #[test]
        fn no_text_is_too_strange(text: String) {
            let _no_matter = text.parse::<Baton>();
        }
    }

    #[test]
    fn what_nobody_has_given_is_refused() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "..".to_owned(),
            format!("{zeros}.{zeros}"),
            format!("{zeros}.{zeros}."),
            format!("+{}.{zeros}.n1", "0".repeat(30)),
        ] {
            assert_eq!(text.parse::<Baton>(), Err(NoBaton), "{text}");
        }
    }
}
