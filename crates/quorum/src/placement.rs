//! Placement: which peers get the copies of an event.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use shardwright_hashing::allocation::Random;
use smallvec::SmallVec;

use crate::{Peer, PeerId, Place};

/// How many copies go where on purpose. The others go to the same zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicationStrategy {
    /// Copies in other zones of this node's region. None by default.
    pub other_zone_replicas: usize,
    /// Copies in other regions. None by default.
    pub other_region_replicas: usize,
}

/// The number of a peer within one value of [`Peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub(crate) u32);

impl PeerIndex {
    fn position(self) -> usize {
        self.0 as usize
    }
}

/// The peers that a node knows, in the order in which they were added.
///
/// Each id is there once, at one place.
#[derive(Debug, Clone)]
pub struct Peers<P> {
    peers: Vec<Peer<P>>,
    by_id: HashMap<PeerId, PeerIndex>,
    zones: Vec<Group>,
    regions: Vec<Group>,
    same_zone: Vec<PeerIndex>,
    /// All of them: other zones, other regions, the same zone.
    fallback: Arc<[PeerIndex]>,
}

/// The peers of one zone or of one region.
#[derive(Debug, Clone)]
struct Group {
    name: String,
    peers: Vec<PeerIndex>,
}

impl<P> Default for Peers<P> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl<P> Peers<P> {
    fn of(peers: Vec<Peer<P>>) -> Self {
        let mut by_id = HashMap::with_capacity(peers.len());
        let (mut zones, mut regions, mut same_zone) = (Vec::new(), Vec::new(), Vec::new());
        for (index, peer) in (0..).map(PeerIndex).zip(&peers) {
            by_id.insert(peer.id.clone(), index);
            match &peer.place {
                Place::SameZone => same_zone.push(index),
                Place::OtherZone(zone) => join(&mut zones, zone, index),
                Place::OtherRegion(region) => join(&mut regions, region, index),
            }
        }
        let mut fallback: Vec<PeerIndex> = Vec::with_capacity(peers.len());
        for groups in [&zones, &regions] {
            let start = fallback.len();
            fallback.extend(groups.iter().flat_map(|group: &Group| &group.peers));
            fallback[start..].sort_unstable();
        }
        fallback.extend(&same_zone);
        Self {
            peers,
            by_id,
            zones,
            regions,
            same_zone,
            fallback: fallback.into(),
        }
    }

    /// Adds a peer. One of the same id is replaced, wherever it was, and keeps its turn in the order; returns whether there was one.
    pub fn add(&mut self, id: PeerId, contact: P, place: Place) -> bool {
        let known = self.by_id.get(&id).copied();
        let peer = Peer { id, contact, place };
        let mut peers = std::mem::take(&mut self.peers);
        match known {
            Some(index) => peers[index.position()] = peer,
            None => peers.push(peer),
        }
        *self = Self::of(peers);
        known.is_some()
    }

    /// Removes a peer, wherever it is; returns whether it was there.
    pub fn drop_peer(&mut self, id: &PeerId) -> bool {
        let Some(index) = self.index_of(id) else {
            return false;
        };
        let mut peers = std::mem::take(&mut self.peers);
        peers.remove(index.position());
        *self = Self::of(peers);
        true
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Returns them in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Peer<P>> {
        self.peers.iter()
    }

    /// Returns the number of a peer.
    #[must_use]
    pub fn index_of(&self, id: &PeerId) -> Option<PeerIndex> {
        self.by_id.get(id).copied()
    }

    /// Returns the peer of a number.
    ///
    /// # Panics
    /// If the number is not of this value.
    #[must_use]
    pub fn at(&self, index: PeerIndex) -> &Peer<P> {
        &self.peers[index.position()]
    }

    /// Returns all of them in the order in which they stand in for peers that fail: other zones, other regions, the same
    /// zone, and within each in the order in which they were added.
    #[must_use]
    pub fn fallback(&self) -> &Arc<[PeerIndex]> {
        &self.fallback
    }

    /// Returns the peers that get the copies of one event, all but the local one, no peer twice.
    ///
    /// First come those in other zones, then those in other regions, then those in the same zone; if that is not enough, the rest
    /// in the order of [`fallback`](Self::fallback). Copies in other zones are spread: no zone gets a second one before every
    /// zone has one, as far as it has peers. The same holds for regions. There are fewer than `replication_factor` - 1 only
    /// if fewer peers are known.
    #[must_use]
    pub fn choose(
        &self,
        replication_factor: usize,
        strategy: &ReplicationStrategy,
        random: &mut Random,
    ) -> Vec<PeerIndex> {
        let wanted = replication_factor.saturating_sub(1).min(self.len());
        let mut chosen = Vec::with_capacity(wanted);
        spread(
            &self.zones,
            strategy.other_zone_replicas.min(wanted),
            random,
            &mut chosen,
        );
        let regions = strategy.other_region_replicas.min(wanted - chosen.len());
        spread(&self.regions, regions, random, &mut chosen);
        let mut same_zone = Draw::new(self.same_zone.len());
        while chosen.len() < wanted
            && let Some(drawn) = same_zone.next(random)
        {
            chosen.push(self.same_zone[drawn]);
        }
        if chosen.len() < wanted {
            let missing = wanted - chosen.len();
            let untried = self.fallback.iter().filter(|peer| !chosen.contains(peer));
            let untried: Vec<PeerIndex> = untried.take(missing).copied().collect();
            chosen.extend(untried);
        }
        chosen
    }
}

fn join(groups: &mut Vec<Group>, name: &str, peer: PeerIndex) {
    match groups.iter_mut().find(|group| group.name == name) {
        Some(group) => group.peers.push(peer),
        None => groups.push(Group {
            name: name.to_owned(),
            peers: vec![peer],
        }),
    }
}

/// Chooses `copies` peers of these groups, by rounds: in each round every group that has peers left gives one.
fn spread(groups: &[Group], copies: usize, random: &mut Random, chosen: &mut Vec<PeerIndex>) {
    if copies == 0 {
        return;
    }
    let target = chosen.len() + copies;
    let mut draws: SmallVec<[Draw; 4]> = groups
        .iter()
        .map(|group| Draw::new(group.peers.len()))
        .collect();
    loop {
        let before = chosen.len();
        let mut turns = Draw::new(groups.len());
        while let Some(turn) = turns.next(random) {
            if chosen.len() == target {
                return;
            }
            if let Some(drawn) = draws[turn].next(random) {
                chosen.push(groups[turn].peers[drawn]);
            }
        }
        if chosen.len() == before {
            return;
        }
    }
}

/// Draws the numbers below a bound in random order, each once.
#[derive(Debug)]
struct Draw {
    bound: usize,
    /// In ascending order.
    drawn: SmallVec<[u32; 4]>,
}

impl Draw {
    fn new(bound: usize) -> Self {
        Self {
            bound,
            drawn: SmallVec::new(),
        }
    }

    fn next(&mut self, random: &mut Random) -> Option<usize> {
        let left = self.bound - self.drawn.len();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        if left == 0 {
            return None;
        }
        // The number of that rank among those that are left.
        let mut number = if left == 1 { 0 } else { random.below(left) };
        let mut rank = 0;
        while let Some(drawn) = self.drawn.get(rank)
            && *drawn <= number
        {
            number += 1;
            rank += 1;
        }
        self.drawn.insert(rank, number);
        Some(number as usize)
    }
}
