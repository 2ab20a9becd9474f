//! A simulated disk: what was not synced may be lost, torn or damaged.

use std::ops::Range;

use crate::Dice;

/// The journal of one process on a disk that fails as disks do.
///
/// What is written goes to its end, and is durable once [`Disk::sync`] said so. A crash loses it from some place behind the last sync on,
/// and the first entry that is lost may leave a part of itself. A medium damages what was durable without a word; only who reads it finds out.
///
/// A disk holds nothing of what its process knows: after a crash, [`Disk::read`] is all that there is.
///
/// ```
/// use shardwright_testkit::{Dice, sim::{Disk, Slot}};
///
/// let mut disk = Disk::default();
/// disk.write("kept").unwrap();
/// disk.sync(disk.len());
/// disk.write("lost, or torn, or kept by chance").unwrap();
/// disk.crash(&mut Dice::new(7));
/// assert_eq!(disk.read().next(), Some(&Slot::Whole("kept")));
/// ```
#[derive(Debug, Clone)]
pub struct Disk<E> {
    slots: Vec<Slot<E>>,
    synced: usize,
    /// The entries behind it are not on the disk, although they can be read until the next crash.
    dropped: Option<usize>,
    is_full: bool,
}

/// A disk that is full: the entry was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// What is read where an entry was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot<E> {
    /// The entry.
    Whole(E),
    /// The begin of an entry, at the end of the disk: the process crashed while it was written.
    Torn,
    /// Something whose checksum is wrong. It may have been durable.
    Damaged,
}

/// What a crash left behind the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wreck {
    /// How many entries that were not synced survived.
    pub survived: usize,
    /// How many were lost.
    pub lost: usize,
    /// Whether the first of those lost left a part of itself.
    pub torn: bool,
}

impl<E> Default for Disk<E> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            synced: 0,
            dropped: None,
            is_full: false,
        }
    }
}

impl<E> Disk<E> {
    /// Writes an entry behind the others.
    ///
    /// # Errors
    /// [`NoRoom`] if the disk is full.
    pub fn write(&mut self, entry: E) -> Result<(), NoRoom> {
        if self.is_full {
            return Err(NoRoom);
        }
        self.slots.push(Slot::Whole(entry));
        Ok(())
    }

    /// Fills the disk: nothing is written until there is room again. What was written can still be synced.
    pub fn fill(&mut self) {
        self.is_full = true;
    }

    /// Makes room on a full disk.
    pub fn make_room(&mut self) {
        self.is_full = false;
    }

    /// Returns whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns how many entries there are: what a sync that begins now makes durable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Ends a sync: the first `len` entries are durable. Returns those that were not before.
    ///
    /// After a sync that failed, what was under way then never becomes durable, whatever a later sync says.
    pub fn sync(&mut self, len: usize) -> Range<usize> {
        let end = len.min(self.dropped.unwrap_or(self.slots.len()));
        let before = self.synced;
        self.synced = before.max(end);
        before..self.synced
    }

    /// Lets a sync fail: what was not durable will be gone at the next crash, and can be read until then.
    pub fn fail_sync(&mut self) {
        self.dropped.get_or_insert(self.synced);
    }

    /// Returns an entry by its place, whole or not.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Slot<E>> {
        self.slots.get(place)
    }

    /// Loses what a crash loses.
    pub fn crash(&mut self, dice: &mut Dice) -> Wreck {
        let end = self.dropped.take().unwrap_or(self.slots.len());
        let unsynced = end.saturating_sub(self.synced);
        let survived = dice.count(0..=unsynced);
        let lost = self.slots.len() - self.synced - survived;
        let torn = lost > 0 && dice.chance(30);
        self.slots.truncate(self.synced + survived);
        if torn {
            self.slots.push(Slot::Torn);
        }
        // Whoever reads it makes sure of it first.
        self.synced = self.slots.len();
        Wreck {
            survived,
            lost,
            torn,
        }
    }

    /// Damages an entry that was durable, at random or the last one. `false` if there is none.
    pub fn damage(&mut self, dice: &mut Dice) -> bool {
        if self.synced == 0 {
            return false;
        }
        let last = self.synced - 1;
        let place = if dice.chance(25) {
            last
        } else {
            dice.count(0..=last)
        };
        self.slots[place] = Slot::Damaged;
        true
    }

    /// Returns what is there, in the order in which it was written.
    pub fn read(&self) -> impl Iterator<Item = &Slot<E>> {
        self.slots.iter()
    }

    /// Drops everything from a place on, as who opens a journal does with its torn end.
    pub fn cut(&mut self, len: usize) {
        self.slots.truncate(len);
        self.synced = self.synced.min(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced_and_the_begin_of_the_rest() {
        let (mut torn, mut survived) = (0, 0);
        for seed in 0..200 {
            let mut disk = Disk::default();
            (0..10).for_each(|entry| disk.write(entry).expect("there is room"));
            disk.sync(4);
            let wreck = disk.crash(&mut Dice::new(seed));
            let whole: Vec<_> = (0..4 + wreck.survived).map(Slot::Whole).collect();
            let read: Vec<_> = disk.read().cloned().collect();
            assert_eq!(read[..whole.len()], whole);
            assert_eq!(read.len(), whole.len() + usize::from(wreck.torn));
            assert_eq!(wreck.survived + wreck.lost, 6);
            torn += u32::from(wreck.torn);
            survived += wreck.survived;
        }
        assert!(torn > 10 && survived > 100, "{torn} {survived}");
    }

    #[test]
    fn after_a_failed_sync_nothing_becomes_durable() {
        let mut disk = Disk::default();
        disk.write(1).expect("there is room");
        disk.sync(1);
        disk.write(2).expect("there is room");
        disk.fail_sync();
        disk.write(3).expect("there is room");
        assert_eq!(disk.sync(3), 1..1);
        assert_eq!(disk.read().count(), 3, "it can be read until the crash");
        disk.crash(&mut Dice::new(1));
        disk.cut(1);
        assert_eq!(disk.read().collect::<Vec<_>>(), [&Slot::Whole(1)]);
    }

    #[test]
    fn damage_hits_what_was_durable() {
        let mut disk = Disk::default();
        let mut dice = Dice::new(7);
        disk.write(1).expect("there is room");
        assert!(!disk.damage(&mut dice));
        disk.sync(1);
        assert!(disk.damage(&mut dice));
        assert_eq!(disk.get(0), Some(&Slot::Damaged));
    }

    #[test]
    fn a_full_disk_takes_nothing_and_keeps_what_it_has() {
        let mut disk = Disk::default();
        disk.write(1).expect("there is room");
        disk.fill();
        assert_eq!(disk.write(2), Err(NoRoom));
        assert_eq!(disk.sync(disk.len()), 0..1);
        disk.make_room();
        disk.write(3).expect("there is room again");
        let read: Vec<_> = disk.read().collect();
        assert_eq!(read, [&Slot::Whole(1), &Slot::Whole(3)]);
    }
}
