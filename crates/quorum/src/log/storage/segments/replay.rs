//! Reads a copy back: all segments in their order, and what was kept is the sum of their writes. Nothing is changed.

use std::{io, ops::Range};

use shardwright_topology::Lsn;

use super::{
    damage::Why,
    disk::Disk,
    encoding,
    frame::{self, Found, Place},
    header::{Header, NoHeader},
    sector::{Key, SECTOR},
};
use crate::log::{Durable, Write};

/// What is known of one segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The number of its first frame, by which it is named.
    pub(super) first: u64,
    /// Where the log ended before it.
    start: Lsn,
    /// Whether nothing of what is before it is needed once the log begins after `start`: no later write took records before that back.
    stands_alone: bool,
}

/// All segments of a copy, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(pub(super) Vec<Segment>);

impl Series {
    /// Adds the newest one.
    pub(super) fn push(&mut self, header: &Header) {
        self.0.push(Segment {
            first: header.first,
            start: header.start.lsn,
            stands_alone: true,
        });
    }

    /// Notes what a write does to those that are there.
    pub(super) fn note(&mut self, write: &Write) {
        if let Some(lsn) = write.truncate_after {
            for segment in &mut self.0 {
                segment.stands_alone &= lsn >= segment.start;
            }
        }
    }

    /// Returns how many of the oldest ones nobody needs, if the log begins at `base`.
    pub(super) fn unneeded(&self, base: Lsn) -> usize {
        let enough = |segment: &Segment| segment.stands_alone && segment.start <= base;
        self.0.iter().rposition(enough).unwrap_or(0)
    }
}

/// Returns the name of the segment whose first frame has this number.
pub(super) fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// Returns the name that a segment has until it is complete.
pub(super) fn unfinished_name(first: u64) -> String {
    name(first) + UNFINISHED
}

/// Returns whether a file is a segment that was never completed.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED)
        .is_some_and(|name| number_in(name).is_some())
}

const SUFFIX: &str = ".log";
const UNFINISHED: &str = ".new";

fn number_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// Returns the numbers of the segments there are, in order.
pub(super) fn list(disk: &impl Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk
        .names()?
        .iter()
        .filter_map(|name| number_in(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the log goes on, in the last segment.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// The checks of the segment.
    pub(super) key: Key,
    /// The place of the next frame.
    pub(super) next: Place,
    /// Its byte in the file.
    pub(super) end: usize,
    /// How many bytes from there are left of a frame that was never acknowledged.
    pub(super) torn: usize,
    /// Whether the segment ends there, and another one follows.
    is_closed: bool,
    /// What was written last: it may be in the memory of the system alone.
    pub(super) newest: Range<usize>,
}

/// A copy as it was read.
#[derive(Debug)]
pub(super) struct Replay {
    /// What was kept.
    pub(super) kept: Durable,
    /// The segments.
    pub(super) series: Series,
    /// How many frames each of them has, and how many bytes.
    pub(super) sizes: Vec<(u64, u64)>,
    /// Where the log goes on.
    pub(super) tail: Tail,
    /// The content of the last segment.
    pub(super) content: Vec<u8>,
    /// The segments before those, which nobody needs: a crash came before they were removed.
    pub(super) obsolete: Vec<u64>,
    /// What is missing, as long as no write was read that says that nobody needs it.
    missing: Option<Missing>,
}

/// Segments that are not there.
#[derive(Debug)]
struct Missing {
    /// The segment after them.
    before: u64,
    /// Where the log ended before that.
    start: Lsn,
    /// What is left without all that follows.
    left: Box<Durable>,
}

impl Missing {
    fn to_damage(&self) -> NotRead {
        NotRead::Damaged(self.before, 0, Why::Missing, Some(self.left.clone()))
    }
}

impl Tail {
    fn of(header: &Header) -> Self {
        Self {
            key: header.key(),
            next: header.place(),
            end: SECTOR,
            torn: 0,
            is_closed: false,
            newest: 0..SECTOR,
        }
    }
}

/// Why a copy was not read.
#[derive(Debug)]
pub(super) enum NotRead {
    /// There is none.
    Nothing,
    /// A segment has another version.
    Version(u64, u32),
    /// A segment is damaged, at a byte. What was kept before is left.
    Damaged(u64, usize, Why, Option<Box<Durable>>),
    /// The disk refused.
    Io(io::Error),
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a copy.
pub(super) fn read(disk: &impl Disk) -> Result<Replay, NotRead> {
    let numbers = list(disk)?;
    let Some((first, later)) = numbers.split_first() else {
        return Err(NotRead::Nothing);
    };
    let mut replay = Replay::begin(*first, disk.read(&name(*first))?)?;
    for number in later {
        let content = disk.read(&name(*number))?;
        replay.go_on(*number, content)?;
    }
    replay.conclude()
}

/// Reads the header of the segment with a name.
fn header(number: u64, content: &[u8]) -> Result<Header, NoHeader> {
    let header = Header::read(content)?;
    if header.first == number {
        Ok(header)
    } else {
        Err(NoHeader::Damaged(Why::Order))
    }
}

impl NoHeader {
    fn at(self, number: u64, kept: Option<&Durable>) -> NotRead {
        match self {
            Self::Version(version) => NotRead::Version(number, version),
            Self::Damaged(why) => NotRead::Damaged(number, 0, why, kept.map(left)),
        }
    }
}

/// Returns what is missing before a segment, unless the log began where it begins.
fn missing_before(header: &Header, kept: &Durable) -> Option<Missing> {
    (header.base != header.start).then(|| Missing {
        before: header.first,
        start: header.start.lsn,
        left: left(kept),
    })
}

/// Returns what is left of a copy that is damaged.
fn left(kept: &Durable) -> Box<Durable> {
    Box::new(Durable {
        clean: false,
        ..kept.clone()
    })
}

/// Where a segment is damaged, and why.
type Flaw = (usize, Why);

impl Replay {
    fn begin(number: u64, content: Vec<u8>) -> Result<Self, NotRead> {
        let header = header(number, &content).map_err(|no| no.at(number, None))?;
        let mut replay = Self {
            kept: header.kept(),
            series: Series::default(),
            sizes: Vec::new(),
            tail: Tail::of(&header),
            content: Vec::new(),
            obsolete: Vec::new(),
            missing: missing_before(&header, &header.kept()),
        };
        replay.segment(&header, content)?;
        Ok(replay)
    }

    /// Reads the segment after the last one.
    fn go_on(&mut self, number: u64, content: Vec<u8>) -> Result<(), NotRead> {
        let before = self.newest();
        if self.tail.torn > 0 {
            return Err(self.damaged(before, (self.tail.end, Why::Content)));
        }
        let header = match header(number, &content) {
            Ok(header) => header,
            Err(no) => return Err(no.at(number, Some(&self.kept))),
        };
        let why = if header.replica_id != self.kept.replica_id {
            Some(Why::OtherCopy)
        } else if header.first > self.tail.next.number {
            self.skip_to(&header);
            None
        } else if header.place() != self.tail.next || !header.follows(&self.kept) {
            Some(Why::Order)
        } else {
            None
        };
        if let Some(why) = why {
            return Err(self.damaged(number, (0, why)));
        }
        self.segment(&header, content)
    }

    /// Begins anew with a segment before which others are missing.
    fn skip_to(&mut self, header: &Header) {
        if self.missing.is_none() {
            self.missing = missing_before(header, &self.kept);
        }
        let obsolete = std::mem::take(&mut self.series).0;
        self.obsolete
            .extend(obsolete.iter().map(|segment| segment.first));
        self.sizes.clear();
        self.kept = header.kept();
    }

    fn segment(&mut self, header: &Header, content: Vec<u8>) -> Result<(), NotRead> {
        self.series.push(header);
        self.tail = Tail::of(header);
        self.content = content;
        self.frames()
    }

    /// Takes in the frames of the last segment.
    fn frames(&mut self) -> Result<(), NotRead> {
        let content = std::mem::take(&mut self.content);
        let before = self.tail.next.number;
        let read = self.take_in(&content);
        self.sizes
            .push((self.tail.next.number - before, content.len() as u64));
        self.content = content;
        read.map_err(|flaw| self.damaged(self.newest(), flaw))
    }

    fn take_in(&mut self, content: &[u8]) -> Result<(), Flaw> {
        loop {
            let at = self.tail.end;
            match frame::find(&content[at..], &self.tail.key, self.tail.next) {
                Found::Frame(frame) => {
                    let writes =
                        encoding::decode(&frame.payload).map_err(|_| (at, Why::Encoding))?;
                    for write in &writes {
                        self.write(write).map_err(|why| (at, why))?;
                    }
                    self.tail.end += frame.size;
                    self.tail.newest = at..self.tail.end;
                    self.tail.next = frame.next;
                }
                Found::End => {
                    self.tail.is_closed = true;
                    return Ok(());
                }
                Found::Nothing => return Ok(()),
                Found::Torn(bytes) => {
                    self.tail.torn = bytes;
                    return Ok(());
                }
                Found::Damaged { after, why } => return Err((at + after, why)),
            }
        }
    }

    fn write(&mut self, write: &Write) -> Result<(), Why> {
        self.kept.take_in(write)?;
        self.series.note(write);
        let base = self.kept.log.base().lsn;
        let needs = |missing: &Missing| {
            let is_trimmed = |trim| missing.start <= trim && trim <= base;
            write.base.is_none() && !write.trim.is_some_and(is_trimmed)
        };
        self.missing = self.missing.take().filter(needs);
        Ok(())
    }

    fn conclude(self) -> Result<Self, NotRead> {
        if let Some(missing) = &self.missing {
            return Err(missing.to_damage());
        }
        if self.tail.is_closed {
            return Err(self.damaged(self.newest(), (self.tail.end, Why::Missing)));
        }
        Ok(self)
    }

    fn newest(&self) -> u64 {
        self.series.0.last().map_or(0, |segment| segment.first)
    }

    fn damaged(&self, segment: u64, (offset, why): Flaw) -> NotRead {
        match (&self.missing, why) {
            // They build on what is missing.
            (Some(missing), Why::Records(_)) => missing.to_damage(),
            (Some(Missing { left, .. }), _) => {
                NotRead::Damaged(segment, offset, why, Some(left.clone()))
            }
            (None, _) => NotRead::Damaged(segment, offset, why, Some(left(&self.kept))),
        }
    }
}
