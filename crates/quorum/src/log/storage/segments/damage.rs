//! Why a copy cannot be opened, or be made.

use std::{io, path::PathBuf};

use crate::log::{Durable, NotAppended};

/// Why a copy was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory holds no copy, or does not exist. If there was one, it is lost: the node begins anew under a new id.
    #[error("there is no copy in {}", .0.display())]
    NoCopy(PathBuf),
    /// The copy was written in another version of the format: open it with the release that wrote it. Everything is as it was.
    #[error("{} has version {version} of the format, and this release reads {known}", .file.display())]
    OtherVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
        /// The version that is read here.
        known: u32,
    },
    /// Another process has the copy open.
    #[error("another process has {} open", .0.display())]
    Locked(PathBuf),
    /// The copy is damaged, and may have lost what it acknowledged (R4). Everything is as it was. It may show what is left; to take part again, the
    /// node begins anew under a new id.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// The copy cannot be read, or what has to be written before it is used cannot be.
    #[error("cannot open the log in {}", .directory.display())]
    Io {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The directory holds a copy already, whole or not: open it, or discard it.
    #[error("there is a copy in {} already", .0.display())]
    Exists(PathBuf),
    /// Another process has the copy open.
    #[error("another process has {} open", .0.display())]
    Locked(PathBuf),
    /// The file system refused. A later attempt may go on from here.
    #[error("cannot make a log in {}", .directory.display())]
    Io {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged at byte {offset}: {why}", .file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The byte in it.
    pub offset: u64,
    /// Why it is no crash that left it so.
    pub why: Why,
    /// All before the damage, marked as not clean; none if not even the id of the copy can be read.
    pub left: Option<Durable>,
}

/// What shows that something is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The file is shorter than it has ever been since something was acknowledged.
    #[error("the file is cut off")]
    CutOff,
    /// There is neither what was written nor nothing.
    #[error("the content does not fit its check")]
    Content,
    /// It is intact, and does not follow what is before it.
    #[error("it does not follow what is before it")]
    Order,
    /// A file before this place or after it is gone.
    #[error("a file of the log is missing here")]
    Missing,
    /// The file belongs to another copy.
    #[error("the file belongs to another copy")]
    OtherCopy,
    /// What was written cannot be decoded.
    #[error("it cannot be decoded")]
    Encoding,
    /// Records do not follow one another.
    #[error(transparent)]
    Records(#[from] NotAppended),
}
