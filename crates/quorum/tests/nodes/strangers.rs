//! Who has no token, or speaks something else, is let in nowhere and disturbs nobody.

use std::time::Duration;

use shardwright_quorum::log::{Level, shard_log::Condition};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cluster::{Cluster, within};

/// Says something to a node, and waits until it closes the connection; returns what it answered.
async fn says(cluster: &Cluster, bytes: &[u8]) -> Vec<u8> {
    let running = cluster.node(1).running.as_ref().expect("it runs");
    let mut stream = TcpStream::connect(running.peers.address())
        .await
        .expect("a connection");
    stream.write_all(bytes).await.expect("it is sent");
    let mut answer = Vec::new();
    // A reset is an end too.
    let _end = within("the end of a connection", stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused() {
    let cluster = Cluster::with(3, |_, limits| limits.connect = Duration::from_millis(500)).await;
    cluster.lead(1, &[1, 2, 3]).await;
    let oversize = [&u32::MAX.to_le_bytes()[..], &[1], &[0; 64]].concat();
    let malformed = [&9_u32.to_le_bytes()[..], &[1], &[0xff; 8]].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &oversize,
        &malformed,
    ] {
        assert_eq!(says(&cluster, bytes).await, b"", "{bytes:?}");
    }
    // One that says nothing is not waited for.
    assert_eq!(says(&cluster, b"").await, b"");
    cluster.append(1, "all is well", Level::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_token_takes_no_part() {
    let mut cluster = Cluster::new(3).await;
    cluster.lead(1, &[1, 2, 3]).await;
    cluster.append(1, "before", Level::All).await;
    for token in [Some("another-horse-battery"), None] {
        cluster.stop(3).await;
        cluster.start_with(3, token).await;
        cluster
            .until(3, "it runs", |status| {
                status.condition == Condition::Running
            })
            .await;
        let appended = cluster.append(1, "without", Level::Quorum).await;
        let late = cluster.log(1).status().borrow().followers.clone();
        assert_eq!(late.len(), 2);
        assert!(cluster.status(3).last.lsn < appended.lsn);
    }
    cluster.stop(3).await;
    cluster.start(3).await;
    cluster.append(1, "after", Level::All).await;
}
