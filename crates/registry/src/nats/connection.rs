//! How servers of NATS are reached, and as whom.

use std::{fmt, path::PathBuf};

use async_nats::{Client, ConnectOptions};
use percent_encoding::percent_decode_str;

/// A connection to servers of NATS that can be made. Printed, it shows no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsConnection {
    /// One or more servers of one cluster, separated by commas: `nats://host:4222`, with `user:password@` or `token@` before the host
    /// of the first one, or `tls://`.
    pub servers: String,
    /// A credentials file of a decentralised account. None by default.
    pub credentials: Option<PathBuf>,
    /// How the connection is encrypted, beyond what the server asks for.
    pub tls: NatsTls,
    /// The name under which servers list the connection. `shardwright` by default.
    pub client_name: String,
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

/// A connection that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsConnectionError {
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
    #[error("no server of {servers} was reached: check that it runs, and the address and the user")]
    Refused {
        /// The servers, without secrets.
        servers: String,
        /// What the last one said.
        #[source]
        source: crate::BoxError,
    },
}

impl NatsConnection {
    /// Returns the connection to servers, as whom their addresses say.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            credentials: None,
            tls: NatsTls::default(),
            client_name: "shardwright".to_owned(),
        }
    }

    /// Connects. Must be called within a tokio runtime.
    ///
    /// For the project's own crates, which are released together: users meet no type of the driver.
    ///
    /// # Errors
    /// [`NatsConnectionError`] says what has to be changed.
    #[doc(hidden)]
    pub async fn connect(&self) -> Result<Client, NatsConnectionError> {
        let (addresses, login) = self.addresses();
        let mut connect = ConnectOptions::new()
            .name(&self.client_name)
            .require_tls(self.tls.required);
        connect = match login {
            Login::None => connect,
            Login::Token(token) => connect.token(token),
            Login::User(user, password) => connect.user_and_password(user, password),
        };
        if let Some(path) = &self.credentials {
            let unusable = |source| NatsConnectionError::Credentials {
                path: path.clone(),
                source,
            };
            connect = connect.credentials_file(path).await.map_err(unusable)?;
        }
        if let Some(path) = &self.tls.root_certificates {
            connect = connect.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &self.tls.client_certificate {
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
        if self.tls.first {
            connect = connect.tls_first();
        }
        let connected = connect.connect(&addresses[..]).await;
        connected.map_err(|error| NatsConnectionError::Refused {
            servers: addresses.join(","),
            source: error.into(),
        })
    }

    /// The addresses without what comes before `@`, and the user, password or token that the first of them names.
    fn addresses(&self) -> (Vec<String>, Login) {
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

impl fmt::Debug for NatsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConnection")
            .field("servers", &self.addresses().0)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("client_name", &self.client_name)
            .finish()
    }
}

/// Who connects, as an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Login {
    None,
    Token(String),
    User(String, String),
}

impl Login {
    fn of(secret: &str) -> Self {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match secret.split_once(':') {
            Some((user, password)) => Self::User(decoded(user), decoded(password)),
            None => Self::Token(decoded(secret)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_connects_is_taken_out_of_the_addresses() {
        let connection = NatsConnection::new("nats://ann:p%40ss@a:4222, tls://b:4222,c");
        let expect = ["nats://a:4222", "tls://b:4222", "nats://c"].map(str::to_owned);
        let login = Login::User("ann".to_owned(), "p@ss".to_owned());
        assert_eq!(connection.addresses(), (expect.to_vec(), login));
        let token = NatsConnection::new("nats://s3cret@a").addresses().1;
        assert_eq!(token, Login::Token("s3cret".to_owned()));
        let shown = format!("{connection:?}");
        assert!(
            shown.contains("tls://b:4222") && !shown.contains("p%40ss"),
            "{shown}"
        );
    }
}
