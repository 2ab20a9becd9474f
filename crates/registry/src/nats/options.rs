//! How a store in NATS is reached, and what it promises.

use std::{path::PathBuf, time::Duration};

/// How a registry in NATS JetStream is reached, and how the store behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// One or more servers of one cluster, separated by commas: `nats://host:4222`, with `user:password@` or `token@` before the host
    /// of the first one, or `tls://`.
    pub servers: String,
    /// The bucket that holds the registry: letters, digits, `-` and `_`.
    pub bucket: String,
    /// How many servers keep the bucket, 1 to 5, when it is created. Production needs 3.
    pub replicas: u32,
    /// How many versions of each value are kept, 2 to 64, when the bucket is created.
    pub history: u32,
    /// A credentials file of a decentralised account.
    pub credentials: Option<PathBuf>,
    /// How the connection is encrypted, beyond what the server asks for.
    pub tls: NatsTls,
    /// The name under which servers list the connection.
    pub client_name: String,
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

/// How a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatsTls {
    /// Refuse a connection that is not encrypted.
    pub required: bool,
    /// Begin with the handshake, for servers that are set so.
    pub first: bool,
    /// Certificates, PEM, of authorities to trust besides those of the system.
    pub root_certificates: Option<PathBuf>,
    /// The client's own certificate and its key, PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

impl NatsOptions {
    /// The bucket unless one is named.
    pub const BUCKET: &'static str = "shardwright";

    /// Returns the options for a cluster: a bucket on one server, calls that outlast the loss of a stream leader.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            bucket: Self::BUCKET.to_owned(),
            replicas: 1,
            history: 5,
            credentials: None,
            tls: NatsTls::default(),
            client_name: "shardwright".to_owned(),
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
    #[error("no server of {servers} was reached")]
    Connect {
        /// The servers, without secrets.
        servers: String,
        /// What the last one said.
        #[source]
        source: crate::BoxError,
    },
    /// The servers have no JetStream for this account. Enable it in their configuration.
    #[error("JetStream is not enabled for this account: {description}")]
    NoJetStream {
        /// What the server said.
        description: String,
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

    /// The addresses without what comes before `@`, and the user, password or token that the first of them names.
    pub(super) fn addresses(&self) -> (Vec<String>, Login) {
        let mut login = Login::None;
        let mut addresses = Vec::new();
        for server in self.servers.split(',').map(str::trim) {
            let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
            let host = match rest.rsplit_once('@') {
                None => rest,
                Some((secret, host)) => {
                    if login == Login::None {
                        login = Login::of(secret);
                    }
                    host
                }
            };
            addresses.push(format!("{scheme}://{host}"));
        }
        (addresses, login)
    }
}

/// Who connects, as an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    None,
    Token(String),
    User(String, String),
}

impl Login {
    fn of(secret: &str) -> Self {
        match secret.split_once(':') {
            Some((user, password)) => Self::User(percent_decoded(user), percent_decoded(password)),
            None => Self::Token(percent_decoded(secret)),
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match decoded.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_connects_is_taken_out_of_the_addresses() {
        let options = NatsOptions::new("nats://ann:p%40ss@a:4222, tls://b:4222,c");
        let expect = ["nats://a:4222", "tls://b:4222", "nats://c"].map(str::to_owned);
        let login = Login::User("ann".to_owned(), "p@ss".to_owned());
        assert_eq!(options.addresses(), (expect.to_vec(), login));
        let token = NatsOptions::new("nats://s3cret@a").addresses().1;
        assert_eq!(token, Login::Token("s3cret".to_owned()));
    }

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
