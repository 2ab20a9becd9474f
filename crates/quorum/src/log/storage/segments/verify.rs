//! What is found in a copy that is not opened.

use std::path::{Path, PathBuf};

use shardwright_topology::{Lsn, ReplicaId};

use super::replay::{self, Replay};
use crate::log::{Ballot, Point};

/// What a copy holds that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The copy.
    pub replica_id: ReplicaId,
    /// The highest ballot promised.
    pub promised: Option<Ballot>,
    /// The place in front of the first record held.
    pub base: Point,
    /// The last record held.
    pub last: Point,
    /// The highest record known to be committed.
    pub known_commit: Lsn,
    /// The files, oldest first.
    pub segments: Vec<SegmentFindings>,
    /// How many bytes are there of a write that a crash cut short; opening the copy drops them.
    pub torn_bytes: u64,
}

/// What one file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFindings {
    /// The file.
    pub file: PathBuf,
    /// How many frames are in it.
    pub frames: u64,
    /// How many bytes it has, those ahead of the frames included.
    pub bytes: u64,
}

impl Findings {
    pub(super) fn of(directory: &Path, replay: &Replay) -> Self {
        let kept = &replay.kept;
        let sizes = replay.series.0.iter().zip(&replay.sizes);
        let segments = sizes.map(|(segment, (frames, bytes))| SegmentFindings {
            file: directory.join(replay::name(segment.first)),
            frames: *frames,
            bytes: *bytes,
        });
        Self {
            replica_id: kept.replica_id,
            promised: kept.promised,
            base: kept.log.base(),
            last: kept.log.last(),
            known_commit: kept.known_commit,
            segments: segments.collect(),
            torn_bytes: replay.tail.torn as u64,
        }
    }
}
