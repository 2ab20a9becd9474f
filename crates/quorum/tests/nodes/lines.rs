//! A state machine that keeps the payload of every record as a line.

use std::{
    io::{Cursor, Read},
    sync::{Arc, Mutex},
};

use shardwright_quorum::log::{Kind, Point, Record, Snapshot, StateError, StateMachine};

use crate::disk::Disk;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines {
    pub(crate) applied: Point,
    pub(crate) lines: Vec<String>,
}

/// What readers see of the data.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    lines: Mutex<Lines>,
    pub(crate) installed: Mutex<Vec<Point>>,
    /// The next record that comes does not fit.
    pub(crate) diverges: Mutex<bool>,
}

impl Shown {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").lines.clone()
    }

    pub(crate) fn show(&self, lines: &Lines) {
        *self.lines.lock().expect("lines") = lines.clone();
    }
}

#[derive(Debug)]
pub(crate) struct OnDisk {
    disk: Arc<Disk>,
    saved: Point,
    now: Lines,
}

impl OnDisk {
    pub(crate) fn new(disk: Arc<Disk>, now: Lines) -> Self {
        let saved = now.applied;
        Self { disk, saved, now }
    }
}

impl StateMachine for OnDisk {
    fn applied(&self) -> Point {
        self.saved
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        if std::mem::take(&mut *self.disk.shown.diverges.lock().expect("a switch")) {
            return Err(StateError::Diverged("a row is missing".into()));
        }
        for record in records {
            assert_eq!(
                record.prev_hash, self.now.applied.hash,
                "records come in their order"
            );
            if record.kind == Kind::Batch {
                let line = String::from_utf8(record.payload.clone()).expect("a text");
                self.now.lines.push(line);
            }
            self.now.applied = record.point();
        }
        self.disk.shown.show(&self.now);
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        self.disk.save(&self.now)?;
        self.saved = self.now.applied;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let content = Cursor::new(self.now.lines.join("\n").into_bytes());
        Ok(Snapshot {
            base: self.now.applied,
            content: Box::new(content),
        })
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        let mut text = String::new();
        let read = content.read_to_string(&mut text);
        read.map_err(|error| StateError::Failed(error.into()))?;
        self.now = Lines {
            applied: base,
            lines: text.lines().map(str::to_owned).collect(),
        };
        self.disk.shown.installed.lock().expect("a list").push(base);
        self.disk.shown.show(&self.now);
        self.save()
    }
}
