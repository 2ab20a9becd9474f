//! How a manager divides its keys, and when it acts by itself.

use shardwright_hashing::Ring;
use shardwright_topology::{KeyRange, NodeId, Position, ShardId};

use crate::{Extent, InvalidPolicy, KeySpan, MergeCriteria, Part, SplitCriteria};

/// How keys become shards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ShardStrategy {
    /// A hash ring: each shard owns many small ranges of positions. Children of a split inherit those of their parent.
    #[default]
    Hash,
    /// Each shard owns one range of positions, of equal width at first.
    HashRanges,
    /// Each shard owns an interval of the order of the keys.
    Range {
        /// Where the second shard and the following ones begin, ascending: one less than there are shards. None of them cuts by the first byte, evenly.
        cuts: Vec<String>,
    },
    /// A bucket by hash, and an interval of the order of the keys inside it.
    Composite {
        /// How many buckets.
        buckets: u32,
        /// Where the second shard of each bucket and the following ones begin, ascending. Buckets times one more than these is the number of shards.
        cuts: Vec<String>,
    },
}

/// What a manager begins with, and when it acts.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardConfig {
    /// The number of shards at first. Default 4.
    pub initial_shards: usize,
    /// How many virtual nodes a shard has on the ring of [`ShardStrategy::Hash`]. Default 150.
    pub virtual_nodes_per_shard: usize,
    /// The part of a processor or of the memory above which a shard is split, from 0 to 1; it is used in place of the criteria's. Default 0.8.
    pub split_threshold: f64,
    /// The part of a processor and of the memory below which shards are merged, from 0 to 1; it is used in place of the criteria's. Default 0.3.
    pub merge_threshold: f64,
    /// Whether the manager rebalances by itself. Default `false`.
    pub auto_rebalance: bool,
    /// How keys become shards. Default [`ShardStrategy::Hash`].
    pub strategy: ShardStrategy,
    /// How often it looks whether to rebalance, in seconds. Default 300.
    pub rebalance_interval_secs: u64,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            initial_shards: 4,
            virtual_nodes_per_shard: 150,
            split_threshold: 0.8,
            merge_threshold: 0.3,
            auto_rebalance: false,
            strategy: ShardStrategy::Hash,
            rebalance_interval_secs: 300,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// There has to be a shard.
    #[error("initial_shards is 0")]
    NoShards,
    /// More shards than can be numbered.
    #[error("initial_shards is {shards}, 1,000,000 are possible")]
    TooManyShards {
        /// The number.
        shards: usize,
    },
    /// A ring has tokens.
    #[error("virtual_nodes_per_shard is {nodes}, 1 to 100,000 are possible")]
    VirtualNodes {
        /// The number.
        nodes: usize,
    },
    /// A shard that is merged would be split again.
    #[error("merge_threshold {merge} and split_threshold {split} are not 0 < merge < split <= 1")]
    Thresholds {
        /// The threshold for merges.
        merge: f64,
        /// The threshold for splits.
        split: f64,
    },
    /// It would look all the time.
    #[error("rebalance_interval_secs is 0")]
    Interval,
    /// The policy contradicts itself.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    /// The strategy gives another number of shards.
    #[error("the strategy gives {given} shards, initial_shards is {shards}")]
    Cuts {
        /// What it gives.
        given: usize,
        /// What is wanted.
        shards: usize,
    },
    /// The cuts are not above each other.
    #[error("the cuts do not ascend")]
    Order,
}

impl ShardConfig {
    /// Checks what holds of every configuration.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let (merge, split) = (self.merge_threshold, self.split_threshold);
        if !(0.0 < merge && merge < split && split <= 1.0) {
            return Err(ConfigError::Thresholds { merge, split });
        }
        if self.rebalance_interval_secs == 0 {
            return Err(ConfigError::Interval);
        }
        match self.initial_shards {
            0 => Err(ConfigError::NoShards),
            1..=1_000_000 => Ok(()),
            shards => Err(ConfigError::TooManyShards { shards }),
        }
    }

    /// Returns the criteria with the thresholds of this configuration.
    pub(crate) fn criteria(
        &self,
        split: SplitCriteria,
        merge: MergeCriteria,
    ) -> (SplitCriteria, MergeCriteria) {
        let split = SplitCriteria {
            cpu_threshold: self.split_threshold,
            memory_threshold: self.split_threshold,
            ..split
        };
        let merge = MergeCriteria {
            cpu_threshold: self.merge_threshold,
            memory_threshold: self.merge_threshold,
            ..merge
        };
        (split, merge)
    }

    /// Returns the shards at first, `shard-0` and on, dealt out to the nodes in turn.
    pub(crate) fn parts(&self, nodes: &[NodeId]) -> Result<Vec<Part>, ConfigError> {
        let shards = self.initial_shards;
        let extents = match &self.strategy {
            ShardStrategy::Hash => self.ring()?,
            ShardStrategy::HashRanges => {
                KeyRange::even(number(shards)).map(Extent::range).collect()
            }
            ShardStrategy::Range { cuts } => {
                let spans = if cuts.is_empty() {
                    even_spans(shards)?
                } else {
                    spans(cuts)?
                };
                spans
                    .into_iter()
                    .map(|span| Extent::Keys { span })
                    .collect()
            }
            ShardStrategy::Composite { buckets, cuts } => {
                let spans = spans(cuts)?;
                let buckets_given = usize::try_from(*buckets).unwrap_or(usize::MAX);
                let given = buckets_given.saturating_mul(spans.len());
                // Before there are that many of them.
                if given != shards {
                    return Err(ConfigError::Cuts { given, shards });
                }
                let bucket = |bucket| {
                    let extent = move |span| Extent::Bucket {
                        bucket,
                        buckets: *buckets,
                        span,
                    };
                    spans.clone().into_iter().map(extent)
                };
                (0..*buckets).flat_map(bucket).collect::<Vec<_>>()
            }
        };
        if extents.len() != shards {
            let given = extents.len();
            return Err(ConfigError::Cuts { given, shards });
        }
        let part = |(number, extent): (usize, Extent)| Part {
            shard: ShardId::numbered(self::number(number)),
            node: nodes[number % nodes.len()].clone(),
            extent,
        };
        Ok(extents.into_iter().enumerate().map(part).collect())
    }

    /// Returns what each shard owns on a ring of hashed tokens.
    fn ring(&self) -> Result<Vec<Extent>, ConfigError> {
        let nodes = self.virtual_nodes_per_shard;
        if !(1..=100_000).contains(&nodes) {
            return Err(ConfigError::VirtualNodes { nodes });
        }
        let placement = shardwright_hashing::ring::Placement::Hashed;
        let mut ring = Ring::new(placement, number(nodes));
        let names = (0..self.initial_shards).map(|shard| ShardId::numbered(number(shard)));
        let weighted = names.map(|name| (name, shardwright_hashing::Weight::ONE));
        ring.add_all(weighted).expect("numbered names differ");
        let tokens = ring.tokens();
        let mut starts: Vec<(Position, usize)> = tokens
            .shards
            .iter()
            .enumerate()
            .flat_map(|(shard, each)| each.tokens.iter().map(move |token| (*token, shard)))
            .collect();
        starts.sort_unstable();
        // The last arc goes on through zero.
        if let Some((_, last)) = starts.last().copied()
            && starts[0].0 > Position::MIN
        {
            starts.insert(0, (Position::MIN, last));
        }
        let mut ranges = vec![Vec::new(); self.initial_shards];
        for (place, (start, shard)) in starts.iter().enumerate() {
            let end = starts.get(place + 1).map(|(next, _)| *next);
            ranges[*shard].extend(KeyRange::new(*start, end).ok());
        }
        let extents = ranges.into_iter().map(Extent::ranges);
        Ok(extents
            .map(|extent| extent.expect("each shard has tokens"))
            .collect())
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a configuration that was checked has few shards")
}

fn spans(cuts: &[String]) -> Result<Vec<KeySpan>, ConfigError> {
    let bytes: Vec<Vec<u8>> = cuts.iter().map(|cut| cut.clone().into_bytes()).collect();
    spans_between(&bytes)
}

fn even_spans(shards: usize) -> Result<Vec<KeySpan>, ConfigError> {
    let cut = |at: usize| {
        let position = (u128::from(number(at)) << 64) / u128::from(number(shards));
        let position = u64::try_from(position).expect("below 2^64").to_be_bytes();
        let zeros = position.iter().rev().take_while(|byte| **byte == 0).count();
        position[..position.len() - zeros].to_vec()
    };
    let cuts: Vec<Vec<u8>> = (1..shards).map(cut).collect();
    spans_between(&cuts)
}

fn spans_between(cuts: &[Vec<u8>]) -> Result<Vec<KeySpan>, ConfigError> {
    let starts = std::iter::once(Vec::new()).chain(cuts.iter().cloned());
    let ends = cuts.iter().cloned().map(Some).chain([None]);
    let spans: Vec<KeySpan> = starts
        .zip(ends)
        .map(|(start, end)| KeySpan { start, end })
        .collect();
    if spans.iter().any(KeySpan::is_empty) {
        return Err(ConfigError::Order);
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    fn layout(config: &ShardConfig) -> Result<Layout, ConfigError> {
        config.check()?;
        let nodes = [NodeId::new("n1").expect("a name")];
        Ok(Layout::new(config.parts(&nodes)?).expect("no key has two owners"))
    }

    #[test]
    fn every_strategy_gives_each_key_a_shard() {
        let cuts = vec!["h".to_owned(), "p".to_owned(), "w".to_owned()];
        let one = vec!["m".to_owned()];
        let strategies = [
            ShardStrategy::Hash,
            ShardStrategy::HashRanges,
            ShardStrategy::Range { cuts: Vec::new() },
            ShardStrategy::Range { cuts },
            ShardStrategy::Composite {
                buckets: 2,
                cuts: one,
            },
        ];
        for strategy in strategies {
            let config = ShardConfig {
                strategy,
                ..ShardConfig::default()
            };
            let layout = layout(&config).expect("it can be used");
            assert_eq!(layout.len(), 4);
            for key in ["", "a", "user:1234", "zebra", "\u{ff}"] {
                assert!(layout.owner(key.as_bytes()).is_some(), "{config:?} {key:?}");
            }
        }
    }

    #[test]
    fn the_ring_places_keys_as_the_ring_of_hashing_does() {
        let config = ShardConfig::default();
        let layout = layout(&config).expect("it can be used");
        let mut ring = Ring::hashed();
        for shard in 0..4 {
            ring.add(ShardId::numbered(shard)).expect("a new shard");
        }
        for user in 0..500 {
            let key = format!("user:{user}");
            let owner = layout.owner(key.as_bytes()).map(|part| &part.shard);
            assert_eq!(owner, ring.shard_of(&key), "{key}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused = |change: fn(&mut ShardConfig)| {
            let mut config = ShardConfig::default();
            change(&mut config);
            layout(&config).expect_err("it cannot work")
        };
        assert_eq!(
            refused(|config| config.initial_shards = 0),
            ConfigError::NoShards
        );
        let thresholds = refused(|config| config.merge_threshold = 0.8);
        assert!(matches!(thresholds, ConfigError::Thresholds { .. }));
        let ring = refused(|config| config.virtual_nodes_per_shard = 0);
        assert_eq!(ring, ConfigError::VirtualNodes { nodes: 0 });
        let cuts = refused(|config| {
            let cuts = vec!["b".to_owned(), "a".to_owned(), "c".to_owned()];
            config.strategy = ShardStrategy::Range { cuts };
        });
        assert_eq!(cuts, ConfigError::Order);
        let many = refused(|config| {
            let (buckets, cuts) = (4_000_000_000, Vec::new());
            config.strategy = ShardStrategy::Composite { buckets, cuts };
        });
        let (given, shards) = (4_000_000_000, 4);
        assert_eq!(many, ConfigError::Cuts { given, shards });
        assert_eq!(
            refused(|config| config.rebalance_interval_secs = 0),
            ConfigError::Interval
        );
    }
}
