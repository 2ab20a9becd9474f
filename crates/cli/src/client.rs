//! A client of the coordinators' admin API under `/api/v1`.
//!
//! Any coordinator takes any call. A call that did not reach one, or that it refused as one to repeat, goes to the next; a call whose
//! outcome is unknown is never sent twice unless it only reads.

mod error;
mod shapes;
mod sql;
mod sql_error;
mod streamed;

use std::{io::Write, path::PathBuf, pin::pin, str::FromStr, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use eventsource_stream::{Event, Eventsource as _};
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, Url, header::AUTHORIZATION};
use serde::{Serialize, de::DeserializeOwned};
use shardwright_coordinator::http::Token;
use tokio::runtime::Runtime;

pub(crate) use self::{
    error::{ClientError, ErrorBody},
    shapes::*,
    sql::{NodeUrl, Numbered, Patience, SqlClient, Writing},
    sql_error::SqlError,
};
use crate::{
    output::{self, ListingFormat, Sheet},
    settings::{COORDINATOR, Family, Given, Setting, Settings, TOKEN_FILE},
};

/// How long a coordinator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a stream of events that ended is left before another is opened.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// How a command reaches the coordinators, and prints what they say.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    #[command(flatten)]
    settings: Given<Reaching>,

    /// How long the command waits for an answer, all attempts together.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: humantime::Duration,

    /// How the answer is printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// The settings of a client.
#[derive(Debug)]
struct Reaching;

impl Family for Reaching {
    const SETTINGS: &'static [&'static Setting] = &[&COORDINATOR, &TOKEN_FILE];
}

impl Connection {
    /// Whether the answer goes to a program.
    pub(crate) fn is_json(&self) -> bool {
        self.output == ListingFormat::Json
    }

    /// Prints an answer: as it came for a program, as a table for people.
    pub(crate) fn print(
        &self,
        out: &mut dyn Write,
        answer: &impl Serialize,
        sheet: impl FnOnce() -> Sheet,
    ) -> anyhow::Result<()> {
        let printed = match self.output {
            ListingFormat::Json => output::write_json(out, answer),
            ListingFormat::Table => output::write_listing(out, self.output, &sheet()),
        };
        Ok(printed?)
    }

    /// Asks for a change, and prints the answer for a program or `said` for people.
    pub(crate) fn change(
        &self,
        out: &mut dyn Write,
        method: Method,
        path: &str,
        body: &impl Serialize,
        said: &str,
    ) -> anyhow::Result<()> {
        let answer: serde_json::Value = self.client()?.send(method, path, body)?;
        match self.output {
            ListingFormat::Json => output::write_json(out, &answer)?,
            ListingFormat::Table => writeln!(out, "{said}")?,
        }
        Ok(())
    }

    /// A client with these settings. Nothing is sent.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.settings.resolve()?, *self.timeout)
    }
}

/// The URL of a coordinator.
struct Endpoint(Url);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        server_url(text, "a coordinator").map(Self)
    }
}

/// Reads the URL of a server, which `what` is.
fn server_url(text: &str, what: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if url.scheme() == "http" && url.has_host() {
        Ok(url)
    } else {
        Err(format!("{what} is written as http://HOST:PORT"))
    }
}

/// The cluster's token, where the settings name a file with one.
pub(crate) fn cluster_token(settings: &Settings) -> anyhow::Result<Option<Token>> {
    let path = settings.optional::<PathBuf>(&TOKEN_FILE)?;
    Ok(path.map(Token::read).transpose()?)
}

/// Speaks with the coordinators, one call at a time.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    endpoints: Vec<Url>,
    token: Option<Token>,
    timeout: Duration,
}

impl Client {
    /// A client that gives each call this much time. Nothing is sent.
    pub(crate) fn new(settings: &Settings, timeout: Duration) -> anyhow::Result<Self> {
        let endpoints = settings.list::<Endpoint>(&COORDINATOR)?;
        let endpoints = endpoints.into_iter().map(|Endpoint(url)| url).collect();
        Self::at(endpoints, cluster_token(settings)?, timeout)
    }

    /// A client of the coordinators there.
    pub(crate) fn at(
        endpoints: Vec<Url>,
        token: Option<Token>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: shardwright_server::http::client(CONNECT_TIMEOUT)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            endpoints,
            token,
            timeout,
        })
    }

    /// Fails unless the coordinator at `url` says that it is ready.
    pub(crate) fn is_ready(&self, url: &Url) -> Result<(), ClientError> {
        let url = join(url, "/readyz");
        let request = self.request(Method::GET, url.clone());
        self.runtime
            .block_on(answer(&Method::GET, &url, request))
            .map(|_ready| ())
    }

    /// The coordinators' URLs.
    pub(crate) fn endpoints(&self) -> &[Url] {
        &self.endpoints
    }

    /// Reads what is at `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>)
    }

    /// Reads what is at `path`, of the first coordinator that has it within this time, and is not patient.
    pub(crate) fn glance<T: DeserializeOwned>(
        &self,
        path: &str,
        within: Duration,
    ) -> Result<T, ClientError> {
        let method = Method::GET;
        let asked = async {
            let response = self.round(&method, path, None::<&()>).await?;
            read(&method, response).await
        };
        self.runtime.block_on(async {
            tokio::time::timeout(within, asked)
                .await
                .unwrap_or_else(|_elapsed| Err(self.timed_out(&method)))
        })
    }

    /// Lets some time pass.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    /// Asks for a change.
    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(method, path, Some(body))
    }

    /// Follows what the coordinators tell, for as long as `take` says so. Where one goes away, the next is asked for what came
    /// after the last event.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut take: impl FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut last = None;
        loop {
            let stream = self.open(path, last.as_deref())?;
            self.runtime.block_on(async {
                let mut events = pin!(stream.bytes_stream().eventsource());
                // A stream that breaks is one that ends: the next one goes on from the last event.
                while let Some(Ok(event)) = events.next().await {
                    take(&event)?;
                    if !event.id.is_empty() {
                        last = Some(event.id);
                    }
                }
                tokio::time::sleep(REOPEN_AFTER).await;
                anyhow::Ok(())
            })?;
        }
    }

    /// Opens the stream of events at the first coordinator that has one.
    fn open(&self, path: &str, last: Option<&str>) -> Result<Response, ClientError> {
        let opened = async {
            let mut failure = ClientError::NoCoordinator;
            for endpoint in &self.endpoints {
                let url = join(endpoint, path);
                let mut request = self.http.get(url.clone());
                if let Some(token) = &self.token {
                    request = request.header(AUTHORIZATION, token.header());
                }
                if let Some(last) = last {
                    request = request.header("Last-Event-ID", last);
                }
                match answer(&Method::GET, &url, request).await {
                    Err(error) if error.may_ask_another(&Method::GET) => failure = error,
                    settled => return settled,
                }
            }
            Err(failure)
        };
        self.runtime.block_on(async {
            tokio::time::timeout(self.timeout, opened)
                .await
                .unwrap_or_else(|_elapsed| Err(self.timed_out(&Method::GET)))
        })
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let round = || self.round(&method, path, body);
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(1))
            .without_max_times()
            .with_jitter();
        self.runtime.block_on(async {
            let answered = async {
                let response = round.retry(backoff).when(ClientError::is_retryable).await?;
                read(&method, response).await
            };
            tokio::time::timeout(self.timeout, answered)
                .await
                .unwrap_or_else(|_elapsed| Err(self.timed_out(&method)))
        })
    }

    /// Asks one coordinator after the other until one answers.
    async fn round(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response, ClientError> {
        let mut failure = None;
        for endpoint in &self.endpoints {
            let url = join(endpoint, path);
            let mut request = self.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            match answer(method, &url, request).await {
                Err(error) if error.may_ask_another(method) => {
                    // A coordinator that says why is worth more than one that cannot be reached.
                    if failure
                        .as_ref()
                        .is_none_or(|kept: &ClientError| !kept.is_answer())
                    {
                        failure = Some(error);
                    }
                }
                settled => return settled,
            }
        }
        Err(failure.unwrap_or(ClientError::NoCoordinator))
    }

    /// A request that carries the token.
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        // A read may be asked of each coordinator; a change waits for its own answer as long as there is time.
        let share = u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX);
        let patience = if method.is_safe() {
            self.timeout / share.max(1)
        } else {
            self.timeout
        };
        let request = self.http.request(method, url).timeout(patience);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.header()),
            None => request,
        }
    }

    fn timed_out(&self, method: &Method) -> ClientError {
        ClientError::TimedOut {
            waited: self.timeout.into(),
            is_unknown: !method.is_safe(),
        }
    }
}

/// Sends a request, and makes an error of an answer that says one.
async fn answer(
    method: &Method,
    url: &Url,
    request: RequestBuilder,
) -> Result<Response, ClientError> {
    let response = request.send().await;
    let response = response.map_err(|error| ClientError::of(method, url, error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.json::<ErrorBody>().await.ok();
    Err(ClientError::answered(url, status, body))
}

/// Reads the body of an answer.
async fn read<T: DeserializeOwned>(method: &Method, response: Response) -> Result<T, ClientError> {
    let url = response.url().clone();
    let text = response.text().await;
    let text = text.map_err(|error| ClientError::of(method, &url, error))?;
    serde_json::from_str(&text).map_err(|source| ClientError::Malformed { url, source })
}

/// `path` below a coordinator's URL.
fn join(endpoint: &Url, path: &str) -> Url {
    let mut url = endpoint.clone();
    let base = endpoint.path().trim_end_matches('/').to_owned();
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    url.set_path(&format!("{base}{path}"));
    url.set_query(query);
    url
}
