//! An answer that is read as it comes.

use std::io::{self, Read};

use reqwest::Response;
use tokio::runtime::Runtime;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Streamed<'a> {
    runtime: &'a Runtime,
    response: Response,
    /// What has come and was not read, from there on.
    piece: Vec<u8>,
    at: usize,
}

impl<'a> Streamed<'a> {
    pub(super) fn new(runtime: &'a Runtime, response: Response) -> Self {
        Self {
            runtime,
            response,
            piece: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Streamed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let next = self.runtime.block_on(self.response.chunk());
            match next.map_err(io::Error::other)? {
                Some(piece) => (self.piece, self.at) = (piece.into(), 0),
                None => return Ok(0),
            }
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
