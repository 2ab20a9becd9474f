//! Statements that one node alone may run, while that node is killed again and again: changes of reference tables, values that are
//! unique over all shards, rowids that are drawn. And what gets in their way: children that refer to rows of a reference table.

use std::{collections::BTreeSet, env};

use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    errands::{Errand, Errands, Outcome},
};
use crate::processes::clock;

/// Says for how many seconds the node is killed again and again, for those who look for rare moments.
const SECONDS: &str = "SHARDWRIGHT_TEST_WRITER_SECONDS";

/// How often it is killed otherwise.
const KILLS: u32 = 3;

const NANOSECONDS: u64 = 1_000_000_000;

/// How many parents there may be.
const PARENTS: u64 = 6;

const SCHEMA: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS parents (name TEXT PRIMARY KEY) /* shardwright: reference */",
    "CREATE TABLE IF NOT EXISTS children (name TEXT PRIMARY KEY, parent TEXT NOT NULL REFERENCES parents(name))",
    "CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY) /* shardwright: reference */",
    "CREATE TABLE IF NOT EXISTS mails (name TEXT PRIMARY KEY, address TEXT UNIQUE)",
    "CREATE TABLE IF NOT EXISTS drawn (id INTEGER PRIMARY KEY, name TEXT)",
];

#[test]
fn the_node_of_the_catalogs_primary_is_killed_again_and_again() {
    let mut cluster = Cluster::on_sqlite();
    for sql in SCHEMA {
        cluster.answer(sql, "leased");
    }
    let mut errands = Errands::start(
        cluster.ports(),
        &[parents, children, children, mails, mails, marks, drawn],
    );
    let seconds = env::var(SECONDS).map(|text| text.parse::<u64>().expect("a number"));
    let end = seconds.map(|seconds| clock::now() + seconds * NANOSECONDS);
    let mut kills = 0;
    while end
        .as_ref()
        .map_or(kills < KILLS, |end| clock::now() < *end)
    {
        kills += 1;
        let node = cluster.node_of_catalog();
        cluster.during("sigkill of the writer's node", None, |cluster| {
            cluster.nodes[node].kill();
            cluster.wait_until_elsewhere(node);
            errands.wait_for_progress();
        });
        cluster.during("  it comes back", None, |cluster| {
            cluster.nodes[node].restart();
            cluster.wait_until_whole();
        });
        errands.wait_for_progress();
    }
    let done = errands.stop();
    cluster.answer(
        "CREATE TABLE IF NOT EXISTS afterwards (id INTEGER PRIMARY KEY)",
        "leased",
    );
    cluster.answer(
        "INSERT INTO parents VALUES ('afterwards') ON CONFLICT DO NOTHING",
        "leased",
    );
    assert_kept(&cluster, &done);
    assert_copies_are_equal(&cluster);
    cluster.finish();
}

/// Takes parents away, which it may where no child is in the way, and brings them back.
fn parents(errand: &mut Errand<'_>) {
    let name = format!("p{}", errand.turn % PARENTS);
    errand.ask("DELETE FROM parents WHERE name = ?1", json!([name]));
    errand.ask(
        "INSERT INTO parents VALUES (?1) ON CONFLICT DO NOTHING",
        json!([name]),
    );
}

/// Makes children, and keeps one of three.
fn children(errand: &mut Errand<'_>) {
    let name = errand.name();
    let parent = format!("p{}", errand.turn * 7 % PARENTS);
    let made = errand.ask(
        "INSERT INTO children VALUES (?1, ?2)",
        json!([name, parent]),
    );
    if made != Outcome::Done {
        return;
    }
    if errand.turn.is_multiple_of(3) {
        errand.keep("children", name);
    } else {
        errand.ask("DELETE FROM children WHERE name = ?1", json!([name]));
    }
}

/// Takes addresses that the other one of these wants too.
fn mails(errand: &mut Errand<'_>) {
    let name = errand.name();
    let address = format!("a{}", errand.turn);
    let made = errand.ask("INSERT INTO mails VALUES (?1, ?2)", json!([name, address]));
    if made == Outcome::Done {
        errand.keep("mails", name);
    }
}

fn marks(errand: &mut Errand<'_>) {
    let name = errand.name();
    let made = errand.ask(
        "INSERT INTO marks VALUES (?1) ON CONFLICT DO NOTHING",
        json!([name]),
    );
    if made == Outcome::Done {
        errand.keep("marks", name);
    }
}

fn drawn(errand: &mut Errand<'_>) {
    let name = errand.name();
    if errand.ask("INSERT INTO drawn(name) VALUES (?1)", json!([name])) == Outcome::Done {
        errand.keep("drawn", name);
    }
}

/// Fails unless what was acknowledged is there, and agrees with the constraints.
#[track_caller]
fn assert_kept(cluster: &Cluster, done: &[(&'static str, String)]) {
    for table in ["children", "mails", "marks", "drawn"] {
        let sql = format!("SELECT name FROM {table}");
        let found: BTreeSet<String> = texts(&cluster.answer(&sql, "leased")).collect();
        let kept = done.iter().filter(|(of, _)| *of == table);
        let lost: Vec<_> = kept.filter(|(_, name)| !found.contains(name)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(!found.is_empty(), "nothing was written to {table}");
    }
    for none in [
        "SELECT name FROM children WHERE parent NOT IN (SELECT name FROM parents)",
        "SELECT address FROM mails GROUP BY address HAVING count(*) > 1",
        "SELECT id FROM drawn GROUP BY id HAVING count(*) > 1",
        "SELECT name FROM drawn GROUP BY name HAVING count(*) > 1",
    ] {
        let found = cluster.answer(none, "leased");
        assert_eq!(found["rows"], json!([]), "{none}");
    }
}

/// Fails unless every shard has the same rows of the reference tables.
#[track_caller]
fn assert_copies_are_equal(cluster: &Cluster) {
    for table in ["parents", "marks"] {
        let sql = format!("SELECT name FROM {table} ORDER BY name");
        let whole = cluster.answer(&sql, "leased");
        let mut shards = BTreeSet::new();
        for key in 0..64 {
            let request = json!({"sql": sql, "key": format!("k{key}"), "table": "children"});
            let copy = cluster.answer_to(&request);
            assert_eq!(copy["rows"], whole["rows"], "{table} on {}", copy["shards"]);
            shards.insert(copy["shards"].to_string());
        }
        assert_eq!(shards.len(), 3, "all shards were asked: {shards:?}");
    }
}

fn texts(answer: &Value) -> impl Iterator<Item = String> {
    let rows = answer["rows"].as_array().expect("rows").iter();
    rows.map(|row| row[0].as_str().expect("a text").to_owned())
}
