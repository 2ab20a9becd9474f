//! The address that a process listens on, and who may reach it there.

use std::{io::Write, net::SocketAddr};

use shardwright_coordinator::http::{self, Token};
use shardwright_topology::NodeId;
use tokio::net::TcpListener;

use crate::{
    client::cluster_token,
    settings::{ADVERTISE, ID, LISTEN, SettingError, Settings},
};

/// A bound socket, under the URL that others know it by.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    address: SocketAddr,
    /// Where others reach it.
    pub(crate) url: String,
    /// What the requests of this process carry, and those of others have to.
    pub(crate) token: Option<Token>,
}

impl Listening {
    /// Binds the address that --listen names, or else the default one.
    ///
    /// # Errors
    /// When the address is taken, or is one that other machines reach and there is no token.
    pub(crate) async fn open(settings: &Settings, default: (&str, u16)) -> anyhow::Result<Self> {
        let (host, port) = default;
        let given: Option<String> = settings.optional(&LISTEN)?;
        let given = given.unwrap_or_else(|| format!("{host}:{port}"));
        let token = cluster_token(settings)?;
        let listener = http::bind(&given, token.as_ref()).await?;
        let address = listener.local_addr()?;
        // Others cannot connect to "any address".
        let url = if address.ip().is_unspecified() {
            settings.required(&ADVERTISE)?
        } else {
            let local = format!("http://{address}");
            settings.optional(&ADVERTISE)?.unwrap_or(local)
        };
        Ok(Self {
            listener,
            address,
            url,
            token,
        })
    }

    /// The name that --id gives this process, or else its address.
    pub(crate) fn id(&self, settings: &Settings) -> Result<NodeId, SettingError> {
        let given = settings.optional(&ID)?;
        Ok(given.unwrap_or_else(|| {
            let text = self.address.to_string().replace(['[', ']', ':'], "-");
            let text = text.trim_matches('-').to_owned();
            NodeId::new(text).expect("an address without its brackets is a name")
        }))
    }

    /// The address that is bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says where it listens, on a line of its own that others can wait for.
    pub(crate) fn announce(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        announce(self.address, out)
    }
}

/// Says which address takes requests, on a line of its own that others can wait for.
pub(crate) fn announce(address: SocketAddr, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "listening on http://{address}")?;
    Ok(out.flush()?)
}
