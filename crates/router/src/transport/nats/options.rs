//! How NATS is reached.

use shardwright_registry::{NatsConnection, NatsConnectionError};

use crate::BoxError;

/// How NATS is reached, and under which subjects nodes listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// The servers, and who connects.
    pub connection: NatsConnection,
    /// The first part of all subjects: a cluster of nodes has its own. `shardwright.rpc` by default.
    pub prefix: String,
    /// How many requests a listener answers at once; more are refused, and their callers try again. 4096 by default.
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
    /// No server was reached.
    #[error(transparent)]
    Connection(#[from] NatsConnectionError),
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
            connection: NatsConnection::new(servers),
            prefix: "shardwright.rpc".to_owned(),
            in_flight_max: 4096,
        }
    }

    pub(super) fn check(&self) -> Result<(), NatsError> {
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
