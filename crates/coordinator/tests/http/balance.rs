//! The balance over HTTP: of shards that nobody keeps.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shardwright_coordinator::{
    balance::{Asked, Automatic, NodeLoad, RebalanceImpact, Settings as BalanceSettings},
    core::{Notice, Settings as CoreSettings, View},
    elastic::{BalancePolicy, MergeCriteria, Settings as Pace, SplitCriteria},
    http::Settings,
};

use crate::{
    moves,
    openapi::call_as,
    operations::Scene,
    schema::Document,
    setting::{Server, TIMEOUT, leader, name, two, wait},
};

const PATH: &str = "/api/v1/rebalance";

/// What the leader decides by itself, and what becomes of it.
pub(crate) fn notices_of_balance() -> Vec<Notice> {
    let (step, plan) = ("split shard-0".to_owned(), "plan-1".to_owned());
    vec![
        Notice::RebalanceDecided {
            step: step.clone(),
            reason: "cpu is 0.90, above 0.80".to_owned(),
            dry_run: true,
        },
        Notice::RebalanceBegun {
            plan: plan.clone(),
            moves: 2,
            automatic: true,
        },
        Notice::RebalanceRefused {
            step,
            error: "it has too few keys".to_owned(),
        },
        Notice::RebalanceEnded {
            plan,
            done: 1,
            undone: 1,
        },
        Notice::Automatic { mode: "on" },
    ]
}

/// The revision that plans are bound to, as the refusal of one that is bound to another one says it.
async fn revision(server: &Server) -> u64 {
    let stale = server
        .post(&format!("{PATH}/apply"), plan_at(1_000_000))
        .await;
    let stale = stale.refused(409, "STALE_PLAN");
    let message = stale["message"].as_str().expect("a text");
    let now = message.rsplit_once("now r").expect("it says what is").1;
    let digits: String = now.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// A plan that moves the shard from the node that has it, bound to a revision.
fn plan_at(revision: u64) -> Value {
    let moved = json!({
        "keyspace": "main", "shard": "shard-0", "kind": "move", "from": "n1", "to": "n2", "reason": "overloaded",
    });
    json!({"plan": {"revision": revision, "moves": [moved], "impact": "and more that does not count"}})
}

async fn state(server: &Server) -> Value {
    server.get(PATH).await.ok()["execution"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_carried_out_takes_up_what_has_begun_and_is_refused_when_stale() {
    let server = moves::leader().await;
    let apply = format!("{PATH}/apply");
    let revision = revision(&server).await;
    let mut dry = plan_at(revision);
    dry["dry_run"] = true.into();
    let considered = server.post(&apply, dry).await.ok();
    assert_eq!(considered["moves"].as_array().map(Vec::len), Some(1));
    assert_eq!(considered["impact"]["copies"], 1);
    assert_eq!(state(&server).await, Value::Null, "nothing has begun");

    let nothing = json!({"plan": {"revision": 1_000_000, "moves": []}});
    let nothing = server.post(&apply, nothing).await;
    assert_eq!(nothing.status, 202, "it depends on no shard: {nothing:?}");
    assert_eq!(nothing.json()["changes"], 0);

    let begun = server.post(&apply, plan_at(revision)).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(begun.json()["changes"], 2, "the copy, and its role");
    // The same move was begun by somebody else before, and is held up: it is waited for.
    let running = state(&server).await;
    assert_eq!(
        (&running["state"], &running["running"]),
        (&json!("running"), &json!(1))
    );
    let second = server.post(&apply, plan_at(revision)).await;
    assert_eq!(second.refused(409, "IN_PROGRESS")["retryable"], true);
    // What waits is given up once the shard is to stay, and what runs goes on.
    let pin = json!({"shard": "shard-0", "pinned": true});
    server.post(&format!("{PATH}/pins"), pin).await.ok();
    wait("only the move to be left", async || {
        let state = state(&server).await;
        (&state["running"], &state["given_up"]) == (&json!(1), &json!(1))
    })
    .await;
    server
        .post("/api/v1/operations/move-1/cancel", json!({}))
        .await
        .ok();
    wait("the end", async || state(&server).await["state"] == "ended").await;
    let ended = state(&server).await;
    assert_eq!((&ended["given_up"], &ended["done"]), (&json!(2), &json!(0)));
    assert_eq!(ended["left"][0]["why"], "refused");
    let pinned = server.post(&apply, plan_at(revision)).await;
    assert_eq!(pinned.json()["changes"], 0, "{pinned:?}");
    let cancel = server.post(&format!("{PATH}/cancel"), json!({})).await;
    cancel.refused(409, "NOT_IN_PROGRESS");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_one_writes_a_moment_too_late_is_taken_up() {
    let (server, other) = moves::two().await;
    let plan = plan_at(revision(&server).await)["plan"].clone();
    let moves = serde_json::from_value(plan["moves"].clone()).expect("moves");
    let at = serde_json::from_value(plan["revision"].clone()).expect("a revision");
    let view = server.handle().view();
    let late = other.handle().balance().expect("it balances");
    let nothing = [].into();
    let begun = late.apply(&view, &nothing, (at, moves), Asked::ByHand);
    begun.await.expect("it is as it was").expect("a move");
    late.cancel().await.expect("it is under way");
    wait("what waits to be given up", async || {
        state(&server).await["given_up"] == 1
    })
    .await;
    server
        .post("/api/v1/operations/move-1/cancel", json!({}))
        .await
        .ok();
    wait("the end", async || state(&server).await["state"] == "ended").await;
    other.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_does_by_itself_is_kept_in_the_registry() {
    let (first, second) = two().await;
    assert_eq!(first.get(PATH).await.ok()["automatic"], "off");
    // Whoever is asked passes it on.
    let on = second
        .post(&format!("{PATH}/auto"), json!({"mode": "dry-run"}))
        .await;
    assert_eq!(on.ok()["automatic"], "dry-run");
    first.stop().await;
    second.handle().view_when(|view| view.is_leading).await;
    assert_eq!(second.get(PATH).await.ok()["automatic"], "dry-run");
    let wrong = second
        .post(&format!("{PATH}/auto"), json!({"mode": "sometimes"}))
        .await;
    wrong.refused(400, "BAD_REQUEST");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_remembered_and_what_is_unknown_is_refused() {
    let server = moves::leader().await;
    let pins = format!("{PATH}/pins");
    let pin = |shard: &str, pinned: bool| json!({"shard": shard, "pinned": pinned});
    assert_eq!(
        server.post(&pins, pin("shard-0", true)).await.ok()["pins"],
        json!(["shard-0"])
    );
    assert_eq!(
        server.post(&pins, pin("shard-0", false)).await.ok()["pins"],
        json!([])
    );
    let unknown = server.post(&pins, pin("shard-9", true)).await;
    unknown.refused(404, "SHARD_NOT_FOUND");
    let plan = format!("{PATH}/plan");
    for (options, status, code) in [
        (json!({"weights": {"n9": 1}}), 404, "UNKNOWN_NODE"),
        (json!({"pins": ["shard-9"]}), 404, "SHARD_NOT_FOUND"),
        // Its nodes are down.
        (json!({}), 409, "NO_CAPACITY"),
        (json!({"quickly": true}), 400, "BAD_REQUEST"),
    ] {
        server.post(&plan, options).await.refused(status, code);
    }
    let both = json!({"plan": plan_at(1)["plan"], "options": {}});
    let both = server.post(&format!("{PATH}/apply"), both).await;
    both.refused(400, "BAD_REQUEST");
    server.stop().await;
}

/// Splits what has more than a few bytes, once.
fn eager() -> BalanceSettings {
    let ms = Duration::from_millis;
    BalanceSettings {
        interval: ms(30),
        shards: BalancePolicy {
            split: SplitCriteria {
                storage_threshold: 10,
                min_keys: 10,
                ..SplitCriteria::default()
            },
            merge: MergeCriteria {
                storage_threshold: 5,
                ..MergeCriteria::default()
            },
            lasting: ms(60),
            cool_down: Duration::from_secs(3_600),
            ..BalancePolicy::default()
        },
        ..BalanceSettings::default()
    }
}

/// What was decided on, and done or only told.
async fn decided(server: &Server, dry_run: bool) -> Vec<String> {
    let events = server.get("/api/v1/events?since=0").await.ok();
    let events = events.as_array().expect("a list").iter();
    let decided = events.filter(|event| event["event"] == "rebalance-decided");
    let decided = decided.filter(|event| event["dry_run"] == dry_run);
    let steps = decided.map(|event| event["step"].as_str().expect("a text").to_owned());
    steps.collect()
}

async fn serving(server: &Server) -> usize {
    let list = server.get("/api/v1/shards?keyspace=main").await.ok();
    let list = list.as_array().expect("a list").iter();
    list.filter(|shard| shard["state"] == "serving").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leads_splits_what_is_hot_once_it_may() {
    let scene = Scene::new().await;
    let start = async |number| {
        let core = CoreSettings {
            operations: Pace::local(),
            balance: eager(),
            ..Server::core(number, TIMEOUT)
        };
        let server = scene.server_with(core).await;
        server.handle().view_when(|view| view.is_leading).await;
        server
    };
    let first = start(1).await;
    let auto = format!("{PATH}/auto");
    first.post(&auto, json!({"mode": "dry-run"})).await.ok();
    wait("all that would be done", async || {
        decided(&first, true).await.len() == 4
    })
    .await;
    assert_eq!(serving(&first).await, 4, "it is only told");
    first.stop().await;

    // The next one is told by the registry.
    let second = start(2).await;
    wait("what it would do", async || {
        decided(&second, true).await.len() == 4
    })
    .await;
    second.post(&auto, json!({"mode": "on"})).await.ok();
    wait("halves of all shards", async || serving(&second).await == 8).await;
    let mut steps = decided(&second, false).await;
    steps.sort_unstable();
    let all = ["shard-0", "shard-1", "shard-2", "shard-3"].map(|shard| format!("split {shard}"));
    assert_eq!(steps, all);
    second.post(&auto, json!({"mode": "off"})).await.ok();
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_yet_to_hear_of_a_node_decides_nothing_by_itself() {
    let scene = Scene::new().await;
    scene.add_silent_node("n1").await;
    let core = CoreSettings {
        operations: Pace::local(),
        balance: BalanceSettings {
            automatic: Automatic::On,
            ..eager()
        },
        ..Server::core(1, TIMEOUT)
    };
    let server = scene.server_with(core).await;
    server.handle().view_when(|view| view.is_leading).await;
    // It is waited for until it counts as down.
    let state = async || server.get("/api/v1/nodes").await.ok()[0]["state"].clone();
    wait("the first decision", async || {
        let decided = decided(&server, false).await;
        assert!(decided.is_empty() || state().await == "down", "{decided:?}");
        !decided.is_empty()
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_nodes_that_are_yet_to_be_heard_is_not_begun() {
    let scene = Scene::new().await;
    scene.add_silent_node("n1").await;
    let core = Server::core(1, Duration::from_secs(3_600));
    let server = scene.server_with(core).await;
    let knows = |view: &View| view.is_leading && !view.unheard.is_empty();
    server.handle().view_when(knows).await;
    let plan = server.post(&format!("{PATH}/plan"), json!({})).await.ok();
    assert_eq!(plan["unheard"], json!(["n1"]));
    let apply = server.post(&format!("{PATH}/apply"), json!({})).await;
    assert_eq!(apply.refused(503, "NOT_TAKEN_UP")["retryable"], true);
    server.stop().await;
}

/// Calls all that is described of the balance, as far as it takes shards.
pub(crate) async fn call_about_balance(document: &Document) {
    let server = leader(Settings::default()).await;
    let about = async |server: &Server, method: Method, what: &str, body: &Value| {
        let path = format!("{PATH}{what}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        call_as(&path, document, server, method, &path, &body).await
    };
    about(&server, Method::GET, "", &Value::Null).await.ok();
    let options = json!({
        "by": "count", "weights": {}, "pins": [], "apart": [], "spread": "nodes", "moves_max": 1, "bytes_max": 1,
    });
    about(&server, Method::POST, "/plan", &options).await.ok();
    let dry = json!({"options": options, "dry_run": true});
    about(&server, Method::POST, "/apply", &dry).await.ok();
    let apply = json!({"options": options});
    let applied = about(&server, Method::POST, "/apply", &apply).await;
    assert_eq!(applied.status, 202, "{applied:?}");
    for mode in ["on", "off"] {
        about(&server, Method::POST, "/auto", &json!({"mode": mode}))
            .await
            .ok();
    }
    server.stop().await;

    let server = moves::leader().await;
    for pinned in [true, false] {
        let pin = json!({"shard": "shard-0", "pinned": pinned});
        about(&server, Method::POST, "/pins", &pin).await.ok();
    }
    let revision = revision(&server).await;
    let mut plan = plan_at(revision);
    about(&server, Method::POST, "/apply", &plan).await;
    about(&server, Method::GET, "", &Value::Null).await.ok();
    about(&server, Method::POST, "/cancel", &json!({}))
        .await
        .ok();
    server
        .post("/api/v1/operations/move-1/cancel", json!({}))
        .await
        .ok();
    wait("the end", async || state(&server).await["state"] == "ended").await;
    about(&server, Method::GET, "", &Value::Null).await.ok();
    plan["dry_run"] = true.into();
    document.check("ApplyRebalance", &plan);
    let moved =
        json!({"kind": "migrate", "shards": ["shard-0"], "to": "n1", "pin": false, "force": true});
    document.check("NewOperation", &moved);
    document.check(
        "Move",
        &json!({"shard": "shard-0", "to": "n1", "pin": false}),
    );
    server.stop().await;
    check_what_is_rare(document);
}

fn check_what_is_rare(document: &Document) {
    let impact = RebalanceImpact {
        nodes: vec![NodeLoad {
            node: name("n1"),
            percent_before: 150,
            percent_after: 100,
            gets: 0,
            loses: 1,
            bytes_in: 0,
        }],
        ..RebalanceImpact::default()
    };
    let stuck = json!([{"keyspace": "main", "shard": "shard-0", "node": "n1"}]);
    let plan = json!({
        "revision": 7, "moves": [], "under_replicated": [], "crowded": [], "stuck": stuck, "together": stuck, "moving": 0,
        "refused": {"code": "UNKNOWN_NODE", "node": "n1"}, "deferred": 1, "impact": impact, "unheard": ["n1"],
    });
    document.check("RebalancePlan", &plan);
    let promote = json!({"shard": "shard-0", "node": "n1", "pin": false});
    document.check("Promote", &promote);
}
