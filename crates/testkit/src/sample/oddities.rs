//! What else SQLite allows.

use super::{Sample, cents, int, name, or_null, text};
use crate::{dice::Dice, value::Value};

pub(super) fn build(dice: &mut Dice) -> Sample {
    let mut sample = Sample::new("oddities", SCHEMA);
    sample.fill("\"group\"", 12, |id| {
        vec![int(id * 3), text(name(id)), int(id % 2)]
    });
    sample.fill("Tag", 9, |id| {
        vec![
            text(["red", "Green", "BLUE"][id as usize % 3].to_owned() + &id.to_string()),
            int(id),
        ]
    });
    sample.fill("measure", 60, |id| {
        vec![
            text(format!("s{}", id % 7)),
            int(id),
            Value::Real(dice.between(-800..=800) as f64 / 8.0),
        ]
    });
    for id in 1..=40 {
        let price = or_null(10, cents(dice.between(1..=9_999)), dice);
        let quantity = dice.between(0..=9);
        let state = *dice.pick(&["open", "Open", "closed"]);
        sample.rows.push(format!(
            "INSERT INTO item (id, price, qty, state) VALUES ({id}, {}, {quantity}, '{state}')",
            price.literal()
        ));
    }
    sample.fill("tree", 31, |id| {
        let parent = if id == 1 { Value::Null } else { int(id / 2) };
        vec![int(id), parent, text(format!("node {id}"))]
    });
    sample.fill("\"say \"\"hi\"\"\"", 10, |id| {
        vec![text(format!("größe {id}")), int(id), text("it's")]
    });
    sample.fill("log", 30, |id| {
        vec![
            text(format!("line {}", id % 12)),
            or_null(20, int(id), dice),
        ]
    });
    sample.fill("strictly", 15, |id| {
        let any = match id % 4 {
            0 => int(id),
            1 => Value::Real(id as f64 / 2.0),
            2 => text(id.to_string()),
            _ => Value::Blob(vec![id as u8]),
        };
        vec![int(id), text(name(id)), any]
    });
    sample.fill("flexible", 16, |id| {
        vec![
            int(id),
            or_null(30, text(format!("u{id}")), dice),
            int(id % 3),
        ]
    });
    sample
        .triggers
        .extend(TRIGGERS.iter().map(|&sql| sql.to_owned()));
    for sql in QUERIES {
        sample.ask(sql);
    }
    for sql in ORDERED {
        sample.ask_ordered(sql);
    }
    sample
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE \"group\" (\"order\" INTEGER PRIMARY KEY AUTOINCREMENT, \"select\" TEXT, \"from\" BOOLEAN)",
    "CREATE TABLE Tag (name TEXT COLLATE NOCASE PRIMARY KEY, weight) WITHOUT ROWID",
    "CREATE TABLE measure (series TEXT NOT NULL, at INTEGER NOT NULL, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID",
    "CREATE TABLE item (id INTEGER PRIMARY KEY, price DECIMAL(10,2), qty INT DEFAULT 1 CHECK (qty >= 0), \
     total AS (price * qty) STORED, label TEXT GENERATED ALWAYS AS ('item-' || id) VIRTUAL, state TEXT COLLATE NOCASE DEFAULT 'open')",
    "CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree (id) ON DELETE CASCADE, label TEXT)",
    "CREATE TABLE \"say \"\"hi\"\"\" (\"größe 📏\" TEXT PRIMARY KEY, \"a.b\" INT, [it's] TEXT)",
    "CREATE TABLE log (line, \"number\" INTEGER)",
    "CREATE TABLE strictly (id INT PRIMARY KEY, name TEXT NOT NULL, any ANY) STRICT",
    "CREATE TABLE flexible (id INTEGER PRIMARY KEY, code TEXT UNIQUE, kind INTEGER)",
    "CREATE TABLE void (id INTEGER PRIMARY KEY, value TEXT)",
    "CREATE INDEX item_open ON item (price) WHERE state = 'open'",
    "CREATE INDEX tag_lower ON Tag (lower(name), weight DESC)",
    "CREATE UNIQUE INDEX measure_unique ON measure (series, at, value)",
    "CREATE INDEX \"odd index\" ON \"say \"\"hi\"\"\" (\"a.b\" COLLATE RTRIM)",
    "CREATE VIEW \"open items\" (number, worth) AS SELECT id, total FROM item WHERE state = 'OPEN'",
    "CREATE VIEW leaves AS SELECT * FROM tree t WHERE NOT EXISTS (SELECT 1 FROM tree c WHERE c.parent = t.id)",
];

const TRIGGERS: &[&str] = &[
    "CREATE TRIGGER item_never_free BEFORE UPDATE OF price ON item WHEN new.price = 0 BEGIN SELECT RAISE(ABORT, 'not free'); END",
    "CREATE TRIGGER \"open items insert\" INSTEAD OF INSERT ON \"open items\" BEGIN \
     INSERT INTO item (id, price, qty) VALUES (new.number, new.worth, 1); END",
];

const QUERIES: &[&str] = &[
    "SELECT * FROM \"group\" WHERE \"order\" = 9",
    "SELECT * FROM Tag WHERE name = 'RED3'",
    "SELECT * FROM Tag WHERE name IN ('blue5', 'GREEN1', 'x')",
    "SELECT * FROM measure WHERE series = 's3' AND at = 10",
    "SELECT series, count(*), min(value), max(value), sum(value) FROM measure GROUP BY series",
    "SELECT * FROM item WHERE label = 'item-7'",
    "SELECT sum(total), count(total), total(qty) FROM item WHERE qty > 2",
    "SELECT number, worth FROM \"open items\"",
    "SELECT * FROM leaves",
    "WITH RECURSIVE up(id) AS (SELECT 29 UNION SELECT parent FROM tree JOIN up USING (id) WHERE parent IS NOT NULL) SELECT * FROM up",
    "SELECT \"größe 📏\", [it's], \"a.b\" FROM \"say \"\"hi\"\"\" WHERE \"a.b\" IN (2, 3)",
    "SELECT line, count(*) FROM log GROUP BY line HAVING count(\"number\") > 1",
    "SELECT id, any, typeof(any) FROM strictly WHERE any > 3",
    "SELECT kind, count(code), count(*) FROM flexible GROUP BY kind",
    "SELECT count(*), max(value) FROM void",
    "SELECT * FROM void NATURAL JOIN item",
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "SELECT name, type, pk FROM pragma_table_info('measure')",
    "SELECT \"no such column\" || id FROM strictly WHERE id = 3",
];

const ORDERED: &[&str] = &[
    "SELECT state, count(*) FROM item GROUP BY state COLLATE BINARY ORDER BY state COLLATE BINARY",
    "SELECT series, at, value, avg(value) OVER (PARTITION BY series ORDER BY at ROWS 2 PRECEDING) FROM measure ORDER BY 1, 2",
    "SELECT a.id, b.label FROM tree a LEFT JOIN tree b ON b.parent = a.id ORDER BY a.id, b.id",
    "SELECT name FROM Tag ORDER BY name DESC",
    "SELECT line, \"number\" FROM log ORDER BY \"number\" NULLS LAST, line LIMIT 9",
];
