//! Typed records in a store: one prefix, one format, changes by compare-and-set.

use std::{marker::PhantomData, sync::Arc};

use crate::{
    Entry, Error, Key, Prefix, Record, Revision, Store, StoreError,
    codec::{decode, encode},
};

/// A record as it is stored: its value, and the revision that a change of it must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The key of the record.
    pub key: Key,
    /// The record.
    pub value: T,
    /// The change that made it so.
    pub revision: Revision,
}

/// The records of one kind below one prefix of a store.
///
/// Every change settles what it can: when the store does not know whether a change happened, the key is read back.
#[derive(Debug)]
pub struct Records<T> {
    store: Arc<dyn Store>,
    prefix: Prefix,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            prefix: self.prefix.clone(),
            kind: PhantomData,
        }
    }
}

/// How often a change is decided again after others changed the record first.
const ATTEMPTS_MAX: u32 = 100;

/// How often an unknown change is tried again at the same revision.
const SETTLE_MAX: u32 = 3;

impl<T: Record> Records<T> {
    /// Returns the records below `prefix`, which must hold nothing else.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: Prefix) -> Self {
        Self {
            store,
            prefix,
            kind: PhantomData,
        }
    }

    /// Returns the prefix of the records.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Returns the record with a name.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    pub async fn get(&self, name: impl AsRef<str> + Send) -> Result<Option<Stored<T>>, Error> {
        let key = self.prefix.key(name)?;
        self.store.get(&key).await?.map(stored).transpose()
    }

    /// Returns all records in the order of their names.
    ///
    /// # Errors
    /// [`Error::Store`], or [`Error::Format`] if one of them cannot be read.
    pub async fn list(&self) -> Result<Vec<Stored<T>>, Error> {
        Ok(self.listing().await?.0)
    }

    /// Returns all records, and the revision up to which every change is in them.
    pub(crate) async fn listing(&self) -> Result<(Vec<Stored<T>>, Revision), Error> {
        let listing = self.store.list(&self.prefix).await?;
        let records = listing
            .entries
            .into_iter()
            .map(stored)
            .collect::<Result<_, _>>()?;
        Ok((records, listing.revision))
    }

    /// Stores a record under a name that has none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the name has one: nothing changed.
    pub async fn create(&self, name: impl AsRef<str> + Send, value: T) -> Result<Stored<T>, Error> {
        self.put(name, None, value).await
    }

    /// Stores a record under a name whose record has revision `expected`, or that has none if that is `None`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the name has another one, or none: nothing changed.
    pub async fn put(
        &self,
        name: impl AsRef<str> + Send,
        expected: Option<Revision>,
        value: T,
    ) -> Result<Stored<T>, Error> {
        let key = self.prefix.key(name)?;
        let revision = self.write(&key, expected, &value).await?;
        Ok(Stored {
            key,
            value,
            revision,
        })
    }

    /// Stores a record under a name, unless the name has one already. Returns what it has from now on, and whether it is `value`.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Format`].
    pub async fn create_if_absent(
        &self,
        name: impl AsRef<str> + Send,
        value: T,
    ) -> Result<(Stored<T>, bool), Error> {
        let key = self.prefix.key(name)?;
        match self.write(&key, None, &value).await {
            Ok(revision) => Ok((
                Stored {
                    key,
                    value,
                    revision,
                },
                true,
            )),
            Err(Error::Store(StoreError::Conflict {
                found: Some(found), ..
            })) => Ok((stored(*found)?, false)),
            Err(error) => Err(error),
        }
    }

    /// Replaces a record that is still as it was read.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another change came first: nothing changed.
    pub async fn replace(&self, current: &Stored<T>, value: T) -> Result<Stored<T>, Error> {
        let revision = self
            .write(&current.key, Some(current.revision), &value)
            .await?;
        Ok(Stored {
            key: current.key.clone(),
            value,
            revision,
        })
    }

    /// Changes a record by a function of what it holds, which is called again when somebody else was faster.
    ///
    /// Nothing is written if the function returns the record as it was.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such record, and what `decide` returns: nothing changed.
    pub async fn update<F>(
        &self,
        name: impl AsRef<str> + Send,
        decide: F,
    ) -> Result<Stored<T>, Error>
    where
        T: PartialEq,
        F: FnMut(&T) -> Result<T, Error> + Send,
    {
        let key = self.prefix.key(name)?;
        let mut decide = decide;
        let mut current = self.store.get(&key).await?;
        for _ in 0..ATTEMPTS_MAX {
            let Some(entry) = current else {
                return Err(Error::Missing { key });
            };
            let found: Stored<T> = stored(entry)?;
            let value = decide(&found.value)?;
            if value == found.value {
                return Ok(found);
            }
            match self.write(&key, Some(found.revision), &value).await {
                Ok(revision) => {
                    return Ok(Stored {
                        key,
                        value,
                        revision,
                    });
                }
                Err(Error::Store(StoreError::Conflict { found, .. })) => {
                    current = found.map(|entry| *entry);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended {
            key,
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Removes a record that is still as it was read.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another change came first: nothing changed.
    pub async fn delete(&self, current: &Stored<T>) -> Result<(), Error> {
        Ok(self.store.delete(&current.key, current.revision).await?)
    }

    async fn write(
        &self,
        key: &Key,
        expected: Option<Revision>,
        value: &T,
    ) -> Result<Revision, Error> {
        let bytes = encode(value).map_err(|source| Error::Format {
            key: key.clone(),
            source,
        })?;
        Ok(settle(&*self.store, key, expected, &bytes).await?)
    }
}

pub(crate) fn stored<T: Record>(entry: Entry) -> Result<Stored<T>, Error> {
    match decode(&entry.value) {
        Ok(value) => Ok(Stored {
            key: entry.key,
            value,
            revision: entry.revision,
        }),
        Err(source) => Err(Error::Format {
            key: entry.key,
            source,
        }),
    }
}

/// Makes one change, and finds out what became of it when the store does not know.
///
/// Trying again at the same revision is safe: at most one of the tries succeeds. A later value that equals ours is taken for
/// ours; records whose authors must be told apart carry a random id.
pub(crate) async fn settle(
    store: &dyn Store,
    key: &Key,
    expected: Option<Revision>,
    value: &[u8],
) -> Result<Revision, StoreError> {
    let mut unsettled = false;
    for _ in 0..SETTLE_MAX {
        let outcome = match expected {
            Some(expected) => store.compare_and_set(key, expected, value).await,
            None => store.create(key, value).await,
        };
        match outcome {
            Err(StoreError::Unknown { .. }) => unsettled = true,
            // This try changed nothing, and the one before may have.
            Err(StoreError::Unavailable(_)) if unsettled => {}
            Err(StoreError::Conflict {
                found: Some(found), ..
            }) if unsettled && found.value == value && Some(found.revision) > expected => {
                return Ok(found.revision);
            }
            outcome => return outcome,
        }
    }
    let source = format!("{SETTLE_MAX} attempts ended without an answer").into();
    Err(StoreError::Unknown {
        key: key.clone(),
        source,
    })
}
