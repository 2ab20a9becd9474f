//! The secrets of lookup keys: a file beside the database, which only its owner may read.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use shardwright_store::Value;

use super::{
    super::{Access, ShardedDatabase},
    token::{LookupForm, Secret, plain_token},
};
use crate::{
    error::Error,
    shards::{Call, Place},
};

/// The key of the catalog's `_meta` with the names of all secrets that there were, so that a lost one is missed.
const NAMES: &str = "lookup.secrets";

const LOOK: &str = "SELECT value FROM main._meta WHERE key = ?1";

const KEEP: &str = "INSERT INTO main._meta(key, value) VALUES (?1, ?2)
    ON CONFLICT(key) DO UPDATE SET value = excluded.value";

/// The secrets, once they were needed.
#[derive(Debug, Default)]
pub(in crate::database) struct Secrets(Mutex<Option<Arc<Keyring>>>);

/// What makes tokens.
#[derive(Debug)]
pub(super) struct Keyring {
    form: LookupForm,
    /// The newest last.
    secrets: Vec<Secret>,
}

impl Keyring {
    /// The token of a lookup key that is added.
    pub(super) fn token(&self, lookup_key: &str) -> String {
        let newest = self.secrets.last().map(|secret| secret.token(lookup_key));
        let plain = plain_token(self.form, lookup_key);
        plain
            .or(newest)
            .expect("a form without a token of its own has a secret")
    }

    /// All tokens that a lookup key may have, the likeliest first.
    pub(super) fn all_tokens(&self, lookup_key: &str) -> Vec<String> {
        let mut tokens = vec![self.token(lookup_key)];
        let others = self
            .secrets
            .iter()
            .rev()
            .map(|secret| secret.token(lookup_key));
        let plain = [LookupForm::Sha256, LookupForm::Clear].into_iter();
        let plain = plain.filter_map(|form| plain_token(form, lookup_key));
        for token in others.chain(plain) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        tokens
    }
}

impl Secrets {
    pub(super) fn get(&self, database: &ShardedDatabase) -> Result<Arc<Keyring>, Error> {
        let mut kept = self.0.lock();
        if let Some(keyring) = &*kept {
            return Ok(Arc::clone(keyring));
        }
        let options = &database.inner.shared.options;
        let (mut secrets, form) = (load(database)?, options.lookup_form);
        if secrets.is_empty() && form == LookupForm::Hmac {
            if options.access == Access::ReadOnly {
                // Nothing was ever added with one.
                secrets.push(Secret::new(rand::random()));
                return Ok(Arc::new(Keyring { form, secrets }));
            }
            secrets.push(Secret::new(rand::random()));
            store(database, &secrets)?;
        }
        let keyring = Arc::new(Keyring { form, secrets });
        *kept = Some(Arc::clone(&keyring));
        Ok(keyring)
    }

    pub(super) fn rotate(&self, database: &ShardedDatabase) -> Result<(), Error> {
        let mut kept = self.0.lock();
        let mut secrets = load(database)?;
        secrets.push(Secret::new(rand::random()));
        store(database, &secrets)?;
        *kept = None;
        Ok(())
    }
}

fn path_of(database: &ShardedDatabase) -> Result<std::path::PathBuf, Error> {
    let layout = database.inner.shared.layout.as_ref();
    layout
        .map(super::super::Layout::lookup_secret)
        .ok_or_else(|| Error::Unsupported {
            what: "a secret for lookup keys in a database that is not in a directory".to_owned(),
            hint: "choose LookupForm::Sha256 or LookupForm::Clear",
        })
}

/// Reads the secrets. None that was ever made may be missing.
fn load(database: &ShardedDatabase) -> Result<Vec<Secret>, Error> {
    let names = names(database)?;
    if database.inner.shared.layout.is_none() && names.is_empty() {
        return Ok(Vec::new());
    }
    let path = path_of(database)?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(Error::Io {
                action: "read",
                path: path.display().to_string(),
                source,
            });
        }
    };
    let secrets: Option<Vec<Secret>> = text.lines().map(Secret::from_hex).collect();
    let has = |secrets: &Vec<Secret>| {
        let is_there = |name: &String| secrets.iter().any(|secret| secret.name == *name);
        names.iter().all(is_there)
    };
    secrets.filter(has).ok_or_else(|| Error::LookupSecret {
        path: path.display().to_string(),
    })
}

fn names(database: &ShardedDatabase) -> Result<Vec<String>, Error> {
    let key = [Value::from(NAMES)];
    let places = &database.inner.places;
    let found = places.query_row(Place::Catalog, Call::new(LOOK, &key), |row| {
        row.get(0).as_str().map(str::to_owned)
    })?;
    let found = found.flatten().unwrap_or_default();
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

/// Makes the file lasting, and then the names: a file without names does no harm.
fn store(database: &ShardedDatabase, secrets: &[Secret]) -> Result<(), Error> {
    let path = path_of(database)?;
    let text: String = secrets
        .iter()
        .map(|secret| secret.to_hex() + "\n")
        .collect();
    write_private(&path, &text).map_err(|source| Error::Io {
        action: "write",
        path: path.display().to_string(),
        source,
    })?;
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    let note = [Value::from(NAMES), Value::from(names.join(" "))];
    let places = &database.inner.places;
    places
        .write(Place::Catalog, &[Call::new(KEEP, &note)])
        .map(drop)
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}
