//! The loop of both drivers: what is heard, the time, and a farewell.

use std::time::Duration;

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

/// How many events wait for a slow listener before it misses some.
pub(crate) const EVENTS_MAX: usize = 1024;

/// A machine with what it needs to act.
pub(crate) trait Driver: Send {
    /// What the driver's own tasks and users tell it.
    type Heard: Send;
    /// What the machine is told, and what it asks for.
    type Input: Send;
    type Action: Send;

    /// Time has passed.
    const TICK: Self::Input;
    /// The process ends.
    const RESIGN: Self::Input;

    /// Takes in what was heard.
    fn hear(&mut self, heard: Self::Heard);

    /// Advances the machine on an input.
    fn advance(&mut self, input: Self::Input) -> Vec<Self::Action>;

    /// Does what the machine asks for.
    fn perform(&mut self, action: Self::Action);

    /// Returns whether the machine has given its lease back.
    fn is_over(&self) -> bool;

    /// Where it is shown that something may have changed.
    fn changes(&self) -> &watch::Sender<()>;

    /// Feeds one input to the machine, and does what it asks for.
    fn handle(&mut self, input: Self::Input) {
        for action in self.advance(input) {
            self.perform(action);
        }
        self.changes().send_replace(());
    }
}

/// How often a machine is told the time, and how long its farewell may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) tick: Duration,
    pub(crate) farewell: Duration,
}

/// Runs a machine until it is to stop, and then until it has given its lease back.
pub(crate) async fn drive<D: Driver>(
    driver: &mut D,
    mut inbox: mpsc::UnboundedReceiver<D::Heard>,
    stop: &Notify,
    pace: Pace,
) {
    let mut ticks = interval(pace.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            heard = inbox.recv() => match heard {
                Some(heard) => driver.hear(heard),
                None => break,
            },
            _ = ticks.tick() => driver.handle(D::TICK),
            () = stop.notified() => break,
        }
    }
    driver.handle(D::RESIGN);
    // A lease that is not given back ends by itself.
    let _given_back = timeout(pace.farewell, async {
        while !driver.is_over() {
            tokio::select! {
                Some(heard) = inbox.recv() => driver.hear(heard),
                _ = ticks.tick() => driver.handle(D::TICK),
            }
        }
    })
    .await;
}

/// Waits until there is something to find, and looks again after each change. Without end if there never is.
pub(crate) async fn until<T>(changes: &watch::Sender<()>, find: impl Fn() -> Option<T>) -> T {
    let mut changes = changes.subscribe();
    loop {
        changes.mark_unchanged();
        if let Some(found) = find() {
            return found;
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
