//! Where the shard map is kept, as --registry says it.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use anyhow::Context as _;
use shardwright_registry::{MemoryStore, NatsOptions, NatsStore, SqliteStore, Store};

use crate::settings::{BUCKET, NATS_CREDS, SettingError, Settings};

/// A store for the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Location {
    /// In this process, and gone with it.
    Memory,
    /// In an SQLite file, for the processes of one machine.
    Sqlite(PathBuf),
    /// In a bucket of NATS JetStream.
    Nats(NatsServers),
}

/// The servers of NATS through which a bucket is reached: one or more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NatsServers(Vec<String>);

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
            Self::Nats(servers) => {
                let opened = NatsStore::open(servers.options(settings)?).await;
                Ok(Arc::new(opened.context("open the registry")?))
            }
        }
    }
}

/// A bucket has three copies, or one: two would stop with the first server that is lost, as one does.
const COPIES: usize = 3;

impl NatsServers {
    /// The bucket there; a new one gets as many copies as servers are named, at most three.
    pub(crate) fn options(&self, settings: &Settings) -> Result<NatsOptions, SettingError> {
        let mut options = NatsOptions {
            bucket: settings.required(&BUCKET)?,
            replicas: if self.0.len() < COPIES { 1 } else { 3 },
            ..NatsOptions::new(self.to_string())
        };
        options.connection.credentials = settings.optional(&NATS_CREDS)?;
        Ok(options)
    }
}

impl FromStr for NatsServers {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        let servers = text.strip_prefix("nats://").ok_or(NoLocation)?;
        let servers: Vec<String> = servers
            .split(',')
            .map(|server| server.trim().trim_start_matches("nats://").to_owned())
            .collect();
        if servers.iter().any(String::is_empty) {
            return Err(NoLocation);
        }
        Ok(Self(servers))
    }
}

impl fmt::Display for NatsServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nats://{}", self.0.join(","))
    }
}

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        text.parse().map(Self::Nats)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Nats(servers) => servers.fmt(f),
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
