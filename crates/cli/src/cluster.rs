//! How a command reaches the nodes of a cluster.

use std::time::Duration;

use crate::{
    client::{NodeUrl, Patience, SqlClient, cluster_token},
    settings::{Family, Given, Setting, TOKEN_FILE},
};

/// How long one of several nodes is waited for before another one is asked.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The nodes of a cluster, and how patient the command is with them.
#[derive(Debug, clap::Args)]
pub(crate) struct Cluster {
    /// A node of a cluster, or several: the next is asked where one does not answer.
    #[arg(long, value_name = "URL[,URL]", value_delimiter = ',')]
    node: Vec<NodeUrl>,

    /// How long a statement may take, all attempts together.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        requires = "node"
    )]
    timeout: humantime::Duration,

    #[command(flatten)]
    settings: Given<Asking>,
}

/// The settings of a client of nodes.
#[derive(Debug)]
struct Asking;

impl Family for Asking {
    const SETTINGS: &'static [&'static Setting] = &[&TOKEN_FILE];
}

impl Cluster {
    /// A client with a name of its own. Nothing is sent.
    pub(crate) fn client(&self) -> anyhow::Result<SqlClient> {
        let token = cluster_token(&self.settings.resolve()?)?;
        SqlClient::new(self.node.clone(), token, self.patience())
    }

    /// A client under a name, whose statements the caller numbers. Nothing is sent.
    pub(crate) fn client_named(&self, name: String) -> anyhow::Result<SqlClient> {
        let token = cluster_token(&self.settings.resolve()?)?;
        SqlClient::named(self.node.clone(), token, self.patience(), name)
    }

    /// How long one statement, or another request, may take.
    pub(crate) fn timeout(&self) -> Duration {
        *self.timeout
    }

    fn patience(&self) -> Patience {
        Patience {
            statement: *self.timeout,
            attempt: ATTEMPT.min(*self.timeout),
        }
    }
}
