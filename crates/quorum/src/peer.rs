//! Peers: the other nodes that may hold copies, and where they are as seen from this one.

use std::{fmt, sync::Arc};

use shardwright_topology::{Location, NodeId};

/// What tells one peer from another. Two copies under one id are one copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// Returns the id of this name, which may be any text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for PeerId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&NodeId> for PeerId {
    fn from(node: &NodeId) -> Self {
        Self::new(node.as_str())
    }
}

/// Where a peer is, as seen from this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Place {
    /// In this node's own zone.
    #[default]
    SameZone,
    /// In this zone of this node's region, which is not its own.
    OtherZone(String),
    /// In this region, which is not this node's.
    OtherRegion(String),
}

impl Place {
    /// Reads alldata's two options: a zone wins, and the region beside it is ignored; neither means the same zone.
    #[must_use]
    pub fn from_options(zone: Option<&str>, region: Option<&str>) -> Self {
        match (zone, region) {
            (Some(zone), _) => Self::OtherZone(zone.to_owned()),
            (None, Some(region)) => Self::OtherRegion(region.to_owned()),
            (None, None) => Self::SameZone,
        }
    }

    /// Returns where a node at `there` is, as seen from one at `here`.
    ///
    /// Regions are compared first, then zones. What either does not know is taken for the same, so that a copy never counts
    /// as spread by mistake.
    #[must_use]
    pub fn seen_from(here: &Location, there: &Location) -> Self {
        if let Some(region) = differing(here.region.as_ref(), there.region.as_ref()) {
            return Self::OtherRegion(region.clone());
        }
        match differing(here.zone.as_ref(), there.zone.as_ref()) {
            Some(zone) => Self::OtherZone(zone.clone()),
            None => Self::SameZone,
        }
    }
}

fn differing<'a>(here: Option<&String>, there: Option<&'a String>) -> Option<&'a String> {
    here.zip(there)
        .and_then(|(here, there)| (here != there).then_some(there))
}

/// A node that may hold copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer<P> {
    pub(crate) id: PeerId,
    pub(crate) contact: P,
    pub(crate) place: Place,
}

impl<P> Peer<P> {
    /// Returns what tells it from others.
    #[must_use]
    pub fn id(&self) -> &PeerId {
        &self.id
    }

    /// Returns what a client needs to reach it; this crate does not look into it.
    #[must_use]
    pub fn contact(&self) -> &P {
        &self.contact
    }

    /// Returns where it is, as seen from this node.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(region: Option<&str>, zone: Option<&str>) -> Location {
        Location {
            region: region.map(str::to_owned),
            zone: zone.map(str::to_owned),
        }
    }

    #[test]
    fn a_zone_wins_over_a_region_in_the_options_only() {
        let zone = || Place::OtherZone("z".to_owned());
        let region = || Place::OtherRegion("r".to_owned());
        assert_eq!(Place::from_options(Some("z"), Some("r")), zone());
        assert_eq!(Place::from_options(None, Some("r")), region());
        assert_eq!(Place::from_options(None, None), Place::SameZone);

        let here = at(Some("here"), Some("a"));
        assert_eq!(Place::seen_from(&here, &at(Some("r"), Some("z"))), region());
        assert_eq!(
            Place::seen_from(&here, &at(Some("here"), Some("z"))),
            zone()
        );
        assert_eq!(Place::seen_from(&here, &here), Place::SameZone);
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_another_place() {
        let here = at(Some("here"), Some("a"));
        assert_eq!(Place::seen_from(&here, &at(None, None)), Place::SameZone);
        assert_eq!(
            Place::seen_from(&at(None, None), &at(Some("r"), Some("z"))),
            Place::SameZone
        );
        assert_eq!(
            Place::seen_from(&here, &at(None, Some("z"))),
            Place::OtherZone("z".to_owned())
        );
    }
}
