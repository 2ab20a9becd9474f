//! The journal of a copy: frames in segments, on any disk.

use std::io;

use super::{
    Options,
    disk::Disk,
    encoding,
    frame::{self, Place},
    header::Header,
    replay::{self, NotRead, Replay, Series},
    sector::{Key, Mark, SECTOR},
};
use crate::log::{Durable, StorageError, Write};

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal<D: Disk> {
    disk: D,
    options: Options,
    /// What is durable. It shares its records with whoever wrote them.
    kept: Durable,
    series: Series,
    active: Active<D::File>,
    payload: Vec<u8>,
    frame: Vec<u8>,
    failed: bool,
}

/// The segment that is written to.
#[derive(Debug)]
struct Active<F> {
    file: F,
    key: Key,
    next: Place,
    /// The byte of the next frame.
    end: usize,
    /// The bytes of the file. All after `end` are zeros, durably, and at least a sector.
    length: usize,
}

impl<D: Disk> Journal<D> {
    /// Makes the journal of a copy that holds nothing. There must be no segment.
    pub(super) fn create(disk: D, kept: Durable, options: Options) -> io::Result<Self> {
        let at = Place {
            number: 1,
            digest: 0,
        };
        let header = Header::new(at, &kept);
        let active = begin(&disk, &header, &options, 0).map_err(|error| match error {
            StorageError::NoRoom(error) | StorageError::Medium(error) => error,
            StorageError::Failed => io::Error::other(StorageError::Failed),
        })?;
        let mut series = Series::default();
        series.push(&header);
        Ok(Self::new(disk, options, kept, series, active))
    }

    /// Opens a journal. What it says to be kept is durable.
    pub(super) fn open(disk: D, options: Options) -> Result<Self, NotRead> {
        let Replay {
            kept,
            series,
            tail,
            mut content,
            obsolete,
            ..
        } = replay::read(&disk)?;
        remove_unfinished(&disk)?;
        for number in obsolete.into_iter().rev() {
            disk.remove(&replay::name(number))?;
            disk.sync_names()?;
        }
        let newest = series.0.last().map_or(0, |segment| segment.first);
        let mut file = disk.open(&replay::name(newest))?;
        // What was read may be in the memory of the system alone, even if an earlier sync failed: only what is written again is
        // certain to reach the disk. All that came before was synced before this was begun.
        let doubtful = tail.newest.start..tail.end + tail.torn;
        content[tail.end..doubtful.end].fill(0);
        disk.write_at(&mut file, doubtful.start as u64, &content[doubtful])?;
        disk.sync(&mut file)?;
        disk.sync_names()?;
        let active = Active {
            file,
            key: tail.key,
            next: tail.next,
            end: tail.end,
            length: content.len() / SECTOR * SECTOR,
        };
        Ok(Self::new(disk, options, kept, series, active))
    }

    fn new(
        disk: D,
        options: Options,
        kept: Durable,
        series: Series,
        active: Active<D::File>,
    ) -> Self {
        Self {
            disk,
            options,
            kept,
            series,
            active,
            payload: Vec::new(),
            frame: Vec::new(),
            failed: false,
        }
    }

    /// Returns what is durable.
    pub(super) fn kept(&self) -> &Durable {
        &self.kept
    }

    /// Makes writes durable, together.
    pub(super) fn persist(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let done = self.write(writes);
        self.failed = done.is_err();
        done
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        let encoded = encoding::encode(&mut self.payload, writes);
        encoded.map_err(|error| StorageError::Medium(io::Error::other(error)))?;
        let size = frame::size(self.payload.len());
        let is_fresh = self.active.end == SECTOR;
        if !is_fresh && needed(self.active.end, size) > self.options.segment_bytes {
            self.roll(size)?;
        }
        self.grow(size)?;
        let active = &mut self.active;
        let next = frame::build(
            &mut self.frame,
            &active.key,
            active.next,
            Mark::Frame,
            &self.payload,
        );
        let end = active.end as u64;
        let written = self.disk.write_at(&mut active.file, end, &self.frame);
        written.map_err(StorageError::from)?;
        let synced = self.disk.sync(&mut active.file);
        synced.map_err(StorageError::Medium)?;
        active.next = next;
        active.end += size;
        for write in writes {
            self.kept.take_in_verified(write);
            self.series.note(write);
        }
        let drops = |write: &Write| write.trim.is_some() || write.base.is_some();
        if writes.iter().any(drops) {
            self.drop_unneeded()?;
        }
        Ok(())
    }

    /// Makes room for a frame, and for the empty sector after it by which a file that was cut off is told from one that is whole.
    ///
    /// The room is durable before the frame is: then the frame changes nothing but content, which syncs faster.
    fn grow(&mut self, size: usize) -> Result<(), StorageError> {
        let active = &mut self.active;
        let needed = needed(active.end, size);
        if needed <= active.length {
            return Ok(());
        }
        let length = room(needed, &self.options);
        let zeros = vec![0; length - active.length];
        let at = active.length as u64;
        let written = self.disk.write_at(&mut active.file, at, &zeros);
        written.map_err(StorageError::from)?;
        let synced = self.disk.sync(&mut active.file);
        synced.map_err(StorageError::Medium)?;
        active.length = length;
        Ok(())
    }

    /// Goes on in another segment, with room for a frame of this size.
    fn roll(&mut self, size: usize) -> Result<(), StorageError> {
        let at = self.active.next;
        let header = Header::new(at, &self.kept);
        let next = begin(&self.disk, &header, &self.options, size)?;
        // The end is written after what it announces is there: without that, something is lost.
        let Active { file, key, end, .. } = &mut self.active;
        frame::build(&mut self.frame, key, at, Mark::End, &[]);
        let written = self.disk.write_at(file, *end as u64, &self.frame);
        written.map_err(StorageError::from)?;
        self.disk.sync(file).map_err(StorageError::Medium)?;
        self.active = next;
        self.series.push(&header);
        Ok(())
    }

    /// Removes the segments that nobody needs, the newest one first: after a crash the older ones are seen to lead nowhere.
    ///
    /// Not the oldest one first: the one after it may build on it.
    fn drop_unneeded(&mut self) -> Result<(), StorageError> {
        let unneeded = self.series.unneeded(self.kept.log.base().lsn);
        for index in (0..unneeded).rev() {
            let name = replay::name(self.series.0[index].first);
            // A file that stays is in nobody's way: the next trim tries again.
            if self.disk.remove(&name).is_err() {
                break;
            }
            self.series.0.remove(index);
            self.disk.sync_names().map_err(StorageError::Medium)?;
        }
        Ok(())
    }
}

/// Makes a segment with room for a frame of this size. It has its name once it is durable.
fn begin<D: Disk>(
    disk: &D,
    header: &Header,
    options: &Options,
    size: usize,
) -> Result<Active<D::File>, StorageError> {
    let mut content = header
        .to_sector()
        .map_err(|error| StorageError::Medium(io::Error::other(error)))?;
    let length = room(needed(SECTOR, size), options);
    content.resize(length, 0);
    let unfinished = replay::unfinished_name(header.first);
    let mut file = disk.create(&unfinished).map_err(StorageError::from)?;
    disk.write_at(&mut file, 0, &content)
        .map_err(StorageError::from)?;
    disk.sync(&mut file).map_err(StorageError::Medium)?;
    disk.rename(&unfinished, &replay::name(header.first))
        .map_err(StorageError::from)?;
    disk.sync_names().map_err(StorageError::Medium)?;
    Ok(Active {
        file,
        key: header.key(),
        next: header.place(),
        end: SECTOR,
        length,
    })
}

/// Returns how long a file has to be for a frame at `end`.
fn needed(end: usize, size: usize) -> usize {
    end + size + SECTOR
}

/// Returns how long a file is made that has to have at least `needed` bytes: whole steps, within the size of a segment if that will do.
fn room(needed: usize, options: &Options) -> usize {
    let step = options.step_bytes.max(SECTOR);
    let limit = options.segment_bytes.max(needed);
    let length = needed.div_ceil(step).saturating_mul(step).min(limit);
    length.next_multiple_of(SECTOR)
}

/// Removes all segments, the oldest one first: what is left at any moment is no copy with a shorter log.
pub(super) fn discard(disk: &impl Disk) -> io::Result<()> {
    for number in replay::list(disk)? {
        disk.remove(&replay::name(number))?;
        disk.sync_names()?;
    }
    remove_unfinished(disk)
}

/// Removes what was never completed.
fn remove_unfinished(disk: &impl Disk) -> io::Result<()> {
    let names = disk.names()?;
    names
        .iter()
        .filter(|name| replay::is_unfinished(name))
        .try_for_each(|name| disk.remove(name))
}
