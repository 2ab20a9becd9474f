//! Handlers: what a node does when it is called.

use std::{collections::HashMap, fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use shardwright_topology::{Epoch, ShardId};

use crate::{BoxError, Error, Guard, clock::Deadline};

/// One call of a method on a shard of this node.
#[derive(Debug)]
pub struct Call {
    /// What the caller sent.
    pub payload: Bytes,
    guard: Guard,
    deadline: Deadline,
}

impl Call {
    pub(crate) fn new(payload: Bytes, guard: Guard, deadline: Deadline) -> Self {
        Self {
            payload,
            guard,
            deadline,
        }
    }

    /// Returns the shard.
    #[must_use]
    pub fn shard(&self) -> &ShardId {
        self.guard.shard()
    }

    /// Returns the epoch of the shard.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.guard.epoch()
    }

    /// Returns the guard that keeps the shard here. Work that outlives the handler's future takes a clone along.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Returns how long the caller still waits. The handler's future is dropped when it no longer does.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.remaining()
    }
}

type Run = dyn Fn(Call) -> BoxFuture<'static, Result<Bytes, BoxError>> + Send + Sync;

/// How a method may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Never,
    Safe,
}

#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) name: Arc<str>,
    pub(crate) repeat: Repeat,
    run: Arc<Run>,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("name", &self.name)
            .field("repeat", &self.repeat)
            .finish_non_exhaustive()
    }
}

impl Handler {
    pub(crate) fn new<F, Fut, A, E>(name: &str, repeat: Repeat, run: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
        A: Into<Bytes>,
        E: Into<BoxError>,
    {
        assert!(is_method(name), "{}", invalid(name));
        let run = move |call: Call| -> BoxFuture<'static, Result<Bytes, BoxError>> {
            let answer = run(call);
            Box::pin(async move { answer.await.map(Into::into).map_err(Into::into) })
        };
        Self {
            name: name.into(),
            repeat,
            run: Arc::new(run),
        }
    }

    /// Runs the handler to its end, under a guard that lives as long as it does.
    pub(crate) async fn run(&self, call: Call) -> Result<Bytes, String> {
        // The handler may drop its call, and with it the guard, at any time.
        let _inside = call.guard.clone();
        let run = AssertUnwindSafe(async { (self.run)(call).await });
        match run.catch_unwind().await {
            Ok(outcome) => outcome.map_err(|error| chain(&*error)),
            Err(_) => Err("the handler panicked".to_owned()),
        }
    }
}

/// Returns whether a text is the name of a method: 1 to 255 visible ASCII characters, which every transport carries.
pub(crate) fn is_method(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Says what is wrong with a name that is none of a method.
pub(crate) fn invalid(name: &str) -> Error {
    Error::InvalidMethod {
        method: name.to_owned(),
    }
}

/// The longest text of an error that crosses the network, in bytes. Every transport carries that, whatever its limit for payloads.
const MESSAGE_MAX: usize = 4096;

/// An error and its causes in one line, as they cross the network: cut where it is longer than a reader cares for.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    const CUT: &str = "...";
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source
        && text.len() <= MESSAGE_MAX
    {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.len() > MESSAGE_MAX {
        let mut ends = (0..=MESSAGE_MAX - CUT.len()).rev();
        let end = ends.find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str(CUT);
    }
    text
}

/// The handlers of a router by name. Look-ups take no lock.
#[derive(Debug, Default)]
pub(crate) struct Handlers(ArcSwap<HashMap<Arc<str>, Arc<Handler>>>);

impl Handlers {
    /// Adds a handler in place of another one of the name.
    pub(crate) fn insert(&self, handler: Handler) {
        let handler = Arc::new(handler);
        self.0.rcu(|handlers| {
            let mut next = HashMap::clone(handlers);
            next.insert(Arc::clone(&handler.name), Arc::clone(&handler));
            next
        });
    }

    pub(crate) fn find(&self, method: &str) -> Option<Arc<Handler>> {
        self.0.load().get(method).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: String,
        source: Option<Box<Self>>,
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_cut_where_it_is_long() {
        let failed = |text: String, source: Option<Failed>| Failed {
            text,
            source: source.map(Box::new),
        };
        let cause = failed("disk full".to_owned(), None);
        let error = failed("write".to_owned(), Some(cause));
        assert_eq!(chain(&error), "write: disk full");

        // No character is cut in two, wherever the limit falls.
        for shift in 0..3 {
            let long = "x".repeat(shift) + &"€".repeat(MESSAGE_MAX);
            let text = chain(&failed(long, Some(failed("disk full".to_owned(), None))));
            assert!(text.ends_with("€..."), "{}", text.len());
            assert!((MESSAGE_MAX - 3..=MESSAGE_MAX).contains(&text.len()));
        }
    }
}
