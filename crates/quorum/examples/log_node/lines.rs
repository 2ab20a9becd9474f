//! The data of a node: one line for each record, in a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use shardwright_quorum::log::{Kind, Point, Record, Snapshot, StateError, StateMachine};

use crate::{
    format::{parse, print},
    shown::Shown,
};

/// A file of lines. Each begins with the place of its record, and ends with a checksum.
#[derive(Debug)]
pub(crate) struct Lines {
    directory: PathBuf,
    file: File,
    length: u64,
    last: Point,
    saved: Point,
    shown: Shown,
}

impl Lines {
    /// Opens the file, and drops what a crash has left of a last line.
    pub(crate) fn open(directory: &Path, shown: Shown) -> Result<Self, StateError> {
        let path = directory.join("lines");
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = opened.map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (mut length, mut last, mut texts) = (0, Point::default(), Vec::new());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some((point, text)) = parse(line) else {
                break;
            };
            length += line.len() as u64;
            last = point;
            texts.extend(text);
        }
        file.set_len(length)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        file.seek(SeekFrom::Start(length)).map_err(failed)?;
        shown.change(|shown| *shown = texts);
        let (directory, saved) = (directory.to_owned(), last);
        Ok(Self {
            directory,
            file,
            length,
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
        self.file.write_all(&bytes).map_err(failed)?;
        self.length += bytes.len() as u64;
        self.shown.change(|shown| shown.append(&mut texts));
        Ok(())
    }

    fn save(&mut self) -> Result<(), StateError> {
        self.file.sync_data().map_err(failed)?;
        self.saved = self.last;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot, StateError> {
        let file = File::open(self.directory.join("lines")).map_err(failed)?;
        let content = Box::new(file.take(self.length));
        Ok(Snapshot {
            base: self.last,
            content,
        })
    }

    fn install(&mut self, base: Point, content: &mut dyn Read) -> Result<(), StateError> {
        let (new, path) = (
            self.directory.join("lines.new"),
            self.directory.join("lines"),
        );
        let mut file = File::create(&new).map_err(failed)?;
        io::copy(content, &mut file)
            .and_then(|_| file.sync_all())
            .map_err(failed)?;
        fs::rename(new, path).map_err(failed)?;
        File::open(&self.directory)
            .and_then(|dir| dir.sync_all())
            .map_err(failed)?;
        *self = Self::open(&self.directory, self.shown.clone())?;
        if self.last == base {
            return Ok(());
        }
        Err(StateError::Diverged("the snapshot ends elsewhere".into()))
    }
}

fn failed(error: io::Error) -> StateError {
    match error.kind() {
        io::ErrorKind::StorageFull => StateError::NoRoom(error),
        _ => StateError::Failed(error.into()),
    }
}
