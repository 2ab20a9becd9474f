//! How NATS is reached.

use std::path::PathBuf;

use async_nats::{Client, ConnectOptions};

use crate::BoxError;

/// How NATS is reached, and under which subjects nodes listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// One or more servers of one cluster, separated by commas: `nats://host:4222` or `tls://host:4222`, with `user:password@` or
    /// `token@` before the host if need be.
    pub servers: String,
    /// The first part of all subjects: a cluster of nodes has its own. `shardwright.rpc` by default.
    pub prefix: String,
    /// A credentials file of a decentralised account. None by default.
    pub credentials: Option<PathBuf>,
    /// Certificates, PEM, of authorities to trust besides those of the system. None by default.
    pub root_certificates: Option<PathBuf>,
    /// Refuse a connection that is not encrypted. Off by default.
    pub tls_required: bool,
    /// The name under which servers list the connection. `shardwright` by default.
    pub client_name: String,
    /// How many requests a listener answers at once; more wait. 4096 by default.
    pub in_flight_max: usize,
}

/// A connection that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// An option is none that works.
    #[error("{option} cannot be {value:?}: {rule}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        rule: &'static str,
    },
    /// The credentials file cannot be read.
    #[error("the credentials file {} cannot be used", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// No server was reached, or it refused the user.
    #[error("no NATS server was reached: check that it runs, and the address and the user")]
    Connect(#[source] BoxError),
    /// The connection did not take a subscription.
    #[error("the NATS server did not take the subscription to {subject}")]
    Subscribe {
        /// The subject.
        subject: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl NatsOptions {
    /// Returns the options for a cluster without credentials.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            prefix: "shardwright.rpc".to_owned(),
            credentials: None,
            root_certificates: None,
            tls_required: false,
            client_name: "shardwright".to_owned(),
            in_flight_max: 4096,
        }
    }

    pub(super) async fn connect(&self) -> Result<Client, NatsError> {
        self.check()?;
        let mut connect = ConnectOptions::new()
            .name(&self.client_name)
            .require_tls(self.tls_required);
        if let Some(path) = &self.credentials {
            let unusable = |source| NatsError::Credentials {
                path: path.clone(),
                source,
            };
            connect = connect.credentials_file(path).await.map_err(unusable)?;
        }
        if let Some(path) = &self.root_certificates {
            connect = connect.add_root_certificates(path.clone());
        }
        let servers: Vec<&str> = self.servers.split(',').map(str::trim).collect();
        let connected = connect.connect(servers).await;
        connected.map_err(|error| NatsError::Connect(error.into()))
    }

    fn check(&self) -> Result<(), NatsError> {
        let part = |part: &str| {
            let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !part.is_empty() && part.bytes().all(named)
        };
        if !self.prefix.split('.').all(part) {
            return Err(NatsError::Option {
                option: "prefix",
                value: self.prefix.clone(),
                rule: "use letters, digits, '-' and '_', with dots between parts",
            });
        }
        if self.in_flight_max == 0 {
            return Err(NatsError::Option {
                option: "in_flight_max",
                value: "0".to_owned(),
                rule: "use 1 or more",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_does_not_work_is_named() {
        let options = NatsOptions::new("nats://localhost:4222");
        assert!(options.check().is_ok());
        for prefix in ["", "a..b", "a.*", "a b", ".a"] {
            let prefix = prefix.to_owned();
            let bad = NatsOptions {
                prefix,
                ..options.clone()
            };
            assert!(matches!(
                bad.check(),
                Err(NatsError::Option {
                    option: "prefix",
                    ..
                })
            ));
        }
        let none = NatsOptions {
            in_flight_max: 0,
            ..options
        };
        assert!(none.check().is_err());
    }
}
