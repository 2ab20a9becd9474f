//! A change of a record that may not exist yet, decided again when somebody else was faster.

use std::time::Duration;

use shardwright_registry::{Error as RegistryError, Record, Records, StoreError};
use shardwright_topology::Backoff;

use super::Error;

/// How often a change is decided again after others changed the record first.
const ATTEMPTS_MAX: usize = 30;

/// The waits between attempts.
const WAIT_FIRST: Duration = Duration::from_millis(1);
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Changes a record by a function of what it holds, which says what it is to hold, if anything new, and what to answer.
///
/// `decide` must be safe to call again. Who must not take an equal value of somebody else for theirs stores `seed` in it.
pub(super) async fn change<T: Record, R: Send>(
    records: &Records<T>,
    name: &str,
    seed: u64,
    mut decide: impl FnMut(Option<&T>) -> Result<(Option<T>, R), Error> + Send,
) -> Result<R, Error> {
    for wait in Backoff::new(WAIT_FIRST, WAIT_MAX, seed).take(ATTEMPTS_MAX) {
        let current = records.get(name).await?;
        let (value, result) = decide(current.as_ref().map(|stored| &stored.value))?;
        let Some(value) = value else {
            return Ok(result);
        };
        let written = match &current {
            Some(stored) => records.replace(stored, value).await,
            None => records.create(name, value).await,
        };
        match written {
            Ok(_) => return Ok(result),
            Err(RegistryError::Store(StoreError::Conflict { .. })) => {
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
