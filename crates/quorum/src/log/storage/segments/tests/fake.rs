//! A disk that crashes and fails as told, and keeps after a crash no more than it has to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::disk::Disk;

const SECTOR: usize = 512;

/// What goes wrong at a step, which is every call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machine stops within the step.
    Crash,
    /// There is no room; a part may be written.
    NoRoom,
    /// The call fails. A sync that fails forgets what it was to write.
    Broken,
}

/// The disk; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

type Names = BTreeMap<String, usize>;

#[derive(Debug)]
struct State {
    files: Vec<Content>,
    names: Names,
    /// The names as a crash may leave them: as they were synced, and as they were after each change since.
    names_left: Vec<Names>,
    steps: u64,
    fault: Option<(u64, Fault)>,
    is_down: bool,
    dice: StdRng,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What a crash leaves for certain.
    durable: Vec<u8>,
    /// The sectors that the next sync writes.
    dirty: BTreeSet<usize>,
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        self.seen.resize(self.seen.len().max(end), 0);
        self.seen[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    /// Brings a sector to the disk.
    fn settle(&mut self, sector: usize) {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.seen.len());
        self.durable.resize(self.durable.len().max(range.end), 0);
        self.durable[range.clone()].copy_from_slice(&self.seen[range]);
    }

    /// Brings some of the sectors that are not on the disk to it, and forgets the others.
    fn settle_some(&mut self, dice: &mut StdRng) {
        let share = [0.0, 0.2, 0.5, 0.9, 1.0][dice.random_range(0..5)];
        for sector in std::mem::take(&mut self.dirty) {
            if dice.random_bool(share) {
                self.settle(sector);
            }
        }
    }
}

impl Fake {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            names: Names::new(),
            names_left: vec![Names::new()],
            steps: 0,
            fault: None,
            is_down: false,
            dice: StdRng::seed_from_u64(seed),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with the lock held")
    }

    /// Lets something go wrong `after` so many more steps.
    pub(super) fn fail_after(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.steps + after, fault));
    }

    /// Lets nothing go wrong that has not yet, and says whether it has.
    pub(super) fn heal(&self) -> bool {
        self.state().fault.take().is_none()
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Stops the machine, and starts it again.
    pub(super) fn crash(&self) {
        let state = &mut *self.state();
        for file in &mut state.files {
            let length = file.seen.len();
            file.settle_some(&mut state.dice);
            // A file that was made longer may have any length between.
            if file.durable.len() < length && state.dice.random_bool(0.5) {
                let length = state.dice.random_range(file.durable.len()..=length);
                file.durable.resize(length, 0);
            }
            file.seen = file.durable.clone();
        }
        let left = state.dice.random_range(0..state.names_left.len());
        state.names = state.names_left[left].clone();
        state.names_left = vec![state.names.clone()];
        state.is_down = false;
    }

    /// A file's content, to be read and damaged.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].seen.clone()
    }

    /// Puts a file there, durably.
    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        state.files.push(Content {
            seen: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        });
        let file = state.files.len() - 1;
        state.names.insert(name.to_owned(), file);
        state.names_left = vec![state.names.clone()];
    }

    /// Takes a file away, durably.
    pub(super) fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.names_left = vec![state.names.clone()];
    }
}

impl State {
    /// Begins a step, and says what goes wrong in it.
    fn step(&mut self) -> Result<Option<Fault>, io::Error> {
        if self.is_down {
            return Err(io::Error::other("the machine is down"));
        }
        let is_now = self.fault.is_some_and(|(at, _)| at == self.steps);
        self.steps += 1;
        let fault = self.fault.take_if(|_| is_now).map(|(_, fault)| fault);
        self.is_down = fault == Some(Fault::Crash);
        Ok(fault)
    }

    /// Does something that a fault prevents, or a crash perhaps.
    fn change_names(&mut self, change: impl FnOnce(&mut Names)) -> io::Result<()> {
        let fault = self.step()?;
        if fault.is_none() || (fault == Some(Fault::Crash) && self.dice.random_bool(0.5)) {
            change(&mut self.names);
            self.names_left.push(self.names.clone());
        }
        error(fault)
    }
}

fn error(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Crash) => Err(io::Error::other("the machine stopped")),
        Some(Fault::NoRoom) => Err(io::ErrorKind::StorageFull.into()),
        Some(Fault::Broken) => Err(io::Error::other("the disk failed")),
    }
}

impl Disk for Fake {
    type File = usize;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.content(name))
    }

    fn create(&self, name: &str) -> io::Result<usize> {
        let mut state = self.state();
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.change_names(|names| {
            names.insert(name.to_owned(), file);
        })?;
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<usize> {
        Ok(self.state().names[name])
    }

    fn write_at(&self, file: &mut usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state();
        let fault = state.step()?;
        let written = match fault {
            None => bytes.len(),
            Some(_) => state.dice.random_range(0..=bytes.len() / SECTOR) * SECTOR,
        };
        let offset = usize::try_from(offset).expect("tests write small files");
        state.files[*file].write(offset, &bytes[..written]);
        error(fault)
    }

    fn sync(&self, file: &mut usize) -> io::Result<()> {
        let state = &mut *self.state();
        let fault = state.step()?;
        let content = &mut state.files[*file];
        match fault {
            None => {
                for sector in std::mem::take(&mut content.dirty) {
                    content.settle(sector);
                }
            }
            // What was not written is clean now, and is seen until the next start.
            Some(Fault::Broken | Fault::NoRoom) => content.settle_some(&mut state.dice),
            Some(Fault::Crash) => {}
        }
        error(fault)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state().change_names(|names| {
            let file = names.remove(from).expect("it is there");
            names.insert(to.to_owned(), file);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().change_names(|names| {
            names.remove(name);
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.step()?;
        if fault.is_none() {
            state.names_left = vec![state.names.clone()];
        }
        error(fault)
    }
}
