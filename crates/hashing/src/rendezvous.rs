//! Rendezvous hash: the highest bidder among weighted shards, without any stored token.

use crate::{Error, Position, Weight, fast::scramble};

/// A set of weighted shards in which each position goes to the shard that bids highest for it.
///
/// Adding a shard moves only what it wins, and removing one moves only what it had, both in exact proportion to
/// the weights. Each look-up asks every shard, so it suits tens of them; the runners-up are natural homes for replicas.
#[derive(Debug, Clone, Default)]
pub struct Rendezvous<S> {
    bidders: Vec<Bidder<S>>,
}

#[derive(Debug, Clone)]
struct Bidder<S> {
    shard: S,
    salt: u64,
    weight: Weight,
}

impl<S: AsRef<str>> Rendezvous<S> {
    /// Returns the empty set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bidders: Vec::new(),
        }
    }

    /// Adds a shard.
    ///
    /// # Errors
    /// [`Error::ShardExists`].
    pub fn add(&mut self, shard: S, weight: Weight) -> Result<(), Error> {
        let name = shard.as_ref();
        if self
            .bidders
            .iter()
            .any(|bidder| bidder.shard.as_ref() == name)
        {
            return Err(Error::ShardExists {
                shard: name.to_owned(),
            });
        }
        let salt = Position::of(name).0;
        self.bidders.push(Bidder {
            shard,
            salt,
            weight,
        });
        Ok(())
    }

    /// Removes a shard.
    ///
    /// # Errors
    /// [`Error::UnknownShard`].
    pub fn remove(&mut self, shard: &str) -> Result<(), Error> {
        let index = self
            .bidders
            .iter()
            .position(|bidder| bidder.shard.as_ref() == shard)
            .ok_or_else(|| Error::UnknownShard {
                shard: shard.to_owned(),
            })?;
        self.bidders.swap_remove(index);
        Ok(())
    }

    /// Returns the shard of a position; `None` if the set is empty.
    #[must_use]
    pub fn shard_at(&self, position: Position) -> Option<&S> {
        let mut best: Option<(Bid<'_>, &S)> = None;
        for bidder in &self.bidders {
            let hash = bidder.hash(position);
            if best.is_some_and(|(best, _)| bidder.cannot_reach(hash, best.0)) {
                continue;
            }
            let bid = bidder.bid(hash);
            if best.is_none_or(|(best, _)| bid > best) {
                best = Some((bid, &bidder.shard));
            }
        }
        best.map(|(_, shard)| shard)
    }

    /// Returns every shard, the highest bidder first.
    #[must_use]
    pub fn ranking(&self, position: Position) -> Vec<&S> {
        let mut bids: Vec<_> = self
            .bidders
            .iter()
            .map(|bidder| (bidder.bid(bidder.hash(position)), &bidder.shard))
            .collect();
        bids.sort_by(|a, b| b.0.partial_cmp(&a.0).expect("a bid is a number"));
        bids.into_iter().map(|(_, shard)| shard).collect()
    }
}

/// The weight over minus the logarithm of a uniform number; equal bids are decided by hash, then by name.
type Bid<'a> = (f64, u64, &'a str);

impl<S: AsRef<str>> Bidder<S> {
    fn hash(&self, position: Position) -> u64 {
        scramble(position.0, self.salt)
    }

    fn bid(&self, hash: u64) -> Bid<'_> {
        (
            self.weight.value() / minus_ln(uniform(hash)),
            hash,
            self.shard.as_ref(),
        )
    }

    /// Whether a bid is certain to stay below `best`: minus the logarithm of a number is at least one less the number.
    ///
    /// It spares most bidders the logarithm. Bids that might differ by rounding only are left to be compared.
    fn cannot_reach(&self, hash: u64, best: f64) -> bool {
        const ROUNDING: f64 = 1.000_001;
        (1.0 - uniform(hash)) * best > self.weight.value() * ROUNDING
    }
}

/// Returns the number strictly between 0 and 1 that a hash stands for.
fn uniform(hash: u64) -> f64 {
    // 52 bits and a half are exact in an f64.
    ((hash >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0
}

/// Returns minus the natural logarithm of a number between 0 and 1.
///
/// It uses nothing but additions, multiplications and divisions, which every platform rounds alike; the logarithms
/// of mathematical libraries differ in the last place.
fn minus_ln(number: f64) -> f64 {
    let bits = number.to_bits();
    let exponent = (1022 - (bits >> 52) as i64) as f64;
    // The mantissa, between 1/2 and 1.
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1022 << 52));
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument lies between -1/3 and 0.
    let z = (1.0 - mantissa) / (1.0 + mantissa);
    let square = z * z;
    let mut series = 0.0;
    for odd in (0..16).rev() {
        series = series * square + 1.0 / f64::from(2 * odd + 1);
    }
    exponent * std::f64::consts::LN_2 + 2.0 * z * series
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(weights: &[f64]) -> Rendezvous<String> {
        let mut set = Rendezvous::new();
        for (index, weight) in weights.iter().enumerate() {
            set.add(format!("shard-{index}"), Weight::new(*weight).unwrap())
                .unwrap();
        }
        set
    }

    fn positions() -> impl Iterator<Item = Position> {
        (0..20_000).map(|key| Position::of(format!("key-{key}")))
    }

    #[test]
    fn the_choices_are_pinned() {
        let set = set(&[1.0, 2.0, 0.5, 1.0]);
        let chosen = ["tenant-123", "user:42", "a", "b", "c", ""]
            .map(|key| set.shard_at(Position::of(key)).unwrap().as_str());
        assert_eq!(
            chosen,
            [
                "shard-2", "shard-3", "shard-3", "shard-1", "shard-0", "shard-1"
            ]
        );
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for hash in [0, 1, 1 << 20, 1 << 52, 1 << 63, u64::MAX / 3, u64::MAX] {
            let expected = -uniform(hash).ln();
            let error = (minus_ln(uniform(hash)) - expected).abs();
            assert!(error <= expected * 1e-14 + 1e-18, "{hash}: off by {error}");
        }
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let set = set(&[1.0, 2.0, 0.5, 1.5]);
        let mut shares = BTreeMap::new();
        for position in positions() {
            *shares
                .entry(set.shard_at(position).unwrap().as_str())
                .or_insert(0_u32) += 1;
        }
        for (name, expected) in [
            ("shard-0", 4000),
            ("shard-1", 8000),
            ("shard-2", 2000),
            ("shard-3", 6000),
        ] {
            assert!(
                shares[name].abs_diff(expected) < 300,
                "{name} has {}",
                shares[name]
            );
        }
    }

    #[test]
    fn the_ranking_begins_with_the_winner_and_names_each_shard_once() {
        let set = set(&[1.0, 3.0, 0.5]);
        for position in positions().take(100) {
            let mut ranking = set.ranking(position);
            assert_eq!(ranking[0], set.shard_at(position).unwrap());
            ranking.sort();
            assert_eq!(ranking, ["shard-0", "shard-1", "shard-2"]);
        }
    }

    #[test]
    fn names_are_unique_and_must_exist() {
        let mut set = set(&[1.0]);
        let again = set.add("shard-0".to_owned(), Weight::ONE);
        assert_eq!(
            again,
            Err(Error::ShardExists {
                shard: "shard-0".to_owned()
            })
        );
        assert_eq!(
            set.remove("x"),
            Err(Error::UnknownShard {
                shard: "x".to_owned()
            })
        );
        set.remove("shard-0").unwrap();
        assert_eq!(set.shard_at(Position::MIN), None);
    }

    proptest! {
        #[test]
        fn a_new_shard_takes_keys_and_no_other_moves(
            weights in prop::collection::vec(0.1_f64..10.0, 2..8),
            positions in prop::collection::vec(any::<u64>().prop_map(Position), 100),
        ) {
            let after = set(&weights);
            let newcomer = format!("shard-{}", weights.len() - 1);
            let mut before = after.clone();
            before.remove(&newcomer).unwrap();
            for position in positions {
                let home = after.shard_at(position).unwrap();
                prop_assert!(*home == newcomer || before.shard_at(position).unwrap() == home);
            }
        }
    }
}
