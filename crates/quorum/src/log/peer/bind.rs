//! Addresses to listen on: loopback, or any with a token.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, lookup_host};

use super::Token;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not of this machine only, and there is no token.
    #[error("{address} can be reached from other machines: give a token, or listen on 127.0.0.1")]
    NeedsToken {
        /// The address.
        address: SocketAddr,
    },
    /// The address names nothing.
    #[error("{address} is no address to listen on, use one such as 127.0.0.1:7559")]
    NoAddress {
        /// The address as it was given.
        address: String,
        /// Why, where the system says it.
        #[source]
        source: Option<io::Error>,
    },
    /// The system does not let this process listen there.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address: loopback, or any with a token.
pub(super) async fn bind(address: &str, token: Option<&Token>) -> Result<TcpListener, BindError> {
    let no_address = |source| BindError::NoAddress {
        address: address.to_owned(),
        source,
    };
    let found = lookup_host(address).await;
    let found = found.map_err(|source| no_address(Some(source)))?;
    let mut refused = no_address(None);
    for address in found {
        if token.is_none() && !address.ip().is_loopback() {
            return Err(BindError::NeedsToken { address });
        }
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => refused = BindError::Refused { address, source },
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn other_machines_need_a_token() {
        let refused = bind("0.0.0.0:0", None).await;
        assert!(
            matches!(refused, Err(BindError::NeedsToken { .. })),
            "{refused:?}"
        );
        let token = Token::new("0123456789abcdef").expect("a token");
        assert!(bind("0.0.0.0:0", Some(&token)).await.is_ok());
        assert!(bind("127.0.0.1:0", None).await.is_ok());
        let nowhere = bind("nowhere", None).await;
        assert!(
            matches!(nowhere, Err(BindError::NoAddress { .. })),
            "{nowhere:?}"
        );
    }
}
