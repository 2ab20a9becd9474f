//! Declarations: what a table is, said in a comment that plain SQLite ignores.
//!
//! ```sql
//! CREATE TABLE orders(...)    /* shardwright: shard_key=customer_id colocate_with=customers */
//! CREATE TABLE flights(...)   /* shardwright: shard_key=tailnum null_keys=keep */
//! CREATE TABLE currencies(...) /* shardwright: reference */
//! CREATE TABLE settings(...)  /* shardwright: global */
//! ```

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Where the rows of a table live, as declared or inferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Declaration {
    /// Rows live where the value of a column hashes to.
    Sharded {
        /// The column's name.
        shard_key: String,
        /// Another table whose equal keys share a shard with these.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        colocate_with: Option<String>,
        /// What becomes of a row whose key is NULL.
        #[serde(default)]
        null_keys: NullKeys,
    },
    /// A full copy on every shard.
    Reference,
    /// All rows on the catalog shard.
    Global,
}

/// What becomes of a row whose shard key is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NullKeys {
    /// The row is refused.
    #[default]
    Refuse,
    /// The row keeps its NULL and lives with all others like it, on the shard that owns the position of NULL.
    Keep,
}

/// What a table becomes that nobody declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undeclared {
    /// Sharded by the first column of its primary key; global without one.
    #[default]
    PrimaryKey,
    /// Global.
    Global,
}

/// Whether a table is known as some migrator's bookkeeping, which is global whatever the setting.
#[must_use]
pub fn is_bookkeeping(table: &str) -> bool {
    const KNOWN: &[&str] = &[
        "__drizzle_migrations",
        "__efmigrationshistory",
        "__diesel_schema_migrations",
        "_cf_kv",
        "_prisma_migrations",
        "_sqlx_migrations",
        "alembic_version",
        "ar_internal_metadata",
        "d1_migrations",
        "django_migrations",
        "flyway_schema_history",
        "goose_db_version",
        "knex_migrations",
        "knex_migrations_lock",
        "kysely_migration",
        "kysely_migration_lock",
        "migrations",
        "mikro_orm_migrations",
        "refinery_schema_history",
        "schema_migrations",
        "sequelizemeta",
        "typeorm_metadata",
    ];
    KNOWN.contains(&super::fold(table).as_str())
}

impl Declaration {
    /// Reads the declaration in the comments of a CREATE TABLE statement, if there is one.
    ///
    /// # Errors
    /// [`Error::BadDeclaration`] names the word that is not understood.
    pub fn in_comment(statement: &str) -> Result<Option<Self>, Error> {
        let Some(words) = comments(statement).find_map(|comment| {
            comment
                .trim()
                .strip_prefix("shardwright:")
                .map(str::to_owned)
        }) else {
            return Ok(None);
        };
        Self::parse(&words).map(Some)
    }

    fn parse(words: &str) -> Result<Self, Error> {
        let bad = |word: &str| Error::BadDeclaration {
            word: word.to_owned(),
        };
        let mut shard_key = None;
        let mut colocate_with = None;
        let mut null_keys = NullKeys::Refuse;
        let mut plain = None;
        for word in split_words(words) {
            match word.split_once('=') {
                None if word == "reference" => plain = Some(Self::Reference),
                None if word == "global" => plain = Some(Self::Global),
                Some(("shard_key", value)) => shard_key = Some(unquote(value)),
                Some(("colocate_with", value)) => colocate_with = Some(unquote(value)),
                Some(("null_keys", "keep")) => null_keys = NullKeys::Keep,
                Some(("null_keys", "refuse")) => null_keys = NullKeys::Refuse,
                _ => return Err(bad(word)),
            }
        }
        match (plain, shard_key) {
            (Some(declaration), None) => Ok(declaration),
            (None, Some(shard_key)) => Ok(Self::Sharded {
                shard_key,
                colocate_with,
                null_keys,
            }),
            (None, None) | (Some(_), Some(_)) => Err(bad(words.trim())),
        }
    }
}

/// The words of a declaration: a quoted name may hold spaces.
fn split_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut closing = None;
    for (at, c) in text.char_indices() {
        match closing {
            Some(quote) if c == quote => closing = None,
            Some(_) => {}
            None if c.is_whitespace() => {
                words.extend(start.take().map(|start| &text[start..at]));
            }
            None => {
                start.get_or_insert(at);
                closing = closing_quote(c);
            }
        }
    }
    words.extend(start.map(|start| &text[start..]));
    words
}

fn closing_quote(opening: char) -> Option<char> {
    match opening {
        '"' | '`' => Some(opening),
        '[' => Some(']'),
        _ => None,
    }
}

fn unquote(value: &str) -> String {
    let closing = value.chars().next().and_then(closing_quote);
    match closing.and_then(|closing| Some((closing, value[1..].strip_suffix(closing)?))) {
        Some((closing, name)) => name.replace(&format!("{closing}{closing}"), &closing.to_string()),
        None => value.to_owned(),
    }
}

/// The comments of a statement, of both forms, outside of literals and quoted names.
pub(crate) fn comments(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        while let Some(at) = rest.find(['-', '/', '\'', '"', '`', '[']) {
            let (opening, tail) = (rest.as_bytes()[at], &rest[at..]);
            match opening {
                b'-' if tail.starts_with("--") => {
                    let end = tail.find('\n').unwrap_or(tail.len());
                    rest = &tail[end..];
                    return Some(&tail[2..end]);
                }
                b'/' if tail.starts_with("/*") => {
                    let end = tail[2..].find("*/").map_or(tail.len(), |end| end + 2);
                    rest = tail.get(end + 2..).unwrap_or("");
                    return Some(&tail[2..end]);
                }
                b'-' | b'/' => rest = &tail[1..],
                quote => {
                    let closing = if quote == b'[' {
                        ']'
                    } else {
                        char::from(quote)
                    };
                    rest = tail[1..].split_once(closing).map_or("", |(_, after)| after);
                }
            }
        }
        None
    })
}
