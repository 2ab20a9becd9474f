//! A process that syncs what it is sent, and says so.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use super::bare_file::BareFile;

/// Tells a process to follow, and where.
const VARIABLE: &str = "SHARDWRIGHT_BENCH_FOLLOWER";

/// The bytes in front of a batch: its number, and its length.
pub(super) const HEAD: usize = 16;

/// A process that follows. It ends with its connection, or with this.
#[derive(Debug)]
pub(super) struct Follower(Child);

impl Follower {
    /// Starts one, and connects to it.
    pub(super) fn start(directory: &Path) -> anyhow::Result<(Self, TcpStream)> {
        let mut child = Command::new(env::current_exe()?)
            .env(VARIABLE, directory)
            .stdout(Stdio::piped())
            .spawn()
            .context("start a follower")?;
        let mut port = String::new();
        let output = child.stdout.take().context("it is piped")?;
        let follower = Self(child);
        BufReader::new(output).read_line(&mut port)?;
        let port: u16 = port.trim().parse().context("the port of a follower")?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok((follower, stream))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to end, and nobody to tell.
        if self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}

/// Returns where this process is to follow, if it is.
pub(crate) fn follower_directory() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// Follows the first connection until it ends.
#[expect(clippy::print_stdout, reason = "the leader reads the port there")]
pub(crate) fn follow(directory: &Path) -> anyhow::Result<()> {
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
