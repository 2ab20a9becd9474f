//! Snapshots: what a state machine has made of the records up to a place, and such a one stored aside in a file.
//!
//! ```text
//! file = head, content
//! head = "SWSNAP01", epoch, lsn, hash, length of the content, CRC-32 of the content, CRC-32 of the head so far
//! ```
//! Numbers are little-endian. The head is written last.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use shardwright_topology::{Epoch, Lsn};

use super::{Hash, Point, directory};

const MAGIC: &[u8; 8] = b"SWSNAP01";

/// The length of the head.
const HEAD: usize = 72;

/// How much is written between two syncs: a sync of all at once in the end would hold up those of every log on the disk.
const SYNCED_EVERY: u64 = 2 << 20;

/// What a state machine has made of the records up to a place.
pub struct Snapshot {
    /// The place.
    pub base: Point,
    /// The content, as [`super::StateMachine::install`] of another copy takes it.
    pub content: Box<dyn Read + Send>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// A snapshot that is being stored aside.
#[derive(Debug)]
pub(crate) struct Storing {
    directory: PathBuf,
    file: File,
    length: u64,
    /// How much of it is durable.
    synced: u64,
    crc: crc32fast::Hasher,
}

/// A snapshot in a file, whole and durable.
#[derive(Debug)]
pub(crate) struct StoredSnapshot {
    base: Point,
    path: PathBuf,
}

impl Storing {
    pub(crate) fn begin(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut file = File::create(directory.join(UNFINISHED))?;
        file.write_all(&[0; HEAD])?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            length: 0,
            synced: 0,
            crc: crc32fast::Hasher::new(),
        })
    }

    /// Adds content, of which the checksum is known.
    pub(crate) fn add(&mut self, content: &[u8], crc: &crc32fast::Hasher) -> io::Result<()> {
        self.crc.combine(crc);
        self.length += content.len() as u64;
        self.file.write_all(content)?;
        if self.length - self.synced >= SYNCED_EVERY {
            self.file.sync_data()?;
            self.synced = self.length;
        }
        Ok(())
    }

    /// Returns the length and the checksum of what was added.
    pub(crate) fn sum(&self) -> (u64, u32) {
        (self.length, self.crc.clone().finalize())
    }

    /// Makes the snapshot durable, in place of another one that may be there.
    pub(crate) fn finish(mut self, base: Point) -> io::Result<StoredSnapshot> {
        let (length, crc) = self.sum();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&head(base, length, crc))?;
        self.file.sync_all()?;
        let path = self.directory.join(FINISHED);
        fs::rename(self.directory.join(UNFINISHED), &path)?;
        directory::sync(&self.directory)?;
        Ok(StoredSnapshot { base, path })
    }
}

const UNFINISHED: &str = "snapshot.part";
const FINISHED: &str = "snapshot";

impl StoredSnapshot {
    /// Returns the snapshot that is stored in a directory; none if there is none, or it is damaged.
    pub(crate) fn find(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(FINISHED);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; HEAD];
        if file.read_exact(&mut bytes).is_err() {
            return Ok(None);
        }
        let Some((base, length, crc)) = read_head(&bytes) else {
            return Ok(None);
        };
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        let mut found = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            found += count as u64;
            hasher.update(&buffer[..count]);
        }
        let is_whole = (found, hasher.finalize()) == (length, crc);
        Ok(is_whole.then_some(Self { base, path }))
    }

    /// Returns the place that it reaches.
    pub(crate) fn base(&self) -> Point {
        self.base
    }

    /// Returns a reader of its content.
    pub(crate) fn content(&self) -> io::Result<impl Read + use<>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(HEAD as u64))?;
        Ok(BufReader::with_capacity(1 << 16, file))
    }

    /// Removes it: the data has it, or nobody needs it.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn head(base: Point, length: u64, crc: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend(MAGIC);
    head.extend(base.epoch.0.to_le_bytes());
    head.extend(base.lsn.0.to_le_bytes());
    head.extend(base.hash.0);
    head.extend(length.to_le_bytes());
    head.extend(crc.to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head
}

fn read_head(bytes: &[u8; HEAD]) -> Option<(Point, u64, u32)> {
    let (said, sum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != crc32fast::hash(said) {
        return None;
    }
    let (magic, rest) = said.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (lsn, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<32>()?;
    let (length, crc) = rest.split_first_chunk::<8>()?;
    let base = Point {
        epoch: Epoch(u64::from_le_bytes(*epoch)),
        lsn: Lsn(u64::from_le_bytes(*lsn)),
        hash: Hash(*hash),
    };
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    (magic == MAGIC).then_some((base, u64::from_le_bytes(*length), crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(storing: &mut Storing, content: &[u8]) {
        let mut crc = crc32fast::Hasher::new();
        crc.update(content);
        storing.add(content, &crc).expect("room");
    }

    #[test]
    fn a_stored_snapshot_is_found_whole_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = Point {
            epoch: Epoch(3),
            lsn: Lsn(9),
            hash: Hash([7; 32]),
        };
        let mut storing = Storing::begin(directory.path()).expect("a file");
        add(&mut storing, b"some");
        assert!(
            StoredSnapshot::find(directory.path())
                .expect("readable")
                .is_none()
        );
        add(&mut storing, b"thing");
        let stored = storing.finish(base).expect("room");
        let found = StoredSnapshot::find(directory.path()).expect("readable");
        let found = found.expect("it is there");
        assert_eq!(found.base(), base);
        let mut text = String::new();
        found
            .content()
            .expect("it is there")
            .read_to_string(&mut text)
            .expect("a text");
        assert_eq!(text, "something");
        let bytes = fs::read(&stored.path).expect("it is there");
        for place in [0, 20, 50, HEAD - 1, HEAD, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            fs::write(&stored.path, damaged).expect("room");
            let found = StoredSnapshot::find(directory.path()).expect("readable");
            assert!(found.is_none(), "byte {place} is damaged");
        }
    }
}
