//! What a node sends when it is asked for a backup: one answer, in frames.
//!
//! ```text
//! head ─ ( file ─ bytes ... ─ file is over ) for each place ─ all is over
//! ```
//! A frame is a letter, the length of what follows in four bytes, the least significant first, and that. An answer that does not end with
//! the last frame is of no use, whatever has come of it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shardwright_sql::backup::Outline;

/// The version of these frames.
pub const FORMAT: u32 = 1;

/// Where a node is asked, by POST.
pub const PATH: &str = "/v1/backup";

/// How long a frame may be, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the frames.
    pub format: u32,
    /// The release of the node.
    pub release: String,
    /// The keyspace: what the files say that they belong to.
    pub keyspace: String,
    /// Shards and schema.
    pub outline: Outline,
    /// Up to where in the history of each shard it reaches: epoch and number.
    pub points: BTreeMap<String, (u64, u64)>,
}

/// A file that begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHead {
    /// The place.
    pub place: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A file that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// Why there is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The stable code.
    pub code: String,
    /// What happened.
    pub message: String,
}

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// What it is of.
    Head(Box<Head>),
    /// A file begins.
    File(FileHead),
    /// Its next bytes.
    Bytes(Vec<u8>),
    /// It is over.
    FileEnd(FileEnd),
    /// All files have come.
    End,
    /// The rest does not come.
    Failed(Failed),
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The answer ends, or cannot be read any more.
    #[error("the answer ended before the backup was complete")]
    Broken(#[from] io::Error),
    /// This is no frame that this release knows.
    #[error("the node has sent what is no part of a backup that this release knows")]
    Unknown,
}

impl Frame {
    /// Returns the bytes of the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (letter, content) = match self {
            Self::Head(head) => (b'H', json(head)),
            Self::File(head) => (b'F', json(head)),
            Self::Bytes(bytes) => return framed(b'B', bytes),
            Self::FileEnd(end) => (b'E', json(end)),
            Self::End => (b'Z', Vec::new()),
            Self::Failed(failed) => (b'X', json(failed)),
        };
        framed(letter, &content)
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// [`FrameError`]: nothing more is to be read.
    pub fn read(from: &mut impl Read) -> Result<Self, FrameError> {
        let mut start = [0; 5];
        from.read_exact(&mut start)?;
        let [letter, length @ ..] = start;
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::Unknown);
        }
        let mut content = vec![0; length];
        from.read_exact(&mut content)?;
        match letter {
            b'H' => parse(&content).map(Self::Head),
            b'F' => parse(&content).map(Self::File),
            b'B' => Ok(Self::Bytes(content)),
            b'E' => parse(&content).map(Self::FileEnd),
            b'Z' if content.is_empty() => Ok(Self::End),
            b'X' => parse(&content).map(Self::Failed),
            _ => Err(FrameError::Unknown),
        }
    }
}

fn framed(letter: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("no frame is that long");
    let mut frame = Vec::with_capacity(5 + content.len());
    frame.push(letter);
    frame.extend(length.to_le_bytes());
    frame.extend(content);
    frame
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a frame has only fields that JSON knows")
}

fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(content).map_err(|_| FrameError::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let head = Head {
            format: FORMAT,
            release: "0.1.0".to_owned(),
            keyspace: "main".to_owned(),
            outline: Outline {
                shards: Vec::new(),
                schema: shardwright_sql::schema::StoredSchema::default(),
                number: 7,
                undeclared: shardwright_sql::schema::Undeclared::default(),
            },
            points: BTreeMap::from([("shard-0".to_owned(), (1, 2))]),
        };
        let frames = [
            Frame::Head(Box::new(head)),
            Frame::File(FileHead {
                place: "shard-0".to_owned(),
                bytes: 3,
            }),
            Frame::Bytes(vec![1, 2, 3]),
            Frame::FileEnd(FileEnd {
                sha256: "00".to_owned(),
            }),
            Frame::Failed(Failed {
                code: "IO".to_owned(),
                message: "no".to_owned(),
            }),
            Frame::End,
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let mut rest = &bytes[..];
        for frame in &frames {
            assert_eq!(Frame::read(&mut rest).unwrap(), *frame);
        }
        let over = Frame::read(&mut rest);
        assert!(matches!(over, Err(FrameError::Broken(_))));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let long = [b"B".as_slice(), &u32::MAX.to_le_bytes()].concat();
        let cut = [b"B".as_slice(), &9_u32.to_le_bytes(), b"abc"].concat();
        let odd = framed(b'?', b"");
        let malformed = framed(b'H', b"{}");
        for (bytes, is_broken) in [(long, false), (cut, true), (odd, false), (malformed, false)] {
            let read = Frame::read(&mut &bytes[..]);
            let found = matches!(read, Err(FrameError::Broken(_)));
            assert_eq!(found, is_broken, "{read:?}");
            assert!(read.is_err());
        }
    }
}
