//! Coordinators and workers in this process, and a client to ask them.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use shardwright_coordinator::{
    Coordinator, Handle,
    core::Settings as CoreSettings,
    elastic::ShardStore,
    http::{Api, Metrics, REVISION, Settings, Token, bind, serve},
    worker::Worker,
};
use shardwright_rebalancer::ReplicaPolicy;
use shardwright_registry::{MemoryStore, Store};
use shardwright_topology::{Incarnation, NodeId};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// The token of the clusters that have one.
pub(crate) const TOKEN: &str = "a-token-of-some-length";

pub(crate) fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a name")
}

/// When a lease ends: late enough that no worker loses one to a machine that is busy with other tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// A coordinator and its server.
pub(crate) struct Server {
    pub(crate) coordinator: Coordinator,
    pub(crate) api: Api,
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a coordinator that serves HTTP as the settings say.
    pub(crate) async fn start(store: &Arc<dyn Store>, number: u64, settings: Settings) -> Self {
        Self::with_timeout(store, number, settings, TIMEOUT).await
    }

    /// Does the same with leases that end after another time.
    pub(crate) async fn with_timeout(
        store: &Arc<dyn Store>,
        number: u64,
        settings: Settings,
        timeout: Duration,
    ) -> Self {
        let core = Self::core(number, timeout);
        Self::with_core(store, core, settings).await
    }

    /// The settings of a coordinator whose leases end after this time.
    pub(crate) fn core(number: u64, timeout: Duration) -> CoreSettings {
        CoreSettings {
            check_interval: (timeout / 10).min(Duration::from_millis(40)),
            timing: CoreSettings::timing_of(timeout).expect("a time-out"),
            ..CoreSettings::new(name(&format!("c{number}")), Incarnation(number))
        }
    }

    /// Does the same with a coordinator that is set so.
    pub(crate) async fn with_core(
        store: &Arc<dyn Store>,
        core: CoreSettings,
        settings: Settings,
    ) -> Self {
        Self::with_shards(store, core, settings, None).await
    }

    /// Does the same with a coordinator that splits and merges what is in a store.
    pub(crate) async fn with_shards(
        store: &Arc<dyn Store>,
        core: CoreSettings,
        settings: Settings,
        shards: Option<Arc<dyn ShardStore>>,
    ) -> Self {
        let policy = Box::new(ReplicaPolicy::default());
        let mut builder = Coordinator::builder(store.clone(), core, policy);
        if let Some(shards) = shards {
            builder = builder.elastic(shards);
        }
        let coordinator = builder.token(settings.token.clone()).start();
        let listener = bind("127.0.0.1:0", settings.token.as_ref()).await;
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let api = Api::new(coordinator.handle().clone(), store.clone(), settings);
        api.announce(&url).await.expect("a store");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, api.clone(), async {
            // A server whose test is over stops as well.
            let _stopped = stopped.await;
        }));
        Self {
            coordinator,
            api,
            url,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.coordinator.handle()
    }

    /// Stops the server and then the coordinator, as a process does that ends well.
    pub(crate) async fn stop(self) {
        self.without_server().await.coordinator.stop().await;
    }

    /// Ends the server, while its coordinator goes on.
    pub(crate) async fn without_server(mut self) -> Self {
        let stop = self.stop.take().expect("it stops once");
        stop.send(()).expect("the server runs");
        (&mut self.task).await.expect("the server ends well");
        self
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        Answer::of(request.body(body.to_owned())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, body: Value) -> Answer {
        self.call(Method::DELETE, path, &body.to_string()).await
    }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) revision: Option<u64>,
    pub(crate) allow: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        let revision = header(REVISION).map(|text| text.parse().expect("a number"));
        let allow = header("allow");
        Self {
            status: response.status().as_u16(),
            revision,
            allow,
            text: response.text().await.expect("a whole answer"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that is no error.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// Checks that the answer is an error of this status and code, in the one shape.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        let error = body["error"].as_object().expect("an error");
        assert_eq!(error["code"], code, "{self:?}");
        assert!(error["message"].is_string() && error["retryable"].is_boolean());
        assert!(error["hint"].is_string() || error["hint"].is_null());
        let known = ["code", "message", "hint", "retryable", "ids"];
        assert!(
            error.keys().all(|name| known.contains(&name.as_str())),
            "{self:?}"
        );
        body["error"].clone()
    }
}

/// Waits until a condition holds.
pub(crate) async fn wait(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// A coordinator that leads, alone.
pub(crate) async fn leader(settings: Settings) -> Server {
    let server = Server::start(&memory(), 1, settings).await;
    server.handle().view_when(|view| view.is_leading).await;
    server
}

/// A coordinator that leads, alone, and keeps as many copies of each partition.
pub(crate) async fn leader_of_copies(replicas: u32) -> Server {
    let core = CoreSettings {
        replicas,
        ..Server::core(1, TIMEOUT)
    };
    let server = Server::with_core(&memory(), core, Settings::default()).await;
    server.handle().view_when(|view| view.is_leading).await;
    server
}

/// A coordinator that leads, and one that knows it.
pub(crate) async fn two() -> (Server, Server) {
    two_with(Settings::default()).await
}

/// Does the same with other settings.
pub(crate) async fn two_with(settings: Settings) -> (Server, Server) {
    let store = memory();
    let first = Server::start(&store, 1, settings.clone()).await;
    first.handle().view_when(|view| view.is_leading).await;
    let second = Server::start(&store, 2, settings).await;
    let knows = |view: &shardwright_coordinator::core::View| view.leader == Some(name("c1"));
    second.handle().view_when(knows).await;
    (first, second)
}

/// A worker and its server.
pub(crate) struct Working {
    pub(crate) address: String,
    pub(crate) server: JoinHandle<()>,
    pub(crate) worker: Worker,
}

/// A worker that serves at once whatever it is given.
pub(crate) async fn worker(id: &str, coordinators: &[&Server], token: Option<&str>) -> Working {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let coordinators = coordinators.iter().map(|server| server.url.clone());
    let worker = Worker::builder(name(id), &address, coordinators.collect())
        .token(token.map(|text| Token::new(text).expect("a token")))
        .start();
    let router = worker.router();
    let server = async move { axum::serve(listener, router).await.expect("it serves") };
    Working {
        address,
        server: tokio::spawn(server),
        worker,
    }
}

/// Checks that a worker takes no pings without its token.
pub(crate) async fn refuses_strangers(worker: &str) {
    let ping = || reqwest::Client::new().post(format!("{worker}/shardz"));
    let strangers = [ping(), ping().bearer_auth("another-token-of-some-length")];
    for stranger in strangers {
        let answer = Answer::of(stranger.json(&serde_json::json!({}))).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert!(!answer.text.contains(TOKEN), "a secret is not told");
    }
    let friend = ping().bearer_auth(TOKEN).json(&serde_json::json!({}));
    let answer = Answer::of(friend).await;
    assert!(answer.status != StatusCode::UNAUTHORIZED, "{answer:?}");
}

/// The metrics of this process, which all its tests share.
pub(crate) fn metrics() -> Metrics {
    static METRICS: std::sync::OnceLock<Metrics> = std::sync::OnceLock::new();
    let install = || Metrics::install().expect("the only recorder");
    METRICS.get_or_init(install).clone()
}
