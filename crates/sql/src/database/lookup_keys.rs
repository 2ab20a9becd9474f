//! Lookup keys: other names by which the key of a record is found.
//!
//! A record has a key, and any number of lookup keys such as `email:jane@example.com`, each of which leads to that one key. What is
//! stored of a lookup key is a token: by default its HMAC-SHA-256 under a secret beside the database, so that whoever has the
//! files and not the secret cannot try out addresses. A token is a row of `_lookup` on the shard of its own hash, and
//! once more a row of `_lookup_of` on the shard of the key's hash, so that the lookup keys of a record are listed by one read.
//! Both are written in one commit, with those of all other lookup keys of the call.

mod secret;
mod token;

use std::{collections::BTreeSet, sync::Arc};

use shardwright_store::{Row, Value};

pub(super) use self::secret::Secrets;
pub use self::token::LookupForm;
use super::{ShardedDatabase, atomic::Commit, journal::Step, state::State};
use crate::{
    answer::Outcome,
    error::Error,
    key::Key,
    plan::HomeKey,
    shards::{Call, Fragment, Place, Watching},
};

/// The tables of tokens.
pub(super) const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS _lookup(space TEXT NOT NULL, token TEXT NOT NULL, key NOT NULL,
        PRIMARY KEY(space, token)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _lookup_of(space TEXT NOT NULL, key NOT NULL, token TEXT NOT NULL,
        PRIMARY KEY(space, key, token)) WITHOUT ROWID",
];

const FIND: &str = "SELECT key FROM main._lookup WHERE space = ?1 AND token = ?2";
const PUT: &str =
    "INSERT INTO main._lookup(space, token, key) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const REMOVE: &str = "DELETE FROM main._lookup WHERE space = ?1 AND token = ?2";
const LIST: &str = "SELECT token FROM main._lookup_of WHERE space = ?1 AND key = ?2 ORDER BY token";
const NOTE: &str =
    "INSERT INTO main._lookup_of(space, key, token) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
const FORGET: &str = "DELETE FROM main._lookup_of WHERE space = ?1 AND key = ?2 AND token = ?3";

/// What a call on the lookup keys of a record does.
enum Change<'a> {
    Add(&'a [&'a str]),
    Replace(&'a [&'a str]),
}

impl ShardedDatabase {
    /// Gives a record more lookup keys. Those that it has already stay. Without a table, the key space must be the only one, or
    /// named by the key.
    ///
    /// # Errors
    /// [`Error::LookupTaken`] if one of them leads to another record, [`Error::LookupSecret`], [`Error::AmbiguousKey`], and what a
    /// place says. Nothing was added then.
    #[doc(alias = "addLookupKeys")]
    pub fn add_lookup_keys(
        &self,
        table: Option<&str>,
        key: impl Into<Key>,
        names: &[&str],
    ) -> Result<(), Error> {
        self.change_lookup_keys(table, &key.into(), &Change::Add(names))
    }

    /// Gives a record these lookup keys, and takes all others from it.
    ///
    /// # Errors
    /// As [`ShardedDatabase::add_lookup_keys`]. Nothing has changed then.
    pub fn replace_lookup_keys(
        &self,
        table: Option<&str>,
        key: impl Into<Key>,
        names: &[&str],
    ) -> Result<(), Error> {
        self.change_lookup_keys(table, &key.into(), &Change::Replace(names))
    }

    /// Takes all lookup keys from a record.
    ///
    /// # Errors
    /// As [`ShardedDatabase::add_lookup_keys`].
    #[doc(alias = "deleteShardMapping")]
    pub fn remove_lookup_keys(
        &self,
        table: Option<&str>,
        key: impl Into<Key>,
    ) -> Result<(), Error> {
        self.change_lookup_keys(table, &key.into(), &Change::Replace(&[]))
    }

    /// The key that a lookup key leads to; `None` if it leads to none. Nothing is made by asking.
    ///
    /// # Errors
    /// [`Error::LookupSecret`], [`Error::AmbiguousKey`], [`Error::UnknownTable`], and what a place says.
    #[doc(alias = "getShardMapping")]
    pub fn look_up(&self, table: Option<&str>, name: &str) -> Result<Option<Key>, Error> {
        self.check_has_directory()?;
        let state = self.inner.state.load();
        let space = self.space_of(&state, table)?;
        for token in self.secrets()?.all_tokens(name) {
            if let Some(key) = self.key_of_token(&state, &space, &token)? {
                return Ok(Some(Key::new(key).in_group(&*space)));
            }
        }
        Ok(None)
    }

    /// What is stored of the lookup keys of a record: for each a token, which is the lookup key itself only in the form
    /// [`LookupForm::Clear`].
    ///
    /// # Errors
    /// As [`ShardedDatabase::look_up`].
    #[doc(alias = "getAllLookupKeys")]
    pub fn lookup_keys(
        &self,
        table: Option<&str>,
        key: impl Into<Key>,
    ) -> Result<Vec<String>, Error> {
        self.check_has_directory()?;
        let state = self.inner.state.load();
        let key = self.home_key(&state, table, &key.into())?;
        let at = Place::Shard(state.map.index_at(key.position()));
        let params = [Value::from(&*key.space), key.key];
        let mut tokens = Vec::new();
        let _ = self
            .inner
            .places
            .query(at, Call::new(LIST, &params), |row| {
                tokens.push(row.get(0).as_str().unwrap_or_default().to_owned());
                std::ops::ControlFlow::<()>::Continue(())
            })?;
        Ok(tokens)
    }

    /// The first row that a query gives on the shard of the record that a lookup key leads to; `None` if there is no such
    /// record, or no row.
    ///
    /// # Errors
    /// As [`ShardedDatabase::look_up`] and [`ShardedDatabase::first`].
    #[doc(alias = "firstByLookupKey")]
    pub fn first_by_lookup(
        &self,
        table: Option<&str>,
        name: &str,
        sql: &str,
        params: &[Value],
    ) -> Result<Option<Vec<Value>>, Error> {
        match self.look_up(table, name)? {
            Some(key) => self.first(key, sql, params),
            None => Ok(None),
        }
    }

    /// As [`ShardedDatabase::first_by_lookup`], with all rows.
    ///
    /// # Errors
    /// As [`ShardedDatabase::first_by_lookup`].
    #[doc(alias = "allByLookupKey")]
    pub fn all_by_lookup(
        &self,
        table: Option<&str>,
        name: &str,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Vec<Value>>, Error> {
        match self.look_up(table, name)? {
            Some(key) => self.all(key, sql, params),
            None => Ok(Vec::new()),
        }
    }

    /// Runs a write on the shard of the record that a lookup key leads to. `None` if there is no such record: nothing was
    /// run.
    ///
    /// # Errors
    /// As [`ShardedDatabase::look_up`] and [`ShardedDatabase::run`].
    pub fn run_by_lookup(
        &self,
        table: Option<&str>,
        name: &str,
        sql: &str,
        params: &[Value],
    ) -> Result<Option<Outcome>, Error> {
        let key = self.look_up(table, name)?;
        key.map(|key| self.run(key, sql, params)).transpose()
    }

    /// Makes a new secret. Lookup keys that are added from now on are hashed with it. Those before are found with the old one,
    /// which is kept, because what it has hashed is not known.
    ///
    /// # Errors
    /// [`Error::LookupSecret`], [`Error::Unsupported`] if the database is not in a directory, and what the system says.
    pub fn rotate_lookup_secret(&self) -> Result<(), Error> {
        self.check_writable()?;
        self.inner.shared.secrets.rotate(self)
    }

    fn secrets(&self) -> Result<Arc<secret::Keyring>, Error> {
        self.inner.shared.secrets.get(self)
    }

    fn space_of(&self, state: &State, table: Option<&str>) -> Result<Arc<str>, Error> {
        let table = state.table_of_key(table, &Key::new(Value::Null))?;
        Ok(table.shard_key().map_or("", |key| &key.group).into())
    }

    fn change_lookup_keys(
        &self,
        table: Option<&str>,
        key: &Key,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        self.check_has_directory()?;
        self.check_writable()?;
        let state = self.inner.state.load_full();
        let key = self.home_key(&state, table, key)?;
        let (Change::Add(names) | Change::Replace(names)) = change;
        let replaces = matches!(change, Change::Replace(_));
        let wanted = self.tokens_of(&state, &key, names, replaces)?;
        self.commit_with(|commit| self.change_tokens(commit, &state, &key, &wanted, replaces))
    }

    /// The tokens of the lookup keys that a record is to have.
    ///
    /// What was added with an older secret or in another form has another token, which nobody can add any more.
    fn tokens_of(
        &self,
        state: &State,
        key: &HomeKey,
        names: &[&str],
        replaces: bool,
    ) -> Result<BTreeSet<String>, Error> {
        let mut tokens = BTreeSet::new();
        for name in names {
            let keyring = self.secrets()?;
            let mut is_there = false;
            for older in keyring.all_tokens(name).iter().skip(1) {
                match self.key_of_token(state, &key.space, older)? {
                    Some(other) if other != key.key => {
                        return Err(Error::LookupTaken {
                            space: key.space.to_string(),
                        });
                    }
                    found => is_there |= found.is_some(),
                }
            }
            if replaces || !is_there {
                tokens.insert(keyring.token(name));
            }
        }
        Ok(tokens)
    }

    fn key_of_token(
        &self,
        state: &State,
        space: &str,
        token: &str,
    ) -> Result<Option<Value>, Error> {
        let at = token_at(state, space, token);
        let params = [Value::from(space), Value::from(token)];
        let key = |row: &Row<'_>| row.get(0).to_value();
        let places = &self.inner.places;
        places.query_row(at, Call::new(FIND, &params), key)
    }

    fn change_tokens(
        &self,
        commit: &mut Commit,
        state: &State,
        key: &HomeKey,
        wanted: &BTreeSet<String>,
        replaces: bool,
    ) -> Result<(), Error> {
        let record = Place::Shard(state.map.index_at(key.position()));
        commit.enlist(record, Watching::Any)?;
        let of_record = [Value::from(&*key.space), key.key.clone()];
        let list = Call::new(LIST, &of_record);
        let listed = commit.within(record, |open| open.aside(list))?.rows;
        let token = |row: &Vec<Value>| row.first()?.as_str().map(str::to_owned);
        let listed: BTreeSet<String> = listed.iter().filter_map(token).collect();
        let leaving = listed.difference(wanted).filter(|_| replaces);
        let step = |sql: &str, params: Vec<Value>| Step::bound(&Fragment::new(sql, params));
        let [space, record_key] = of_record.clone();
        for token in leaving {
            let at = token_at(state, &key.space, token);
            commit.enlist(at, Watching::Any)?;
            commit.run(at, step(REMOVE, vec![space.clone(), token.as_str().into()]))?;
            let note = vec![space.clone(), record_key.clone(), token.as_str().into()];
            commit.run(record, step(FORGET, note))?;
        }
        for token in wanted.difference(&listed) {
            let at = token_at(state, &key.space, token);
            commit.enlist(at, Watching::Any)?;
            let entry = vec![space.clone(), token.as_str().into(), record_key.clone()];
            if commit.run(at, step(PUT, entry))?.outcome.changes == 0 {
                return Err(Error::LookupTaken {
                    space: key.space.to_string(),
                });
            }
            let note = vec![space.clone(), record_key.clone(), token.as_str().into()];
            commit.run(record, step(NOTE, note))?;
        }
        Ok(())
    }
}

/// Where a token is: on the shard of its own hash.
fn token_at(state: &State, space: &str, token: &str) -> Place {
    let key = HomeKey {
        space: format!("_lookup/{space}").into(),
        key: Value::from(token),
    };
    Place::Shard(state.map.index_at(key.position()))
}
