//! Calls of users' handlers: one at a time, in the order in which they were due.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{sync::mpsc, task::JoinHandle};

/// What a handler returns.
pub(crate) type Handled = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the calls of one driver from those of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(Arc<()>);

/// Where calls wait for their turn.
#[derive(Debug)]
pub(crate) struct Turns {
    due: mpsc::UnboundedSender<Handled>,
}

tokio::task_local! {
    static CALLER: Caller;
}

impl Caller {
    /// Returns whether the present task is one of its calls, for whose end it had better not wait.
    pub(crate) fn is_calling(&self) -> bool {
        CALLER
            .try_with(|caller| Arc::ptr_eq(&caller.0, &self.0))
            .unwrap_or(false)
    }

    /// Starts to make calls, until the last of them after [`Turns`] is dropped.
    pub(crate) fn start(self) -> (Turns, JoinHandle<()>) {
        let (due, mut calls) = mpsc::unbounded_channel::<Handled>();
        let task = tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                // In a task of its own, so that a panic is a failure of this call and not the end of all.
                let call = tokio::spawn(CALLER.scope(self.clone(), call));
                if let Err(error) = call.await {
                    tracing::error!(%error, "a handler did not return");
                }
            }
        });
        (Turns { due }, task)
    }
}

impl Turns {
    /// Has a call made after those that are due. The future does nothing before it is polled, not even call the handler.
    pub(crate) fn add(&self, call: impl Future<Output = ()> + Send + 'static) {
        // The task that makes the calls ends after this is dropped, or with the runtime.
        let _due = self.due.send(Box::pin(call));
    }
}
