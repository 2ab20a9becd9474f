//! Threads for what takes long and is in no hurry.

use std::thread;

use tokio::sync::oneshot;

/// How much less of a processor such a thread gets than others that want it: about a tenth.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lets this thread give way to others, where the system can tell threads apart.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        // It takes as much as the others then.
        tracing::debug!(%error, "a thread does not give way");
    }
}

/// Runs something on a thread of its own that gives way to others, and waits for it.
pub(crate) fn aside<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            give_way();
            run()
        });
        running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs something on a thread of its own that gives way to others. `None` if there is none, or it panicked.
pub(crate) async fn in_background<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    let begun = thread.spawn(move || {
        give_way();
        // Whoever asked may have gone.
        let _told = answer.send(run());
    });
    begun.ok()?;
    answered.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_in_the_background_is_returned_unless_it_panics() {
        assert_eq!(in_background("adds", || 1 + 1).await, Some(2));
        let lost = in_background::<()>("panics", || panic!("as it is to")).await;
        assert_eq!(lost, None);
    }
}
