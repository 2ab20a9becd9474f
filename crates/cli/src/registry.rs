//! Where the shard map is kept, as --registry says it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::Context as _;
use shardwright_registry::{MemoryStore, NatsOptions, NatsStore, SqliteStore, Store};

use crate::settings::{BUCKET, NATS_CREDS, Settings};

/// A store for the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Location {
    /// In this process, and gone with it.
    Memory,
    /// In an SQLite file, for the processes of one machine.
    Sqlite(PathBuf),
    /// In a bucket of NATS JetStream, reached through any of these servers.
    Nats(Vec<String>),
}

/// The text names no store.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a registry is memory:, sqlite:PATH or nats://HOST:PORT[,HOST:PORT]")]
pub(crate) struct NoLocation;

impl Location {
    /// Opens the store there.
    ///
    /// # Errors
    /// When it cannot be opened. A file or bucket that does not exist is created.
    pub(crate) async fn open(&self, settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::Memory => Ok(Arc::new(MemoryStore::new())),
            Self::Sqlite(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path)).await?;
                Ok(Arc::new(opened.context("open the registry")?))
            }
            Self::Nats(_) => Ok(Arc::new(self.open_nats(settings).await?)),
        }
    }

    /// Opens the bucket of a NATS registry; a new one gets as many copies as servers are named, at most three.
    pub(crate) async fn open_nats(&self, settings: &Settings) -> anyhow::Result<NatsStore> {
        let servers = match self {
            Self::Nats(servers) => servers.len(),
            Self::Memory | Self::Sqlite(_) => 0,
        };
        let mut options = NatsOptions {
            bucket: settings.required(&BUCKET)?,
            replicas: if servers < COPIES { 1 } else { 3 },
            ..NatsOptions::new(self.to_string())
        };
        options.connection.credentials = settings.optional(&NATS_CREDS)?;
        NatsStore::open(options).await.context("open the registry")
    }
}

/// A bucket has three copies, or one: two would stop with the first server that is lost, as one does.
const COPIES: usize = 3;

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        let servers = text.strip_prefix("nats://").ok_or(NoLocation)?;
        let servers: Vec<String> = servers
            .split(',')
            .map(|server| server.trim().trim_start_matches("nats://").to_owned())
            .collect();
        if servers.iter().any(String::is_empty) {
            return Err(NoLocation);
        }
        Ok(Self::Nats(servers))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Nats(servers) => write!(f, "nats://{}", servers.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_printed_as_it_is_written() {
        for text in [
            "memory:",
            "sqlite:registry.db",
            "nats://127.0.0.1:4222",
            "nats://a:4222,b:4222",
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        let twice: Location = "nats://a:4222, nats://b:4222".parse().unwrap();
        assert_eq!(twice.to_string(), "nats://a:4222,b:4222");
    }

    #[test]
    fn anything_else_is_no_location() {
        for text in ["", "memory", "sqlite:", "nats://", "nats://a,", "redis://a"] {
            assert_eq!(text.parse::<Location>(), Err(NoLocation), "{text}");
        }
    }
}
