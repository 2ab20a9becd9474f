// What programs do with @libsql/client: statements, batches, transactions, scripts.

import assert from "node:assert/strict";
import { createClient } from "@libsql/client";

const [url, other] = process.argv.slice(2);
const authToken = process.env.TOKEN;
const client = createClient({ url, authToken });
const elsewhere = createClient({ url: `${other}/db/main/`, authToken });

async function fails(code, run) {
  await assert.rejects(run, (error) => {
    assert.equal(error.code, code, `${error}`);
    return true;
  });
}

await client.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, photo BLOB)");
await client.execute("CREATE TABLE posts(user INTEGER, id INTEGER, text TEXT, PRIMARY KEY (user, id)) /* shardwright: shard_key=user colocate_with=users */");

// Numbers come as REAL, and lead to the same shards as integers.
for (let id = 1; id <= 20; id += 1) {
  const sql = "INSERT INTO users VALUES (?, ?, ?)";
  const inserted = await client.execute({ sql, args: [id, `user ${id}`, new Uint8Array([id, 0, 255])] });
  assert.equal(inserted.rowsAffected, 1);
  assert.equal(inserted.lastInsertRowid, BigInt(id));
}
for (let id = 1; id <= 20; id += 1) {
  const sql = "SELECT name, photo FROM users WHERE id = :id";
  const found = await elsewhere.execute({ sql, args: { id: id % 2 ? id : BigInt(id) } });
  assert.equal(found.rows.length, 1, `user ${id}`);
  assert.equal(found.rows[0].name, `user ${id}`);
  assert.deepEqual([...new Uint8Array(found.rows[0].photo)], [id, 0, 255]);
}
const counted = await elsewhere.execute("SELECT count(*) AS n, max(id) FROM users");
assert.equal(counted.rows[0].n, 20);
assert.deepEqual(counted.columns, ["n", "max(id)"]);

await fails("SQLITE_CONSTRAINT_PRIMARYKEY", () => client.execute("INSERT INTO users VALUES (7, 'again', NULL)"));
await fails("SQLITE_CONSTRAINT_NOTNULL", () => client.execute("INSERT INTO users VALUES (77, NULL, NULL)"));
await fails("SQLITE_ERROR", () => client.execute("SELECT * FROM nowhere"));

// A batch is one transaction.
const both = await client.batch([
  { sql: "INSERT INTO posts(id, user, text) VALUES (?, ?, ?)", args: [1, 7, "first"] },
  { sql: "UPDATE users SET name = ? WHERE id = ?", args: ["seven", 7] },
  "SELECT name, text FROM users JOIN posts ON posts.user = users.id WHERE users.id = 7",
], "write");
assert.deepEqual(both.map((result) => result.rowsAffected), [1, 1, 0]);
assert.deepEqual({ ...both[2].rows[0] }, { name: "seven", text: "first" });
await fails("SQLITE_CONSTRAINT_PRIMARYKEY", () => client.batch([
  { sql: "UPDATE users SET name = 'nobody' WHERE id = ?", args: [7] },
  { sql: "INSERT INTO users VALUES (?, 'again', NULL)", args: [7] },
], "write"));
const kept = await elsewhere.execute("SELECT name FROM users WHERE id = 7");
assert.equal(kept.rows[0].name, "seven");
const reads = await client.batch(["SELECT count(*) AS n FROM users", "SELECT count(*) AS n FROM posts"], "read");
assert.deepEqual(reads.map((result) => result.rows[0].n), [20, 1]);

// So is what goes on from request to request.
const transaction = await client.transaction("write");
const returned = await transaction.execute({ sql: "INSERT INTO posts(id, user, text) VALUES (?, ?, ?) RETURNING id", args: [2, 7, "second"] });
assert.equal(returned.rows[0].id, 2);
const seen = await transaction.execute("SELECT count(*) AS n FROM posts WHERE user = 7");
assert.equal(seen.rows[0].n, 2);
const outside = await elsewhere.execute("SELECT count(*) AS n FROM posts");
assert.equal(outside.rows[0].n, 1);
await transaction.commit();
const committed = await elsewhere.execute("SELECT count(*) AS n FROM posts");
assert.equal(committed.rows[0].n, 2);

const undone = await client.transaction("write");
await undone.execute("DELETE FROM posts WHERE user = 7");
await undone.rollback();
const left = await elsewhere.execute("SELECT count(*) AS n FROM posts");
assert.equal(left.rows[0].n, 2);

await client.executeMultiple(`
  CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT);
  BEGIN; INSERT INTO notes VALUES (1, 'a;b'); COMMIT;
  -- the end
`);
assert.equal((await client.execute("SELECT text FROM notes WHERE id = 1")).rows[0].text, "a;b");

// A migration is one change.
await client.migrate(["CREATE TABLE tags(id INTEGER PRIMARY KEY)", "ALTER TABLE tags ADD COLUMN name TEXT"]);
await client.execute("INSERT INTO tags VALUES (1, 'new')");
await fails("SQLITE_ERROR", () => client.migrate(["DROP TABLE tags", "CREATE TABLE tags(id INTEGER PRIMARY KEY"]));
assert.equal((await elsewhere.execute("SELECT name FROM tags")).rows[0].name, "new");

client.close();
elsewhere.close();
console.log("done");
