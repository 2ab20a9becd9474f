//! The life of a copy: it is opened, runs, and is opened again after a failure.

use std::{sync::Arc, time::Duration};

use rand::RngCore;
use shardwright_registry::Clock;
use shardwright_topology::{Backoff, Member, Primary, ReplicaId, ShardId, Timestamp};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::spawn_blocking,
    time::sleep,
};

use super::{
    AppendError, Condition, Home, LogOptions, OpenError, Opened, ReadError, Status, Trouble,
    driver::{Aside, Channels, Command, Driver, Ended, Input, Waiting},
    remains::Remains,
    text_of,
    threads::{self, Applied, install},
};
use crate::log::{
    Durable, Participant, StateMachine, Ticket,
    peer::{Encoder, Inbound},
    snapshot::StoredSnapshot,
};

/// For how long a copy runs until its next failure counts as the first one.
const SETTLED: Duration = Duration::from_secs(60);

/// Runs a copy until it is stopped.
pub(super) async fn run<H: Home>(
    shard: ShardId,
    home: H,
    options: LogOptions,
    clock: Clock,
    mut channels: Channels,
) {
    let (first, cap) = options.pauses;
    let backoff = || Backoff::new(first, cap, rand::rng().next_u64());
    let mut waits = backoff();
    let mut life = Life {
        shard,
        home: Some(home),
        options: &options,
        clock,
        remains: None,
        is_unclean: false,
    };
    loop {
        let since = clock.now();
        let ended = life.open_and_run(&mut channels).await;
        if clock.now().since(since) > SETTLED {
            waits = backoff();
        }
        let condition = match ended {
            Ended::Stopped => break,
            Ended::NoRoom(why) => Condition::NoRoom(why),
            Ended::Waiting(why) => Condition::Waiting(why),
            Ended::SetAside(why) => {
                tracing::error!(shard = %life.shard, why, "a copy is set aside");
                metrics::counter!("shardwright_quorum_set_aside_total").increment(1);
                life.is_unclean = true;
                Condition::SetAside(why)
            }
        };
        tracing::warn!(shard = %life.shard, ?condition, "a copy does not run");
        metrics::counter!("shardwright_quorum_failures_total").increment(1);
        channels
            .status
            .send_modify(|status| out_of_order(status, condition));
        if !refuse_for(waits.next().unwrap_or(cap), &mut channels).await {
            break;
        }
    }
    channels
        .status
        .send_modify(|status| out_of_order(status, Condition::Stopped));
}

fn out_of_order(status: &mut Status, condition: Condition) {
    if condition != Condition::Stopped {
        let before = status.trouble.take().map(|trouble| trouble.commit);
        status.trouble = Some(Trouble {
            condition: condition.clone(),
            commit: before.max(Some(status.known_commit)).unwrap_or_default(),
        });
    }
    status.condition = condition;
    status.leads = None;
    status.followers.clear();
}

/// Answers nobody for so long. `false` if the copy is to stop.
async fn refuse_for(pause: Duration, channels: &mut Channels) -> bool {
    let pause = sleep(pause);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return true,
            _ = channels.stop.wait_for(|stop| *stop) => return false,
            inbound = channels.attached.inbound.recv() => match inbound {
                // Those who ask take it for away.
                Some(Inbound::Request { .. } | Inbound::Reply { .. } | Inbound::Snapshot(_)) => {}
                None => return false,
            },
            command = channels.commands.recv() => {
                let Some(command) = command else {
                    return false;
                };
                refuse(command);
            }
        }
    }
}

fn refuse(command: Command) {
    // Whoever asked may have gone.
    match command {
        Command::Append { answer, .. } => {
            let _told = answer.send(Err(AppendError::NotRunning));
        }
        Command::Read { answer, .. } => {
            let _told = answer.send(Err(ReadError::NotRunning));
        }
        Command::ReadFrom { answer, .. } => {
            let _told = answer.send(Err(ReadError::NotRunning));
        }
        Command::Learners(_) | Command::Hold { .. } | Command::Fail(_) => {}
    }
}

/// What outlives an opening, besides the channels.
struct Life<'a, H> {
    shard: ShardId,
    /// None while a thread has it.
    home: Option<H>,
    options: &'a LogOptions,
    clock: Clock,
    /// What is left of the copy that was set aside last.
    remains: Option<Durable>,
    /// Whether the copy is to be set aside before anything else: it is never opened again.
    is_unclean: bool,
}

impl<H: Home> Life<'_, H> {
    async fn open_and_run(&mut self, channels: &mut Channels) -> Ended {
        let opened = tokio::select! {
            opened = self.open() => opened,
            ended = until_stopped(channels) => return ended,
        };
        let (driver, inputs) = match opened {
            Ok(opened) => opened,
            Err(ended) => return ended,
        };
        channels.status.send_modify(|status| status.openings += 1);
        driver.run(channels, inputs).await
    }

    async fn open(&mut self) -> Result<(Driver<'_>, UnboundedReceiver<Input>), Ended> {
        if self.is_unclean {
            self.remains = self.with_home(H::set_aside).await.map_err(ended)?;
            self.is_unclean = false;
        }
        let fresh = ReplicaId::random(&mut rand::rng());
        let opened = self.with_home(move |home| open(home, fresh)).await;
        let Opened {
            storage,
            durable,
            state,
        } = opened.map_err(ended)?;
        let copy = Member {
            node: self.options.peers.node().clone(),
            replica_id: durable.replica_id,
        };
        let registrar = &self.options.registrar;
        let incarnation = registrar.register(&self.shard, &copy).await;
        let incarnation = incarnation
            .map_err(|error| Ended::Waiting(format!("it cannot be registered: {error}")))?;
        let me = Primary {
            node: copy.node,
            incarnation,
        };
        let (now, settings) = (self.clock.now(), self.options.settings.clone());
        let applied = state.applied();
        let machine = Participant::open(now, me.clone(), settings, durable, applied);
        let machine = machine.map_err(|unclean| Ended::SetAside(unclean.to_string()))?;
        self.driver(me, machine, storage, state)
            .map_err(|error| Ended::Waiting(error.to_string()))
    }

    fn driver(
        &self,
        me: Primary,
        machine: Participant,
        storage: Box<dyn crate::log::Storage>,
        state: H::State,
    ) -> std::io::Result<(Driver<'_>, UnboundedReceiver<Input>)> {
        let (inputs, told) = mpsc::unbounded_channel();
        let saved = state.applied().lsn;
        let applied = Arc::new(Applied::default());
        applied.set(saved, saved);
        let settings = self.options.settings.clone();
        let remains = self
            .remains
            .clone()
            .and_then(|durable| Remains::new(self.clock.now(), me.clone(), settings, durable));
        let home = self.home.as_ref();
        let driver = Driver {
            options: self.options,
            shard: self.shard.clone(),
            me,
            directory: home
                .map(|home| home.directory().to_owned())
                .unwrap_or_default(),
            clock: self.clock,
            machine,
            remains,
            encoder: Encoder::default(),
            storage: threads::storage(storage, inputs.clone())?,
            applier: threads::applier(state, Arc::clone(&applied), inputs.clone())?,
            applied,
            inputs,
            record: None,
            waiting: Waiting::default(),
            writes: (Ticket::default(), Vec::new()),
            aside: Aside::None,
            fetch_after: Timestamp::default(),
            save_after: Timestamp::default(),
            persisting: None,
            due: saved,
            handed: saved,
            seen: saved,
            saved,
            activating: None,
            ended: None,
            has_news: true,
            shown_at: Timestamp::default(),
            is_unshown: true,
            actions: Vec::new(),
        };
        Ok((driver, told))
    }

    /// Does something with the home, on a thread that may wait.
    async fn with_home<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut H) -> Result<T, OpenError> + Send + 'static,
    ) -> Result<T, OpenError> {
        let Some(mut home) = self.home.take() else {
            return Err(OpenError::Failed("an earlier attempt panicked".into()));
        };
        let done = spawn_blocking(move || {
            let done = act(&mut home);
            (home, done)
        });
        match done.await {
            Ok((home, done)) => {
                self.home = Some(home);
                done
            }
            Err(panicked) => Err(OpenError::Failed(panicked.into())),
        }
    }
}

/// Opens what is kept, and makes up for a crash between the log and the data when a snapshot was installed.
fn open<H: Home>(home: &mut H, fresh: ReplicaId) -> Result<Opened<H::State>, OpenError> {
    let mut opened = home.open(fresh)?;
    let stored = StoredSnapshot::find(home.directory());
    let stored = stored.map_err(|error| OpenError::Failed(error.into()))?;
    if let Some(stored) = stored {
        if stored.base() == opened.durable.log.base() {
            install(&mut opened.state, stored)?;
        } else {
            stored
                .remove()
                .map_err(|error| OpenError::Failed(error.into()))?;
        }
    }
    Ok(opened)
}

fn ended(error: OpenError) -> Ended {
    let why = text_of(&error);
    match error {
        OpenError::NoRoom(_) => Ended::NoRoom(why),
        OpenError::Failed(_) => Ended::Waiting(why),
        OpenError::Damaged(_) => Ended::SetAside(why),
    }
}

async fn until_stopped(channels: &mut Channels) -> Ended {
    while refuse_for(Duration::from_secs(1), channels).await {}
    Ended::Stopped
}
