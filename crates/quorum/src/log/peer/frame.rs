//! Frames: a length, a version and a body, as they follow one another on a connection.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The version of all that is said on a connection.
const VERSION: u8 = 1;

/// The length, which counts what follows it, and the version.
const HEAD: usize = 5;

/// How much is read at once, at least.
const READ: usize = 64 << 10;

/// What came was no frame of this version, or nothing comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("a frame of {length} bytes is larger than {max}")]
    TooLarge { length: usize, max: usize },
    #[error("a frame has version {0}, this release knows version {VERSION}")]
    Version(u8),
    #[error("a frame cannot be read: {0}")]
    Malformed(#[from] postcard::Error),
    #[error("the other side may not say this")]
    Unexpected,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The frames that come in.
#[derive(Debug)]
pub(super) struct Frames<R> {
    reader: R,
    buffer: BytesMut,
    max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R, max: usize) -> Self {
        let buffer = BytesMut::new();
        Self {
            reader,
            buffer,
            max,
        }
    }

    /// Returns the body of the next frame. What was read so far is kept if nobody waits any more.
    pub(super) async fn next(&mut self) -> Result<Bytes, FrameError> {
        loop {
            if let Some(body) = self.split()? {
                return Ok(body);
            }
            self.buffer.reserve(READ);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Closed);
            }
        }
    }

    fn split(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((head, _)) = self.buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = body_length(*head, self.max)?;
        if self.buffer.len() < HEAD + length {
            self.buffer.reserve(HEAD + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// Reads a head, and returns the length of the body.
fn body_length(head: [u8; HEAD], max: usize) -> Result<usize, FrameError> {
    let [a, b, c, d, version] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    // Whoever speaks something else should hear so before its "length" is waited for.
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    if length == 0 || length > max {
        return Err(FrameError::TooLarge { length, max });
    }
    Ok(length - 1)
}

/// Reads what one frame says, and not a byte behind it.
pub(super) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<T, FrameError> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).await.map_err(closed)?;
    let mut body = vec![0; body_length(head, max)?];
    reader.read_exact(&mut body).await.map_err(closed)?;
    Ok(postcard::from_bytes(&body)?)
}

fn closed(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => FrameError::Closed,
        _ => error.into(),
    }
}

/// Reads one frame without a runtime.
pub(super) fn read_blocking(reader: &mut impl io::Read, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let mut body = vec![0; body_length(head, max)?];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// Returns a frame that says `value`, followed by bytes that were encoded before.
pub(super) fn frame(value: &impl Serialize, tail: &[u8]) -> Result<Bytes, postcard::Error> {
    let mut buffer = BytesMut::with_capacity(256 + tail.len());
    buffer.put_bytes(0, HEAD);
    let mut buffer = postcard::to_extend(value, buffer)?;
    buffer.extend_from_slice(tail);
    let length = u32::try_from(buffer.len() - 4);
    let length = length.map_err(|_| postcard::Error::SerializeBufferFull)?;
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[4] = VERSION;
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(mut bytes: &[u8]) -> Result<String, FrameError> {
        read(&mut bytes, 64).await
    }

    #[tokio::test]
    async fn frames_follow_one_another() {
        let mut bytes = frame(&"one", &[]).expect("a frame").to_vec();
        bytes.extend(frame(&"two", &[]).expect("a frame"));
        let mut frames = Frames::new(&bytes[..], 64);
        for text in ["one", "two"] {
            let body = frames.next().await.expect("a frame");
            assert_eq!(postcard::from_bytes(&body), Ok(text));
        }
        assert!(matches!(frames.next().await, Err(FrameError::Closed)));
        assert_eq!(text(&bytes).await.expect("a frame"), "one");
        let first = read_blocking(&mut &bytes[..], 64).expect("a frame");
        assert_eq!(postcard::from_bytes(&first), Ok("one"));
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let large = frame(&"x".repeat(100), &[]).expect("a frame");
        let refused = text(&large).await;
        let is_refused = matches!(
            refused,
            Err(FrameError::TooLarge {
                length: 102,
                max: 64
            })
        );
        assert!(is_refused, "{refused:?}");
        let garbage = text(b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(
            matches!(garbage, Err(FrameError::Version(b'/'))),
            "{garbage:?}"
        );
        let empty = text(&[0, 0, 0, 0, VERSION]).await;
        assert!(matches!(empty, Err(FrameError::TooLarge { length: 0, .. })));
        let other = text(&[2, 0, 0, 0, VERSION, 9]).await;
        assert!(matches!(other, Err(FrameError::Malformed(_))), "{other:?}");
        let cut_off = text(&bytes_of_one()[..7]).await;
        assert!(matches!(cut_off, Err(FrameError::Closed)), "{cut_off:?}");
    }

    fn bytes_of_one() -> Bytes {
        frame(&"one", &[]).expect("a frame")
    }
}
