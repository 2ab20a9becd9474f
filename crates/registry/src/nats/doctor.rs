//! What can be known of a bucket's servers: over the connection, and over the addresses at which they are monitored.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{NatsStore, api::StreamStatus};
use crate::{Finding, Level, StoreError};

/// No more of an answer is read.
const ANSWER_LEN_MAX: u64 = 1024 * 1024;

impl NatsStore {
    /// Looks at what decides whether the bucket keeps what it acknowledged.
    ///
    /// Whether servers sync before they acknowledge is seen only where they are monitored: `monitors` are addresses such as
    /// `http://10.0.0.7:8222`, one for each server, and each may take as long as a request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the stream cannot be looked at.
    pub async fn diagnose(&self, monitors: &[String]) -> Result<Vec<Finding>, StoreError> {
        let (inner, monitors) = (self.inner.clone(), monitors.to_vec());
        self.on_runtime(async move {
            let info = inner.api.stream_info().await;
            let info = info.map_err(|failure| StoreError::Unavailable(failure.into()))?;
            let server = inner.api.client.server_info();
            let mut findings = Vec::new();
            about_copies(&info, &mut findings);
            about_settings(&info, &mut findings);
            about_release(&server.version, &info, &mut findings);
            let patience = inner.options.request_timeout;
            about_syncing(&server.version, &monitors, patience, &mut findings).await;
            Ok(findings)
        })
        .await
    }
}

fn about_copies(info: &StreamStatus, findings: &mut Vec<Finding>) {
    let replicas = info.config.num_replicas;
    findings.push(match replicas {
        1 => Finding::new(
            Level::Warning,
            "one server keeps the bucket",
            "use three servers and 3 replicas: the loss of this one is the loss of the registry",
        ),
        2 => Finding::new(
            Level::Warning,
            "two servers keep the bucket",
            "use 3 replicas: with two, the loss of either stops all changes",
        ),
        _ => Finding::good(format!("{replicas} servers keep the bucket")),
    });
    let Some(cluster) = &info.cluster else { return };
    if cluster.leader.is_empty() {
        let advice = "wait for an election, or look at the servers";
        findings.push(Finding::new(
            Level::Problem,
            "the stream has no leader",
            advice,
        ));
    }
    let behind = cluster.replicas.iter().filter(|peer| !peer.current);
    let behind: Vec<_> = behind.map(|peer| peer.name.as_str()).collect();
    if !behind.is_empty() {
        let what = format!("{} lag behind or are away", behind.join(", "));
        let advice = "do not stop another server before they are current";
        findings.push(Finding::new(Level::Warning, what, advice));
    }
}

fn about_settings(info: &StreamStatus, findings: &mut Vec<Finding>) {
    let config = &info.config;
    let stream = &config.name;
    let mut check = |holds: bool, good: &str, level, what: String, advice: &str| {
        findings.push(if holds {
            Finding::good(good)
        } else {
            Finding::new(level, what, advice)
        });
    };
    check(
        config.storage == "file",
        "values are stored in files",
        Level::Problem,
        format!("values are stored in {}", config.storage),
        "create the bucket with file storage: a restart of its servers loses all",
    );
    let history = config.max_msgs_per_subject;
    check(
        !(0..2).contains(&history),
        "more than one version of each value is kept",
        Level::Problem,
        format!("{history} version of each value is kept"),
        "set max_msgs_per_subject to 2 or more: servers have lost values while they removed the only older one",
    );
    check(
        !config.allow_direct,
        "reads are answered by the leader of the stream",
        Level::Warning,
        format!("{stream} allows direct reads"),
        "set allow_direct to false: other tools may be answered with old values",
    );
    check(
        config.deny_delete,
        "messages cannot be deleted one by one",
        Level::Warning,
        format!("{stream} allows the deletion of messages"),
        "set deny_delete when you create the bucket anew",
    );
}

/// A release as two numbers; 0.0 if it cannot be read.
fn release(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(str::parse);
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
    (part(), part())
}

fn about_release(version: &str, info: &StreamStatus, findings: &mut Vec<Finding>) {
    findings.push(match release(version) {
        (major, minor) if (major, minor) < (2, 11) && info.config.num_replicas > 1 => {
            Finding::new(
                Level::Warning,
                format!("the server is of release {version}"),
                "use 2.12 or later: before 2.11 the changes of a replicated bucket have to go one after the other, which is slow",
            )
        }
        (major, minor) if (major, minor) < (2, 12) => Finding::new(
            Level::Warning,
            format!("the server is of release {version}"),
            "use 2.12 or later: earlier releases have known errors in what survives a crash",
        ),
        _ => Finding::good(format!("the server is of release {version}")),
    });
}

async fn about_syncing(
    version: &str,
    monitors: &[String],
    patience: Duration,
    findings: &mut Vec<Finding>,
) {
    if release(version) < (2, 10) {
        findings.push(Finding::new(
            Level::Problem,
            format!("release {version} acknowledges what it has not synced to disk"),
            "use a later release with `sync_interval: always`: a power failure loses up to two minutes",
        ));
        return;
    }
    if monitors.is_empty() {
        findings.push(Finding::new(
            Level::Unknown,
            "a connection does not show whether servers sync before they acknowledge",
            "check by hand that each has `sync_interval: always` in its `jetstream` block, or give their monitoring addresses",
        ));
    }
    for monitor in monitors {
        findings.push(match look(monitor, patience).await {
            Err(reason) => Finding::new(
                Level::Unknown,
                format!("{monitor} does not say how it syncs: {reason}"),
                "check by hand that it has `sync_interval: always` in its `jetstream` block",
            ),
            Ok(config) if config["sync_always"] == true => {
                Finding::good(format!("{monitor} syncs before it acknowledges"))
            }
            Ok(_) => Finding::new(
                Level::Problem,
                format!("{monitor} acknowledges what it has not synced to disk"),
                "set `sync_interval: always` in its `jetstream` block: a power failure loses up to two minutes",
            ),
        });
    }
}

/// Reads the configuration of JetStream from a monitoring address.
async fn look(monitor: &str, patience: Duration) -> Result<Value, String> {
    let address = monitor
        .strip_prefix("http://")
        .ok_or("it is no http:// address")?;
    let address = address.trim_end_matches('/');
    let asked = timeout(patience, async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /varz HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = asked.await.map_err(|_| "it is silent".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
    let varz: Value = body
        .and_then(|body| serde_json::from_str(body).ok())
        .ok_or("it is not monitored")?;
    match varz["jetstream"]["config"].clone() {
        Value::Null => Err("it has no JetStream".to_owned()),
        config => Ok(config),
    }
}
