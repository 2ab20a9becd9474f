//! Appends that are acknowledged once they are durable, by one writer and by 64.

mod fan_out;
mod follower;
mod local;
mod log;
mod storage;

use std::future::Future;

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use self::{fan_out::FanOut, local::Local, log::BareLog};
use crate::{
    copies::{self, ThreeCopies},
    harness::{Suite, directory},
};

/// What one append carries.
const PAYLOAD: [u8; 100] = [0x5a; 100];

/// Appends of each writer in one measurement.
const EACH: usize = 25;

/// Something that takes appends.
trait Appends: Clone + Send + Sync + 'static {
    /// Appends [`PAYLOAD`]; the return is the acknowledgement.
    fn append(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Does the part of a process that another one has started for these cases.
pub(super) fn hold() -> Option<anyhow::Result<()>> {
    follower::hold().or_else(copies::hold::<BareLog>)
}

/// Measures the storage alone, and beside the bare fan-out a replicated log and a local one.
pub(super) fn run(suite: &mut Suite) -> anyhow::Result<()> {
    let directory = directory()?;
    storage::run(suite, directory.path())?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let bare = FanOut::start(directory.path())?;
    let local = Local::start(&directory.path().join("local"))?;
    let log = ThreeCopies::<BareLog>::start(directory.path(), &runtime)?;
    compare(suite, &runtime, "append_1", Some(1.6), 1, (&log, &bare))?;
    compare(suite, &runtime, "append_64", Some(2.0), 64, (&log, &bare))?;
    compare(suite, &runtime, "local_1", None, 1, (&local, &bare))?;
    compare(suite, &runtime, "local_64", None, 64, (&local, &bare))
}

/// Measures the nanoseconds of an append by so many writers, each of which waits for its acknowledgement before the next one.
fn compare(
    suite: &mut Suite,
    runtime: &Runtime,
    case: &'static str,
    goal: Option<f64>,
    writers: usize,
    (ours, baseline): (&impl Appends, &impl Appends),
) -> anyhow::Result<()> {
    // A side that cannot append is found out before it is measured.
    write(runtime, writers, ours)?;
    write(runtime, writers, baseline)?;
    suite.time(
        case,
        goal,
        writers * EACH,
        || write(runtime, writers, ours).expect("it has appended before"),
        || write(runtime, writers, baseline).expect("it has appended before"),
    );
    Ok(())
}

/// Lets each writer append [`EACH`] times.
fn write(runtime: &Runtime, writers: usize, appends: &impl Appends) -> anyhow::Result<()> {
    runtime.block_on(async {
        let mut all = JoinSet::new();
        for _ in 0..writers {
            let appends = appends.clone();
            all.spawn(async move {
                for _ in 0..EACH {
                    appends.append().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(writer) = all.join_next().await {
            writer??;
        }
        Ok(())
    })
}
