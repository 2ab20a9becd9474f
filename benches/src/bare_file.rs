//! A file that is synced after each write, and nothing else.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

/// How long the file is. Its room was written before: a write changes nothing but content, which is the fastest there is.
const LENGTH: usize = 16 << 20;

/// The file, written round and round.
#[derive(Debug)]
pub(crate) struct BareFile {
    file: File,
    end: usize,
}

impl BareFile {
    /// Makes it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&vec![0; LENGTH])?;
        file.sync_all()?;
        Ok(Self { file, end: 0 })
    }

    /// Writes bytes durably.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)?;
        self.file.sync_data()
    }

    /// Writes bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.end + bytes.len() > LENGTH {
            self.end = 0;
        }
        self.file.seek(SeekFrom::Start(self.end as u64))?;
        self.file.write_all(bytes)?;
        self.end += bytes.len();
        Ok(())
    }
}
