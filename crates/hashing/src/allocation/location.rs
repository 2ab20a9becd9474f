//! Allocation by location: the nearest shard, as far as its priority allows.

use crate::Region;

/// Where a shard is, and how much it is preferred.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ShardLocation {
    /// The region that holds the shard.
    pub region: Region,
    /// A shard of priority 2 counts as half as far away as it is. Anything that is not positive counts as 1.
    pub priority: f64,
}

impl From<Region> for ShardLocation {
    fn from(region: Region) -> Self {
        Self {
            region,
            priority: 1.0,
        }
    }
}

impl ShardLocation {
    /// Returns the kilometres from `target` over the priority.
    ///
    /// The shards of one region are a kilometre away from it, so that their priorities still decide between them.
    #[must_use]
    pub fn score(&self, target: Region) -> f64 {
        let positive = self.priority > 0.0 && self.priority.is_finite();
        let priority = if positive { self.priority } else { 1.0 };
        f64::from(target.kilometres_to(self.region).max(1)) / priority
    }
}

/// A shard that may become the home of a key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Candidate {
    /// Where it is, if that is known.
    pub location: Option<ShardLocation>,
}

impl Candidate {
    /// Returns a candidate whose location is known.
    #[must_use]
    pub fn at(location: impl Into<ShardLocation>) -> Self {
        Self {
            location: Some(location.into()),
        }
    }
}

/// Returns the index of the candidate with the lowest score; `hash` chooses among equally good ones, given their number.
///
/// A candidate without a location is chosen only if none has one, or if there is no target: then all are
/// equally good. `None` without candidates.
pub fn nearest(
    target: Option<Region>,
    candidates: &[Candidate],
    hash: impl FnOnce(u32) -> u32,
) -> Option<usize> {
    let mut best = f64::INFINITY;
    let mut tied: Vec<usize> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let Some(score) = target
            .zip(candidate.location)
            .map(|(target, at)| at.score(target))
        else {
            continue;
        };
        if score < best {
            tied.clear();
            best = score;
        }
        if score <= best {
            tied.push(index);
        }
    }
    if tied.is_empty() {
        tied = (0..candidates.len()).collect();
    }
    match *tied {
        [] => None,
        [only] => Some(only),
        _ => {
            let count = u32::try_from(tied.len()).expect("there are fewer than 2^32 shards");
            Some(tied[hash(count) as usize])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: Region, shards: &[(Region, f64)], expected: usize) {
        let candidate =
            |&(region, priority): &(Region, f64)| Candidate::at(ShardLocation { region, priority });
        let candidates: Vec<Candidate> = shards.iter().map(candidate).collect();
        assert_eq!(nearest(Some(target), &candidates, |_| 0), Some(expected));
    }

    #[test]
    fn the_documented_configurations_choose_the_shard_at_the_target() {
        use Region::{Apac, Enam, Weur, Wnam};
        check(Wnam, &[(Wnam, 2.0), (Enam, 1.0), (Weur, 0.5)], 0);
        check(Wnam, &[(Wnam, 2.0), (Enam, 1.0), (Enam, 1.0)], 0);
        check(Wnam, &[(Wnam, 3.0), (Enam, 2.0), (Enam, 1.0)], 0);
        check(Apac, &[(Wnam, 2.0), (Weur, 2.0), (Apac, 2.0)], 2);
        check(Weur, &[(Wnam, 2.0), (Weur, 2.0), (Apac, 2.0)], 1);
    }

    #[test]
    fn priority_divides_the_distance() {
        use Region::{Enam, Weur, Wnam};
        // From San Francisco, London is 2.09 times as far as New York.
        check(Wnam, &[(Enam, 1.0), (Weur, 2.0)], 0);
        check(Wnam, &[(Enam, 1.0), (Weur, 2.1)], 1);
        check(Wnam, &[(Enam, 0.0), (Weur, 2.0)], 0);
        check(Wnam, &[(Enam, -5.0), (Weur, f64::NAN)], 0);
    }

    #[test]
    fn priority_decides_between_shards_of_the_target_region() {
        use Region::Enam;
        check(Enam, &[(Enam, 1.0), (Enam, 2.0)], 1);
    }

    #[test]
    fn ties_are_broken_by_hash_among_the_tied() {
        let candidates = [Region::Enam, Region::Wnam, Region::Enam].map(Candidate::at);
        let chosen = nearest(Some(Region::Weur), &candidates, |tied| tied - 1);
        assert_eq!(chosen, Some(2));
    }

    #[test]
    fn a_shard_without_a_location_is_chosen_only_if_none_has_one() {
        let somewhere = [Candidate::default(), Candidate::at(Region::Oc)];
        assert_eq!(nearest(Some(Region::Weur), &somewhere, |_| 0), Some(1));
        let nowhere = [Candidate::default(); 3];
        assert_eq!(
            nearest(Some(Region::Weur), &nowhere, |tied| tied - 1),
            Some(2)
        );
        assert_eq!(nearest(None, &somewhere, |_| 0), Some(0));
        assert_eq!(nearest(None, &[], |_| 0), None);
    }
}
