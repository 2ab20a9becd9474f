//! Frames: what one call made durable. Writing one, and telling a whole one from a torn one and from a damaged one.
//!
//! A frame is `number`, `length` of the payload (8 bytes each, little-endian), the `digest` of the frame before it (4 bytes), and the
//! payload, spread over the content of as many sectors as that takes; the rest is zeros.

use super::{
    damage::Why,
    sector::{self, Key, Mark, ROOM, SECTOR},
};

const HEAD: usize = 20;

/// The digest of all before a place: equal ones mean equal frames before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The number of the frame there, counted over all segments.
    pub(super) number: u64,
    /// The digest of the frame before it.
    pub(super) digest: u32,
}

/// Returns how many bytes a frame with so many bytes of payload takes in a file.
pub(super) fn size(length: usize) -> usize {
    (HEAD + length).div_ceil(ROOM) * SECTOR
}

/// Writes a frame to `out`, in place of what it holds, and returns the place after it.
pub(super) fn build(out: &mut Vec<u8>, key: &Key, at: Place, mark: Mark, payload: &[u8]) -> Place {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&at.number.to_le_bytes());
    head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    head[16..].copy_from_slice(&at.digest.to_le_bytes());
    out.clear();
    out.resize(size(payload.len()), 0);
    let mut digest = crc32fast::Hasher::new();
    let mut rest = payload;
    for (index, sector) in out.chunks_exact_mut(SECTOR).enumerate() {
        let (mark, taken) = if index == 0 {
            sector[4..4 + HEAD].copy_from_slice(&head);
            (mark, HEAD)
        } else {
            (Mark::More, 0)
        };
        let here;
        (here, rest) = rest.split_at(rest.len().min(ROOM - taken));
        sector[4 + taken..4 + taken + here.len()].copy_from_slice(here);
        let check = key.close(sector, mark, at.number, index as u64);
        digest.update(&check.to_le_bytes());
    }
    Place {
        number: at.number + 1,
        digest: digest.finalize(),
    }
}

/// What is found at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame.
    Frame(Frame),
    /// The end of the segment: another one follows.
    End,
    /// Nothing: the log ends here.
    Nothing,
    /// A part of a frame, and nothing after it: it was never acknowledged. So many bytes of the file, from here, are to be made empty.
    Torn(usize),
    /// Something that no crash leaves.
    Damaged {
        /// How many bytes after the place.
        after: usize,
        /// Why.
        why: Why,
    },
}

/// A whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// What was written.
    pub(super) payload: Vec<u8>,
    /// How many bytes of the file it takes.
    pub(super) size: usize,
    /// The place after it.
    pub(super) next: Place,
}

/// What one sector is to a frame that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Empty,
    Whole,
    Strange,
}

/// Returns what the rest of a segment begins with.
///
/// A sector is empty, or whole, or damaged. That a sector of a frame is empty is no damage only if nothing follows the frame: there is at
/// most one frame at a time that is not acknowledged.
pub(super) fn find(rest: &[u8], key: &Key, at: Place) -> Found {
    let part = |index: usize, sector: &[u8]| {
        if sector::is_empty(sector) {
            return Part::Empty;
        }
        let mark = Mark::of(sector);
        let is_first = matches!(mark, Some(Mark::Frame | Mark::End));
        let is_expected = (index == 0) == is_first && mark != Some(Mark::Segment);
        if is_expected && key.fits(sector, at.number, index as u64) {
            Part::Whole
        } else {
            Part::Strange
        }
    };
    let Some(first) = rest.get(..SECTOR) else {
        return damaged(0, Why::CutOff);
    };
    let sectors = match part(0, first) {
        // All that may follow are sectors of the frame that lost its first one.
        Part::Empty => rest.len() / SECTOR,
        Part::Strange => return damaged(0, Why::Content),
        Part::Whole => match head(first, at) {
            Some(length) => match sectors(length, rest.len()) {
                Some(sectors) => sectors,
                None => return damaged(0, Why::CutOff),
            },
            None => return damaged(0, Why::Order),
        },
    };
    let (mut empty, mut last) = (0, None);
    for (index, sector) in rest.chunks_exact(SECTOR).take(sectors).enumerate() {
        match part(index, sector) {
            Part::Empty => empty += 1,
            Part::Whole => last = Some(index),
            Part::Strange => return damaged(index * SECTOR, Why::Content),
        }
    }
    let Some(last) = last else {
        return Found::Nothing;
    };
    if empty == 0 {
        return whole(&rest[..sectors * SECTOR], at);
    }
    match rest
        .chunks(SECTOR)
        .skip(sectors)
        .position(|sector| sector.iter().any(|byte| *byte != 0))
    {
        Some(index) => damaged((sectors + index) * SECTOR, Why::Content),
        None => Found::Torn((last + 1) * SECTOR),
    }
}

fn damaged(after: usize, why: Why) -> Found {
    Found::Damaged { after, why }
}

/// Returns the length of the payload that a first sector announces, if it belongs here.
fn head(first: &[u8], at: Place) -> Option<u64> {
    let head = sector::content(first);
    let long = |at: usize| {
        let (low, high) = (sector::number(&head[at..]), sector::number(&head[at + 4..]));
        u64::from(low) | u64::from(high) << 32
    };
    let is_next = long(0) == at.number && sector::number(&head[16..]) == at.digest;
    is_next.then(|| long(8))
}

/// Returns how many sectors a frame takes, if there are as many.
fn sectors(length: u64, available: usize) -> Option<usize> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= available)?;
    let size = size(length);
    (size <= available).then_some(size / SECTOR)
}

/// Takes a frame apart whose sectors are all whole.
fn whole(frame: &[u8], at: Place) -> Found {
    if Mark::of(frame) == Some(Mark::End) {
        return Found::End;
    }
    let mut digest = crc32fast::Hasher::new();
    let mut payload = Vec::with_capacity(frame.len());
    for sector in frame.chunks_exact(SECTOR) {
        digest.update(&sector::check(sector).to_le_bytes());
        payload.extend_from_slice(sector::content(sector));
    }
    let length = head(frame, at).and_then(|length| usize::try_from(length).ok());
    payload.drain(..HEAD);
    payload.truncate(length.unwrap_or(0));
    let next = Place {
        number: at.number + 1,
        digest: digest.finalize(),
    };
    let size = frame.len();
    Found::Frame(Frame {
        payload,
        size,
        next,
    })
}
