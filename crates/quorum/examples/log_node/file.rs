//! A file of lines, each of which begins with the place of its record and ends with a checksum.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use shardwright_quorum::log::Point;

use crate::format::parse;

#[derive(Debug)]
pub(crate) struct LineFile {
    directory: PathBuf,
    file: File,
    length: u64,
}

impl LineFile {
    /// Opens the file, drops what a crash has left of a last line, and returns the last place and all texts.
    pub(crate) fn open(directory: &Path) -> io::Result<(Self, Point, Vec<String>)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(directory.join("lines"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut length, mut last, mut texts) = (0, Point::default(), Vec::new());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some((point, text)) = parse(line) else {
                break;
            };
            length += line.len() as u64;
            last = point;
            texts.extend(text);
        }
        file.set_len(length)?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(length))?;
        let directory = directory.to_owned();
        let opened = Self {
            directory,
            file,
            length,
        };
        Ok((opened, last, texts))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.length += lines.len() as u64;
        self.file.write_all(lines)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Returns a reader of what there is now.
    pub(crate) fn content(&self) -> io::Result<impl Read + use<>> {
        Ok(File::open(self.directory.join("lines"))?.take(self.length))
    }

    /// Lets this be the content, after the next opening.
    pub(crate) fn replace(&self, content: &mut dyn Read) -> io::Result<()> {
        let new = self.directory.join("lines.new");
        let mut file = File::create(&new)?;
        io::copy(content, &mut file)?;
        file.sync_all()?;
        fs::rename(new, self.directory.join("lines"))?;
        // Windows opens no directories.
        if cfg!(unix) {
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }
}
