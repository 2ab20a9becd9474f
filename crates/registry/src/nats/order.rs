//! One change after the other, for servers that would let two of them in at once.
//!
//! Before 2.11, the leader of a replicated stream compares the sequence of a subject with what it has stored, and not with what is
//! still being replicated: of two changes that expect one sequence, both may succeed. The sequence of the whole stream is compared
//! when a message is stored. So each change names both, and nothing may come between it and what its leader had stored.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::api::{Api, Failure};
use crate::{Key, Revision};

/// The changes of one handle, in line.
#[derive(Debug, Default)]
pub(super) struct Order {
    line: Mutex<()>,
    /// The last sequence of the stream, as far as this handle knows.
    stream_at: AtomicU64,
}

/// The first release that compares a subject's sequence with what is being replicated too.
const FIXED_IN: (i64, i64, i64) = (2, 11, 0);

/// How often changes of other handles are let pass at once, before the caller waits a little.
const ROUNDS_MAX: u32 = 8;

impl Order {
    /// Returns whether changes have to be in line, given how many servers keep the stream.
    pub(super) fn is_needed(api: &Api, replicas: u32) -> bool {
        let (major, minor, patch) = FIXED_IN;
        replicas > 1 && !api.client.is_server_compatible(major, minor, patch)
    }

    /// Notes that the stream has come that far. A loser that has read what beat it needs no other question before it tries again, and
    /// so stands as good a chance as the winner.
    pub(super) fn saw(&self, revision: Revision) {
        self.stream_at.fetch_max(revision.0, Ordering::Relaxed);
    }

    fn stream_at(&self) -> Revision {
        Revision(self.stream_at.load(Ordering::Relaxed))
    }

    /// Appends once nothing else of this handle is under way. Changes of other handles that came between are waited out.
    pub(super) async fn append(
        &self,
        api: &Api,
        key: &Key,
        expected: Revision,
        value: Option<&[u8]>,
    ) -> Result<Revision, Failure> {
        let _turn = self.line.lock().await;
        for _ in 0..ROUNDS_MAX {
            let stream_at = self.stream_at();
            let outcome = api.append(key, expected, Some(stream_at), value).await;
            match &outcome {
                Ok(revision) => self.saw(*revision),
                Err(Failure::WrongSequence(_)) => {
                    let seen = match api.stream_info().await {
                        Ok(info) => Revision(info.state.last_seq),
                        // The change itself is known not to have happened.
                        Err(Failure::Unanswered(error)) => {
                            return Err(Failure::Unavailable(error.to_string()));
                        }
                        Err(failure) => return Err(failure),
                    };
                    if seen != stream_at {
                        // It may be lower: a bucket that was made anew counts from the beginning.
                        self.stream_at.store(seen.0, Ordering::Relaxed);
                        continue;
                    }
                }
                Err(_) => {}
            }
            return outcome;
        }
        Err(Failure::WrongSequence(
            "others changed the bucket first".to_owned(),
        ))
    }
}
