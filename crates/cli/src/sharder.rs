//! The policies that --sharder names.

use std::str::FromStr;

use shardwright_rebalancer::{Policy, ReplicaPolicy, RingPolicy, Spread};

/// Who places shards on nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sharder {
    /// The least loaded node; work moves away from nodes with more than 1.3 times their share.
    Stealing,
    /// The same, with the copies of a shard in different zones.
    Zones,
    /// The same, with the copies of a shard in different regions.
    Regions,
    /// A ring with virtual nodes.
    Ring,
}

/// The text names no policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a sharder is one of stealing, zones, regions and ring")]
pub(crate) struct NoSharder;

impl FromStr for Sharder {
    type Err = NoSharder;

    fn from_str(text: &str) -> Result<Self, NoSharder> {
        match text {
            "stealing" => Ok(Self::Stealing),
            "zones" => Ok(Self::Zones),
            "regions" => Ok(Self::Regions),
            "ring" => Ok(Self::Ring),
            _ => Err(NoSharder),
        }
    }
}

impl Sharder {
    /// The policy itself.
    pub(crate) fn policy(self) -> Box<dyn Policy> {
        match self {
            Self::Stealing => stealing(Spread::default()),
            Self::Zones => stealing(Spread::Zones),
            Self::Regions => stealing(Spread::Regions),
            Self::Ring => Box::new(RingPolicy::default()),
        }
    }
}

fn stealing(spread: Spread) -> Box<dyn Policy> {
    Box::new(ReplicaPolicy {
        spread,
        ..ReplicaPolicy::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_one_name() {
        assert_eq!("zones".parse(), Ok(Sharder::Zones));
        assert_eq!("Zones".parse::<Sharder>(), Err(NoSharder));
    }
}
