//! Waiting for a future on the calling thread.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Runs a future to its end. The caller may itself be a task of any executor, which executors refuse to nest.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::wait;
    use std::{future::poll_fn, task::Poll, thread};

    #[test]
    fn a_future_that_another_thread_wakes_is_waited_for() {
        let mut asked = false;
        let future = poll_fn(move |context| {
            if asked {
                return Poll::Ready(7);
            }
            asked = true;
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        assert_eq!(wait(future), 7);
    }

    #[test]
    fn a_task_of_an_executor_may_wait() {
        let nested = async { wait(async { 7 }) };
        assert_eq!(futures_executor::block_on(nested), 7);
    }
}
