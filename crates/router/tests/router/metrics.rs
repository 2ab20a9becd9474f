//! What is counted.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::*;

/// The counters with these names, as `name{labels} value`, in order.
fn counters(recorder: &DebuggingRecorder) -> Vec<String> {
    let all = recorder.snapshotter().snapshot().into_vec().into_iter();
    let mut lines: Vec<String> = all
        .filter_map(|(key, _, _, value)| {
            let DebugValue::Counter(count) = value else {
                return None;
            };
            let labels: Vec<String> = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            Some(format!(
                "{}{{{}}} {count}",
                key.key().name(),
                labels.join(",")
            ))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn calls_are_counted_by_shard_method_and_outcome() {
    let recorder = DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    ::metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let network = Network::new();
            let (caller, owner) = pair(&network);
            count(&owner, "count");
            for _ in 0..2 {
                caller
                    .call(&shard(0), "count", "")
                    .await
                    .expect("an answer");
            }
            caller
                .call(&shard(0), "absent", "")
                .await
                .expect_err("unknown");
            caller
                .call(&shard(9), "count", "")
                .await
                .expect_err("unknown");
        });
    });
    assert_eq!(
        counters(&recorder),
        [
            "shardwright_rpc_answers_total{shard=shard-0,method=count,outcome=ok} 2",
            "shardwright_rpc_answers_total{shard=unknown,method=unknown,outcome=refused} 1",
            "shardwright_rpc_requests_total{shard=none,method=count,outcome=SHARD_NOT_FOUND} 1",
            "shardwright_rpc_requests_total{shard=shard-0,method=absent,outcome=UNKNOWN_METHOD} 1",
            "shardwright_rpc_requests_total{shard=shard-0,method=count,outcome=ok} 2",
        ]
    );
}
