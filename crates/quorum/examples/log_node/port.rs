//! The port: a command on each line, an answer for each.
//!
//! ```text
//! append one|quorum|all CLIENT SEQUENCE VALUE   ok LSN EPOCH
//! read leased|consistent                        ok APPLIED COUNT, and as many lines CLIENT SEQUENCE VALUE
//! local                                         the same, whatever this copy has
//! status                                        ok KEY=VALUE ...
//! bench WRITERS SECONDS BYTES                   ok APPENDS-PER-SECOND P50-US P99-US
//!                                               error WHAT MESSAGE
//! ```

use std::time::Duration;

use shardwright_quorum::log::{
    BoxError, Kind, Level, ReadLevel, ShardLog,
    shard_log::{AppendError, Entry},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{bench, shown::Shown, status};

pub(crate) async fn serve(address: &str, log: ShardLog, shown: Shown) -> Result<(), BoxError> {
    let listener = TcpListener::bind(address).await?;
    println!("commands on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let (log, shown) = (log.clone(), shown.clone());
        tokio::spawn(async move {
            // Whoever asked has gone.
            let _ended = answer(stream, log, shown).await;
        });
    }
}

async fn answer(stream: TcpStream, log: ShardLog, shown: Shown) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = run(&line, &log, &shown).await;
        answer.push('\n');
        writer.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn run(line: &str, log: &ShardLog, shown: &Shown) -> String {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    match words[..] {
        ["append", level, text] => append(log, level, text).await,
        ["read", level] => {
            let level = if level == "leased" {
                ReadLevel::Leased
            } else {
                ReadLevel::Consistent
            };
            match log.barrier(level).await {
                Ok(applied) => format!("ok {applied} {}", shown.text()),
                Err(error) => format!("error refused {error}"),
            }
        }
        ["local"] => format!("ok {} {}", log.status().borrow().applied, shown.text()),
        ["status"] => status::text(log),
        ["bench", writers, rest] => bench::run(log, writers, rest).await,
        _ => "error command what is that".to_owned(),
    }
}

async fn append(log: &ShardLog, level: &str, text: &str) -> String {
    let level = match level {
        "one" => Level::One,
        "all" => Level::All,
        _ => Level::Quorum,
    };
    let entry = Entry::new(Kind::Batch, text.as_bytes().to_vec());
    match log.append(entry, level, Duration::from_secs(10)).await {
        Ok(appended) => format!("ok {} {}", appended.lsn, appended.epoch),
        Err(error @ AppendError::Indeterminate) => format!("error unknown {error}"),
        Err(error) => format!("error refused {error}"),
    }
}
