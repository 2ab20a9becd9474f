//! A process that syncs what it is sent, and says so.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{bare_file::BareFile, subprocess::Subprocess};

/// Tells a process to follow, and where.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_FOLLOWER";

/// The bytes in front of a batch: its number, and its length.
pub(super) const HEAD: usize = 16;

/// Starts a process that follows, and connects to it.
pub(super) fn start(directory: &Path) -> anyhow::Result<(Subprocess, TcpStream)> {
    let (follower, port) = Subprocess::start(VARIABLE, directory)?;
    let port: u16 = port.parse().context("the port of a follower")?;
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok((follower, stream))
}

/// Follows, if this process is to do so.
pub(crate) fn hold() -> Option<anyhow::Result<()>> {
    let directory = env::var_os(VARIABLE)?;
    Some(follow(&PathBuf::from(directory)))
}

/// Follows the first connection until it ends.
#[expect(clippy::print_stdout, reason = "the leader reads the port there")]
fn follow(directory: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let mut file = BareFile::create(&directory.join(format!("follower-{port}")))?;
    println!("{port}");
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    let (mut number, mut bytes) = ([0; 8], Vec::new());
    while !reader.fill_buf()?.is_empty() {
        bytes.clear();
        // All that has come is synced at once.
        while bytes.is_empty() || reader.buffer().len() >= HEAD {
            number = take(&mut reader, &mut bytes)?;
        }
        file.append(&bytes)?;
        stream.write_all(&number)?;
    }
    Ok(())
}

/// Appends a batch to `bytes`, and returns its number.
fn take(reader: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<[u8; 8]> {
    let (mut number, mut length) = ([0; 8], [0; 8]);
    reader.read_exact(&mut number)?;
    reader.read_exact(&mut length)?;
    reader.take(u64::from_le_bytes(length)).read_to_end(bytes)?;
    Ok(number)
}
