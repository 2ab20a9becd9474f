// What programs do with Drizzle: migrations, RETURNING, relations, transactions, batches.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createClient } from "@libsql/client";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { migrate } from "drizzle-orm/libsql/migrator";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

const [url, other] = process.argv.slice(2);
const authToken = process.env.TOKEN;
const client = createClient({ url, authToken });
const db = drizzle(client);
const elsewhere = drizzle(createClient({ url: other, authToken }));

const authors = sqliteTable("authors", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  name: text("name").notNull(),
  active: integer("active", { mode: "boolean" }).default(true),
});
const books = sqliteTable("books", {
  id: integer("id").primaryKey(),
  author: integer("author").notNull(),
  title: text("title").notNull(),
});

// As drizzle-kit writes them.
const migrations = [
  ["0000_first", "CREATE TABLE `authors` (\n\t`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,\n\t`name` text NOT NULL\n);\n--> statement-breakpoint\nCREATE TABLE `books` (\n\t`id` integer PRIMARY KEY NOT NULL,\n\t`author` integer NOT NULL,\n\t`title` text NOT NULL\n);\n--> statement-breakpoint\nCREATE INDEX `by_author` ON `books` (`author`);"],
  ["0001_active", "ALTER TABLE `authors` ADD `active` integer DEFAULT true;"],
];
function write(count) {
  mkdirSync("drizzle/meta", { recursive: true });
  const entries = migrations.slice(0, count).map(([tag, text], idx) => {
    writeFileSync(`drizzle/${tag}.sql`, text);
    return { idx, version: "6", when: 1_700_000_000_000 + idx, tag, breakpoints: true };
  });
  writeFileSync("drizzle/meta/_journal.json", JSON.stringify({ version: "7", dialect: "sqlite", entries }));
}
const noted = async () => (await elsewhere.all(sql`SELECT count(*) AS n FROM __drizzle_migrations`))[0].n;
for (const count of [1, 2, 2]) {
  write(count);
  await migrate(db, { migrationsFolder: "drizzle" });
  assert.equal(await noted(), count);
}

const [ada] = await db.insert(authors).values({ name: "Ada" }).returning();
assert.deepEqual({ ...ada, id: 0 }, { id: 0, name: "Ada", active: true });
const [found] = await elsewhere.select().from(authors).where(eq(authors.id, ada.id));
assert.deepEqual(found, ada);

await db.transaction(async (tx) => {
  await tx.insert(books).values({ id: 1, author: ada.id, title: "Notes" });
  const [book] = await tx.select().from(books).where(eq(books.id, 1));
  assert.equal(book.title, "Notes");
  await tx.update(books).set({ title: "Notes on the Engine" }).where(eq(books.id, 1));
});
await assert.rejects(db.transaction(async (tx) => {
  await tx.delete(books).where(eq(books.id, 1));
  tx.rollback();
}));
const joined = await elsewhere.select({ name: authors.name, title: books.title })
  .from(books).innerJoin(authors, eq(authors.id, books.author)).all();
assert.deepEqual(joined, [{ name: "Ada", title: "Notes on the Engine" }]);

const [all, one] = await db.batch([
  db.select().from(authors),
  db.select().from(books).where(eq(books.id, 1)),
]);
assert.equal(all.length, 1);
assert.equal(one[0].author, ada.id);
const upserted = await db.insert(books).values({ id: 1, author: ada.id, title: "Again" })
  .onConflictDoUpdate({ target: books.id, set: { title: "Again" } }).returning({ title: books.title });
assert.deepEqual(upserted, [{ title: "Again" }]);

client.close();
console.log("done");
