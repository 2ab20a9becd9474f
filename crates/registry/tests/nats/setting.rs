//! Buckets and servers as they are set up: who is let in, what is refused, and what the doctor says.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use shardwright_registry::{Key, Level, NatsError, NatsTls, Store};
use shardwright_testkit::nats::{current, servers};

use super::*;

/// How long replicas may take to be current on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The findings that are not good, as text.
fn findings(runtime: &Runtime, store: &NatsStore, monitors: &[String]) -> Vec<String> {
    runtime.block_on(bad_findings(store, monitors))
}

async fn bad_findings(store: &NatsStore, monitors: &[String]) -> Vec<String> {
    let found = store.diagnose(monitors).await;
    let found = found.expect("the server answers");
    let bad = found.iter().filter(|each| each.level != Level::Good);
    bad.map(|each| format!("{}: {}", each.level, each.what))
        .collect()
}

#[test]
fn the_doctor_sees_copies_syncing_and_releases() {
    let runtime = runtime();
    for server in servers() {
        let cluster = NatsCluster::start(&server, 1);
        let store = runtime.block_on(open(&options(&cluster)));
        let found = findings(&runtime, &store, &[cluster.monitor_url(0)]);
        let monitor = cluster.monitor_url(0);
        assert_eq!(found[0], "warning: one server keeps the bucket");
        let unsynced = if server.is_at_least(2, 10) {
            format!("problem: {monitor} acknowledges what it has not synced to disk")
        } else {
            assert_eq!(
                found[1],
                format!("warning: the server is of release {}", server.version)
            );
            format!(
                "problem: release {} acknowledges what it has not synced to disk",
                server.version
            )
        };
        assert_eq!(found.last(), Some(&unsynced), "{found:?}");
    }
}

#[test]
fn three_current_servers_that_sync_are_in_order() {
    let Some(server) = current() else { return };
    let cluster = NatsCluster::start_with(&server, 3, "", "sync_interval: always");
    let runtime = runtime();
    let store = runtime.block_on(open(&options(&cluster)));
    let monitors: Vec<_> = (0..3).map(|member| cluster.monitor_url(member)).collect();
    // A replica that is catching up is worth a finding, and on a busy machine one may be for a while.
    let in_order = async {
        while !bad_findings(&store, &monitors).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, in_order).await });
    assert!(
        waited.is_ok(),
        "{:?}",
        findings(&runtime, &store, &monitors)
    );
    let unseen = findings(&runtime, &store, &[]);
    assert!(
        unseen[0].starts_with("unknown: a connection does not show"),
        "{unseen:?}"
    );
    let silent = findings(&runtime, &store, &["http://127.0.0.1:1".to_owned()]);
    assert!(
        silent[0].starts_with("unknown: http://127.0.0.1:1"),
        "{silent:?}"
    );
}

#[test]
fn a_user_is_named_in_the_address_and_refused_without() {
    let Some(server) = current() else { return };
    for (lines, login) in [
        (
            "authorization { user: ann, password: \"p@ss\" }",
            "ann:p%40ss@",
        ),
        ("authorization { token: s3cret }", "s3cret@"),
    ] {
        let cluster = NatsCluster::start_with(&server, 1, lines, "");
        let runtime = runtime();
        let mut options = options(&cluster);
        let refused = runtime.block_on(NatsStore::open(options.clone()));
        let refused = refused.expect_err("nobody was named");
        assert!(matches!(refused, NatsError::Connection(_)), "{refused}");
        let connection = &mut options.connection;
        connection.servers = connection
            .servers
            .replace("nats://", &format!("nats://{login}"));
        runtime.block_on(async {
            let store = open(&options).await;
            let key = Key::new("a").expect("a key");
            store.create(&key, b"one").await.expect("let in");
        });
    }
}

#[test]
fn a_server_that_is_away_or_has_no_jetstream_is_an_error_that_says_so() {
    let runtime = runtime();
    let away = runtime.block_on(NatsStore::open(NatsOptions::new(
        "nats://s3cret@127.0.0.1:1",
    )));
    let message = away.expect_err("nobody listens").to_string();
    assert_eq!(
        message,
        "no server of nats://127.0.0.1:1 was reached: check that it runs, and the address and the user"
    );
}

#[test]
fn a_second_process_finds_the_bucket_as_it_is() {
    let Some(server) = current() else { return };
    let cluster = NatsCluster::start(&server, 1);
    let runtime = runtime();
    runtime.block_on(async {
        let first = options(&cluster);
        let key = Key::new("node/eu.west").expect("a key");
        let revision = open(&first).await.create(&key, b"one").await;
        let other = NatsOptions {
            history: 9,
            ..first
        };
        let found = open(&other).await.get(&key).await.expect("readable");
        let found = found.expect("the first created it");
        assert_eq!(
            (found.value, found.revision),
            (b"one".to_vec(), revision.expect("new"))
        );
    });
}

#[test]
fn a_bucket_that_is_only_to_be_found_is_not_created() {
    let Some(server) = current() else { return };
    let cluster = NatsCluster::start(&server, 1);
    let runtime = runtime();
    runtime.block_on(async {
        let options = options(&cluster);
        for _ in 0..2 {
            let absent = NatsStore::open_existing(options.clone()).await;
            let absent = absent.expect_err("nobody created it");
            assert!(matches!(absent, NatsError::NoBucket { .. }), "{absent}");
        }
        let created = open(&options).await;
        let key = Key::new("a").expect("a key");
        created.create(&key, b"one").await.expect("a new key");
        let found = NatsStore::open_existing(options).await;
        let found = found.expect("it was created").get(&key).await;
        assert!(found.expect("readable").is_some());
    });
}

/// Writes an authority, and certificates of a server and of a client that it signed. Returns the paths of all, keys after theirs.
fn certificates(directory: &Path) -> [PathBuf; 5] {
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let signed = |name: &str| {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (params, key) = (CertificateParams::new(names).expect("names"), key());
        let certificate = params.signed_by(&key, &authority).expect("signed");
        let certificate = write(&format!("{name}.pem"), certificate.pem());
        [
            certificate,
            write(&format!("{name}-key.pem"), key.serialize_pem()),
        ]
    };
    let root = write("ca.pem", authority.pem());
    let ([server, server_key], [client, client_key]) = (signed("server"), signed("client"));
    [root, server, server_key, client, client_key]
}

#[test]
fn an_encrypted_connection_shows_and_checks_certificates() {
    let Some(server) = current() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let [root, own, own_key, client, client_key] = certificates(directory.path());
    let lines = format!(
        "tls {{ cert_file: {own:?}, key_file: {own_key:?}, ca_file: {root:?}, verify: true }}"
    );
    let cluster = NatsCluster::start_with(&server, 1, &lines, "");
    let runtime = runtime();
    let plain = options(&cluster);
    let tls = NatsTls {
        required: true,
        root_certificates: Some(root),
        ..NatsTls::default()
    };
    let mut anonymous = plain.clone();
    anonymous.connection.tls = tls.clone();
    let mut named = plain.clone();
    named.connection.tls = NatsTls {
        client_certificate: Some((client, client_key)),
        ..tls
    };
    for refused in [plain, anonymous] {
        let refused = runtime.block_on(NatsStore::open(refused));
        let refused = refused.expect_err("the certificates are missing");
        assert!(matches!(refused, NatsError::Connection(_)), "{refused}");
    }
    runtime.block_on(async {
        let store = open(&named).await;
        let key = Key::new("a").expect("a key");
        store.create(&key, b"one").await.expect("let in");
    });
}
