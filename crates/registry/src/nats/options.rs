//! How a store in NATS is reached, and what it promises.

use std::time::Duration;

use super::connection::{NatsConnection, NatsConnectionError};

/// How a registry in NATS JetStream is reached, and how the store behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// The servers, and who connects.
    pub connection: NatsConnection,
    /// The bucket that holds the registry: letters, digits, `-` and `_`.
    pub bucket: String,
    /// How many servers keep the bucket, 1 to 5, when it is created. Production needs 3.
    pub replicas: u32,
    /// How many versions of each value are kept, 2 to 64, when the bucket is created.
    pub history: u32,
    /// How long one request waits for its answer.
    pub request_timeout: Duration,
    /// How long a call goes on trying after answers that say that nothing happened, or that are too old. When the leader of the
    /// stream dies, its followers need 5 to 8 seconds to elect another.
    pub deadline: Duration,
    /// How often a server says that a watch is alive. One that is silent three times as long is started again.
    pub heartbeat: Duration,
    /// After this time a watch ends, so that its user lists everything again, whatever it may have missed.
    pub relist_every: Duration,
}

impl NatsOptions {
    /// The bucket unless one is named.
    pub const BUCKET: &'static str = "shardwright";

    /// Returns the options for a cluster: a bucket on one server, calls that outlast the loss of a stream leader.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            connection: NatsConnection::new(servers),
            bucket: Self::BUCKET.to_owned(),
            replicas: 1,
            history: 5,
            request_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            relist_every: Duration::from_secs(300),
        }
    }
}

/// A store in NATS that could not be opened.
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
    /// The servers have no JetStream for this account. Enable it in their configuration.
    #[error("JetStream is not enabled for this account: {description}")]
    NoJetStream {
        /// What the server said.
        description: String,
    },
    /// The bucket does not exist, and was only to be found.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The bucket could not be created or read.
    #[error("bucket {bucket} cannot be opened: {description}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// What the server said.
        description: String,
    },
    /// The bucket exists and is set up so that the registry would lose records. Change its stream, or name another bucket.
    #[error("stream KV_{bucket} has {setting} {found}, the registry needs {needed}")]
    Setting {
        /// The bucket.
        bucket: String,
        /// The setting of its stream.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: String,
    },
}

impl NatsOptions {
    pub(super) fn check(&self) -> Result<(), NatsError> {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let refuse = |option, value: String, rule| {
            Err(NatsError::Option {
                option,
                value,
                rule,
            })
        };
        if self.bucket.is_empty() || !self.bucket.bytes().all(named) {
            let rule = "use letters, digits, '-' and '_'";
            return refuse("bucket", self.bucket.clone(), rule);
        }
        if !(1..=5).contains(&self.replicas) {
            return refuse("replicas", self.replicas.to_string(), "use 1 to 5, best 3");
        }
        if !(2..=64).contains(&self.history) {
            return refuse("history", self.history.to_string(), "use 2 to 64");
        }
        if self.request_timeout.is_zero() || self.heartbeat < Duration::from_millis(100) {
            let value = format!("{:?} and {:?}", self.request_timeout, self.heartbeat);
            return refuse("request_timeout and heartbeat", value, "use 100 ms or more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_cannot_work_is_refused_by_name() {
        let refused = NatsOptions {
            bucket: "a.b".to_owned(),
            ..NatsOptions::new("nats://a")
        };
        let message = refused.check().expect_err("a dot").to_string();
        assert_eq!(
            message,
            "bucket cannot be \"a.b\": use letters, digits, '-' and '_'"
        );
        let history = NatsOptions {
            history: 1,
            ..NatsOptions::new("nats://a")
        };
        assert!(history.check().is_err());
        assert!(NatsOptions::new("nats://a").check().is_ok());
    }
}
