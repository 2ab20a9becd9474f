//! The data of a node: one line for each record, in a file.

use std::{io::Read, path::Path, sync::Arc};

use shardwright_quorum::log::{Kind, Point, Record, Snapshot, StateError, StateMachine};

use crate::{file::LineFile, format::print, shown::Shown};

/// The data: a file of lines, and what readers see.
#[derive(Debug)]
pub(crate) struct Lines {
    file: LineFile,
    last: Point,
    saved: Point,
    shown: Shown,
}

impl Lines {
    pub(crate) fn open(directory: &Path, shown: Shown) -> Result<Self, StateError> {
        let (file, last, texts) = LineFile::open(directory)?;
        shown.change(|shown| *shown = texts);
        let saved = last;
        Ok(Self {
            file,
            last,
            saved,
            shown,
        })
    }
}

impl StateMachine for Lines {
    fn applied(&self) -> Point {
        self.saved
    }

    fn apply(&mut self, records: &[Arc<Record>]) -> Result<(), StateError> {
        let mut bytes = Vec::new();
        let mut texts = Vec::new();
        for record in records {
            let text =
                (record.kind == Kind::Batch).then(|| String::from_utf8_lossy(&record.payload));
            print(&mut bytes, record.point(), text.as_deref());
            texts.extend(text.map(|text| text.into_owned()));
            self.last = record.point();
        }
        self.file.append(&bytes)?;
        self.shown.change(|shown| shown.append(&mut texts));
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        self.file.sync()?;
        self.saved = self.last;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let content = self.file.content()?;
        Ok(Snapshot {
            base: self.last,
            content: Box::new(content),
        })
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        self.file.replace(content)?;
        let directory = self.file.directory().to_owned();
        *self = Self::open(&directory, self.shown.clone())?;
        if self.last == base {
            return Ok(());
        }
        Err(StateError::Diverged("the snapshot ends elsewhere".into()))
    }
}
