//! The header of a segment: whose it is, and what was kept before its first frame.

use serde::{Deserialize, Serialize};
use shardwright_topology::{Lsn, ReplicaId};

use super::{
    damage::Why,
    frame::Place,
    sector::{self, Key, Mark, SECTOR},
};
use crate::log::{Ballot, Durable, Log, Point};

/// The version of the format. A header says its own; in each version it begins with the mark and the version, and ends with the check.
pub(super) const VERSION: u32 = 1;

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The copy.
    pub(super) replica_id: ReplicaId,
    /// The number of the first frame.
    pub(super) first: u64,
    /// The digest of the frame before it.
    pub(super) digest: u32,
    /// What was promised before.
    pub(super) promised: Option<Ballot>,
    /// Where the log began.
    pub(super) base: Point,
    /// Where the log ended: the records of this segment follow.
    pub(super) start: Point,
    /// What was known to be committed.
    pub(super) known_commit: Lsn,
}

/// Why there is no header.
#[derive(Debug)]
pub(super) enum NoHeader {
    /// Another version wrote it.
    Version(u32),
    /// It is damaged.
    Damaged(Why),
}

impl Header {
    /// Returns the header of a segment that begins at a place, after what is kept.
    pub(super) fn new(at: Place, kept: &Durable) -> Self {
        Self {
            replica_id: kept.replica_id,
            first: at.number,
            digest: at.digest,
            promised: kept.promised,
            base: kept.log.base(),
            start: kept.log.last(),
            known_commit: kept.known_commit,
        }
    }

    /// Returns the sector.
    pub(super) fn to_sector(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut sector = vec![0; SECTOR];
        sector[4..8].copy_from_slice(&VERSION.to_le_bytes());
        postcard::to_slice(self, &mut sector[8..SECTOR - 4])?;
        Key::default().close(&mut sector, Mark::Segment, 0, 0);
        Ok(sector)
    }

    /// Reads the header of a segment.
    pub(super) fn read(segment: &[u8]) -> Result<Self, NoHeader> {
        let Some(sector) = segment.get(..SECTOR) else {
            return Err(NoHeader::Damaged(Why::CutOff));
        };
        let is_header = Mark::of(sector) == Some(Mark::Segment);
        if !is_header || !Key::default().fits(sector, 0, 0) {
            return Err(NoHeader::Damaged(Why::Content));
        }
        let content = sector::content(sector);
        match sector::number(content) {
            VERSION => {
                postcard::from_bytes(&content[4..]).map_err(|_| NoHeader::Damaged(Why::Encoding))
            }
            version => Err(NoHeader::Version(version)),
        }
    }

    /// Returns the place of the first frame.
    pub(super) fn place(&self) -> Place {
        Place {
            number: self.first,
            digest: self.digest,
        }
    }

    /// Returns what checks the sectors of the segment.
    pub(super) fn key(&self) -> Key {
        Key::new(self.replica_id, self.first)
    }

    /// Returns what was kept before the segment, as far as it matters after it.
    pub(super) fn kept(&self) -> Durable {
        Durable {
            promised: self.promised,
            log: Log::from_base(self.start),
            known_commit: self.known_commit,
            ..Durable::new(self.replica_id)
        }
    }

    /// Returns whether the segment follows what was read before it.
    pub(super) fn follows(&self, kept: &Durable) -> bool {
        self.start == kept.log.last()
            && self.promised == kept.promised
            && self.known_commit == kept.known_commit
    }
}
