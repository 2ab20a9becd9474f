//! The data of one copy, in real files, and what a crash leaves of them.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use shardwright_quorum::log::{Point, Record};
use shardwright_rebalancer::PartitionId;
use shardwright_server::{
    reshaping::Aside,
    shard::logged_file::{Came, LoggedFile},
};
use shardwright_store::{Config, Digest, RowDigest};
use shardwright_testkit::Dice;
use shardwright_topology::ShardId;

/// All data of a copy, as one file.
#[derive(Clone)]
pub(crate) struct Image(Arc<[u8]>);

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The data of a copy.
#[derive(Debug)]
pub(crate) struct Copy {
    directory: PathBuf,
    shard: PartitionId,
    config: Config,
    data: Option<LoggedFile>,
    /// What was there at the last sync.
    synced: Files,
    /// The snapshots that are being stored.
    arriving: Vec<(Point, Image)>,
    /// A snapshot that is stored aside.
    aside: Option<(Point, Image)>,
}

/// What SQLite has on the disk: the file, and the write-ahead log beside it.
#[derive(Debug, Default)]
struct Files {
    file: Vec<u8>,
    log: Vec<u8>,
}

/// The begin of a write-ahead log. It has another one once it has been moved into the file entirely, and begins anew.
const LOG_HEADER: usize = 32;

impl Files {
    fn read(path: &Path) -> io::Result<Self> {
        let log = match fs::read(log_of(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        Ok(Self {
            file: fs::read(path)?,
            log,
        })
    }

    fn header(&self) -> &[u8] {
        &self.log[..LOG_HEADER.min(self.log.len())]
    }

    /// Returns how much of the log no power failure takes away, given what was there at the last sync.
    fn durable(&self, synced: &Self) -> usize {
        if self.header() == synced.header() && self.file == synced.file {
            synced.log.len()
        } else {
            // A checkpoint has moved the log into the file, or a part of it, for which it was synced.
            self.log.len()
        }
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Says what failed.
fn told(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl Copy {
    pub(crate) fn new(directory: PathBuf, shard: ShardId, config: Config) -> Self {
        Self {
            directory,
            shard: PartitionId::from(shard),
            config,
            data: None,
            synced: Files::default(),
            arriving: Vec::new(),
            aside: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.data.is_some()
    }

    pub(crate) fn data(&mut self) -> Result<&mut LoggedFile, String> {
        self.data
            .as_mut()
            .ok_or_else(|| "the data is not open".to_owned())
    }

    /// Opens what is there, and returns how far it is.
    pub(crate) fn open(&mut self) -> Result<Point, String> {
        self.arriving.clear();
        self.data = None;
        fs::create_dir_all(&self.directory).map_err(told)?;
        let data =
            LoggedFile::open(&self.directory, &self.shard, self.config.clone()).map_err(told)?;
        let saved = data.saved();
        self.data = Some(data);
        self.note_synced()?;
        Ok(saved)
    }

    /// Takes all away.
    pub(crate) fn clear(&mut self) -> Result<(), String> {
        self.data = None;
        self.aside = None;
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).map_err(told)?;
        }
        self.open().map(drop)
    }

    /// Ends the process, or the power of its machine, and leaves what is on the disk then. Returns whether commits are gone with it.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> Result<bool, String> {
        let Some(data) = &self.data else {
            return Ok(false);
        };
        let path = data.file().path().to_owned();
        let mut files = Files::read(&path).map_err(told)?;
        // Closing it moves the log into the file, which a crash does not.
        self.data = None;
        fs::remove_dir_all(&self.directory).map_err(told)?;
        fs::create_dir_all(&self.directory).map_err(told)?;
        let (length, durable) = (files.log.len(), files.durable(&self.synced));
        if dice.chance(60) {
            files.log.truncate(dice.count(durable..=length));
        }
        fs::write(&path, &files.file).map_err(told)?;
        if !files.log.is_empty() {
            fs::write(log_of(&path), &files.log).map_err(told)?;
        }
        if dice.chance(20) {
            // A snapshot that was about to come.
            fs::write(self.directory.join("received.db"), b"half of it").map_err(told)?;
        }
        Ok(files.log.len() < length)
    }

    pub(crate) fn apply(&mut self, record: &Record) -> Result<Came, String> {
        let came = self.data()?.apply(record).map_err(told)?;
        self.note_checkpoint()?;
        Ok(came)
    }

    /// Applies a record that says what the copy begins with, which is kept aside.
    pub(crate) fn take(&mut self, record: &Record, aside: &Aside) -> Result<(), String> {
        self.data()?.take(record, aside).map_err(told)?;
        self.note_synced()
    }

    pub(crate) fn save(&mut self) -> Result<(), String> {
        self.data()?.save().map_err(told)?;
        self.note_synced()
    }

    /// The log has begun anew: all that was in it before is in the file, durably.
    fn note_checkpoint(&mut self) -> Result<(), String> {
        let mut header = [0; LOG_HEADER];
        let path = log_of(self.data()?.file().path());
        let log = fs::File::open(path).map_err(told)?;
        let length = log
            .take(LOG_HEADER as u64)
            .read(&mut header)
            .map_err(told)?;
        if header[..length] != *self.synced.header() {
            self.note_synced()?;
        }
        Ok(())
    }

    /// Notes that all that is there now is durable.
    pub(crate) fn note_synced(&mut self) -> Result<(), String> {
        let path = self.data()?.file().path().to_owned();
        self.synced = Files::read(&path).map_err(told)?;
        Ok(())
    }

    pub(crate) fn image(&mut self, applied: Point) -> Result<Image, String> {
        let mut snapshot = self.data()?.snapshot().map_err(told)?;
        if snapshot.base != applied {
            return Err(format!(
                "{applied:?} is applied, and {:?} is",
                snapshot.base
            ));
        }
        let mut content = Vec::new();
        snapshot.content.read_to_end(&mut content).map_err(told)?;
        Ok(Image(content.into()))
    }

    pub(crate) fn receives(&mut self, point: Point, image: Image) {
        self.arriving.push((point, image));
    }

    pub(crate) fn stores(&mut self, point: Point) -> bool {
        let mut arrived = self
            .arriving
            .extract_if(.., |(reached, _)| *reached == point);
        let Some(arrived) = arrived.next() else {
            return false;
        };
        self.aside = Some(arrived);
        true
    }

    pub(crate) fn install(&mut self, base: Point) -> Result<(), String> {
        let aside = self.aside.take_if(|(reached, _)| *reached == base);
        let (_, image) = aside.ok_or_else(|| format!("no snapshot of {base:?} is stored"))?;
        self.data()?
            .install(base, &mut &image.0[..])
            .map_err(told)?;
        self.note_synced()
    }

    /// Digests what the copy holds, the outcomes of writes included.
    pub(crate) fn digest(&mut self) -> Result<(Digest, Digest), String> {
        let snapshot = self.data()?.file().snapshot().map_err(told)?;
        let mut outcomes = RowDigest::new();
        let all = snapshot.query(
            "SELECT client, sequence, lsn, outcome FROM main._dedup",
            (),
            |row| {
                outcomes.add(row);
                std::ops::ControlFlow::<()>::Continue(())
            },
        );
        let _all = all.map_err(told)?;
        Ok((snapshot.content_digest().map_err(told)?, outcomes.finish()))
    }
}
