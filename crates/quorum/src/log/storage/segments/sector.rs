//! Sectors: what a disk writes whole or not at all, and how one says that it is what was written.
//!
//! A sector is a mark of 4 bytes, 504 bytes of content, and the CRC-32 of both, which also covers where the sector belongs.
//! The mark makes sure that no sector comes near one that was never written, which is all zeros: by no single bit.

use crc32fast::Hasher;
use shardwright_topology::ReplicaId;

/// The bytes of a sector.
pub(super) const SECTOR: usize = 512;

/// The bytes of content in a sector.
pub(super) const ROOM: usize = SECTOR - MARK - CHECK;

const MARK: usize = 4;
const CHECK: usize = 4;

/// What a sector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The header of a segment.
    Segment,
    /// The first one of a frame.
    Frame,
    /// Another one of a frame.
    More,
    /// The end of a segment, after which another one follows.
    End,
}

impl Mark {
    fn bytes(self) -> &'static [u8; MARK] {
        match self {
            Self::Segment => b"SWLS",
            Self::Frame => b"SWLF",
            Self::More => b"SWLM",
            Self::End => b"SWLE",
        }
    }

    /// Returns the mark of a sector.
    pub(super) fn of(sector: &[u8]) -> Option<Self> {
        let all = [Self::Segment, Self::Frame, Self::More, Self::End];
        all.into_iter()
            .find(|mark| sector.starts_with(mark.bytes()))
    }
}

/// Returns whether a sector was never written.
pub(super) fn is_empty(sector: &[u8]) -> bool {
    sector == [0; SECTOR]
}

/// Returns the content of a sector.
pub(super) fn content(sector: &[u8]) -> &[u8] {
    &sector[MARK..MARK + ROOM]
}

/// Returns the check that a sector carries.
pub(super) fn check(sector: &[u8]) -> u32 {
    number(&sector[MARK + ROOM..])
}

/// Reads a number of four bytes.
pub(super) fn number(bytes: &[u8]) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(number)
}

/// What the checks of one segment begin with, so that a sector of another copy or segment is none of this one.
#[derive(Debug, Clone, Default)]
pub(super) struct Key(Hasher);

impl Key {
    /// Returns the key of the segment whose first frame has this number. The header of a segment has the default key: it says these.
    pub(super) fn new(replica_id: ReplicaId, first: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(replica_id.to_string().as_bytes());
        hasher.update(&first.to_le_bytes());
        Self(hasher)
    }

    /// Marks a sector and writes its check, as the sector with an index of the frame with a number; returns the check.
    pub(super) fn close(&self, sector: &mut [u8], mark: Mark, number: u64, index: u64) -> u32 {
        sector[..MARK].copy_from_slice(mark.bytes());
        let check = self.compute(sector, number, index);
        sector[MARK + ROOM..].copy_from_slice(&check.to_le_bytes());
        check
    }

    /// Returns whether a sector is as it was written, at its place.
    pub(super) fn fits(&self, sector: &[u8], number: u64, index: u64) -> bool {
        check(sector) == self.compute(sector, number, index)
    }

    fn compute(&self, sector: &[u8], number: u64, index: u64) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&number.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        hasher.update(&sector[..MARK + ROOM]);
        hasher.finalize()
    }
}
