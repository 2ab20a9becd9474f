//! A bounded set of things that are lent out by value.
//!
//! Each slot has its own lock, held for the few instructions of a move, and each thread starts at a
//! slot of its own, so threads seldom meet and a thread tends to get back what it used last.

use std::{
    cell::Cell,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// At most a fixed number of `T`, made on demand.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    slots: Box<[Padded<T>]>,
    waiting: AtomicUsize,
    gate: Mutex<()>,
    returned: Condvar,
}

/// A slot on a cache line of its own, so that threads do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
struct Padded<T>(Mutex<Slot<T>>);

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Idle(Box<T>),
    Lent,
}

/// A thing on loan, and the slot that waits for it.
#[derive(Debug)]
pub(crate) struct Loan<T> {
    slot: usize,
    pub(crate) item: Box<T>,
}

/// A slot to take from, found but perhaps not yet filled.
enum Found<T> {
    Idle(Loan<T>),
    Empty(usize),
}

impl<T> Pool<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: (0..capacity.max(1))
                .map(|_| Padded(Mutex::new(Slot::Empty)))
                .collect(),
            waiting: AtomicUsize::new(0),
            gate: Mutex::new(()),
            returned: Condvar::new(),
        }
    }

    /// Lends an idle thing, or a new one while there is room, or waits for up to `limit`.
    /// `Ok(None)` means that none came back in time.
    #[inline]
    pub(crate) fn take<E>(
        &self,
        limit: Duration,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Option<Loan<T>>, E> {
        let start = thread_number() % self.slots.len();
        if let Some(loan) = self.take_idle(start) {
            return Ok(Some(loan));
        }
        match self.find_or_wait(start, limit) {
            Some(Found::Idle(loan)) => Ok(Some(loan)),
            Some(Found::Empty(slot)) => self.fill(slot, make).map(Some),
            None => Ok(None),
        }
    }

    /// Takes back what was lent.
    #[inline]
    pub(crate) fn put(&self, loan: Loan<T>) {
        *lock(&self.slots[loan.slot]) = Slot::Idle(loan.item);
        self.wake();
    }

    /// Applies `visit` to each idle thing that nobody is taking at this moment.
    pub(crate) fn for_each_idle(&self, mut visit: impl FnMut(&mut T)) {
        for slot in &self.slots {
            if let Some(mut slot) = try_lock(slot)
                && let Slot::Idle(item) = &mut *slot
            {
                visit(item);
            }
        }
    }

    /// Drops all idle things.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            let mut slot = lock(slot);
            if matches!(*slot, Slot::Idle(_)) {
                *slot = Slot::Empty;
            }
        }
    }

    #[inline]
    fn take_idle(&self, start: usize) -> Option<Loan<T>> {
        (start..self.slots.len()).chain(0..start).find_map(|index| {
            let mut slot = try_lock(&self.slots[index])?;
            take(&mut slot, index)
        })
    }

    #[cold]
    fn find_or_wait(&self, start: usize, limit: Duration) -> Option<Found<T>> {
        // Counted before looking: whoever returns a thing after we looked sees that we wait.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut found = None;
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.returned.wait_timeout_while(gate, limit, |()| {
            found = self.find(start);
            found.is_none()
        });
        drop(waited);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        found
    }

    fn find(&self, start: usize) -> Option<Found<T>> {
        let mut empty = None;
        for index in (start..self.slots.len()).chain(0..start) {
            let mut slot = lock(&self.slots[index]);
            if let Some(loan) = take(&mut slot, index) {
                return Some(Found::Idle(loan));
            }
            if empty.is_none() && matches!(*slot, Slot::Empty) {
                empty = Some(index);
            }
        }
        empty
            .filter(|&index| {
                let mut slot = lock(&self.slots[index]);
                let vacant = matches!(*slot, Slot::Empty);
                if vacant {
                    *slot = Slot::Lent;
                }
                vacant
            })
            .map(Found::Empty)
    }

    fn fill<E>(&self, slot: usize, make: impl FnOnce() -> Result<T, E>) -> Result<Loan<T>, E> {
        match make() {
            Ok(item) => Ok(Loan {
                slot,
                item: Box::new(item),
            }),
            Err(error) => {
                self.vacate(slot);
                Err(error)
            }
        }
    }

    fn vacate(&self, slot: usize) {
        *lock(&self.slots[slot]) = Slot::Empty;
        self.wake();
    }

    #[inline]
    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            drop(gate);
            self.returned.notify_one();
        }
    }
}

#[inline]
fn take<T>(slot: &mut Slot<T>, index: usize) -> Option<Loan<T>> {
    if !matches!(slot, Slot::Idle(_)) {
        return None;
    }
    match std::mem::replace(slot, Slot::Lent) {
        Slot::Idle(item) => Some(Loan { slot: index, item }),
        Slot::Empty | Slot::Lent => None,
    }
}

#[inline]
fn lock<T>(slot: &Padded<T>) -> MutexGuard<'_, Slot<T>> {
    slot.0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
fn try_lock<T>(slot: &Padded<T>) -> Option<MutexGuard<'_, Slot<T>>> {
    match slot.0.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Returns a number that is the calling thread's own, counted from zero in order of first use.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}
