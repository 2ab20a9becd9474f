//! `worker`: a node that serves what the coordinators give it, by saying so.

use std::{
    io::{self, Write},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use shardwright_coordinator::{
    protocol::Assignment,
    worker::{CallbackResult, Worker},
};
use shardwright_topology::Location;
use tokio::sync::{mpsc, oneshot};

#[cfg(unix)]
use crate::audit::{Audit, Event, Moment};
use crate::{
    failure::Failure,
    health::{self, Held},
    listening::Listening,
    process,
    settings::{
        ADVERTISE, COORDINATOR, Family, Given, ID, LISTEN, LOG, REGION, Setting, Settings,
        TOKEN_FILE, ZONE,
    },
    signals::Ending,
};

/// How long a worker that leaves waits for others to take what it serves.
const HAND_OVER: Duration = Duration::from_secs(30);

/// Run a worker.
///
/// It registers at a coordinator, and prints a line for each partition that it is to serve, `serve SHARD EPOCH ROLE`, and is to
/// serve no longer, `delete SHARD EPOCH`. To serve something real, use the worker library, or the protocol from another language.
///
/// Prints `listening on http://...` once it takes requests. On Ctrl-C or SIGTERM it hands over what it serves, and ends; a second
/// one ends it at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright worker --coordinator http://127.0.0.1:7557
  shardwright worker --coordinator http://a:7557,http://b:7557 --listen 10.0.0.8:7558 --id w1 --zone eu-1 --token-file token")]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Given<Working>,

    /// Append to this file what is served, and when: an audit log (see docs/operations.md).
    #[cfg(unix)]
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// The settings of a worker.
#[derive(Debug)]
struct Working;

impl Family for Working {
    const SETTINGS: &'static [&'static Setting] = &[
        &COORDINATOR,
        &LISTEN,
        &ADVERTISE,
        &ID,
        &ZONE,
        &REGION,
        &TOKEN_FILE,
        &LOG,
    ];
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    process::run(&arguments.settings, async |settings| {
        serve(settings, arguments, out).await
    })
}

async fn serve(
    settings: &Settings,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let ending = Ending::catch()?;
    let listening = Listening::open(settings, ("127.0.0.1", 0)).await?;
    let (journal, mut lines) = Journal::open(arguments)?;
    let worker = start(settings, &listening, journal)?;
    listening.announce(out)?;
    let serving = worker.clone();
    let held = move || Held::Serving(serving.serving().len());
    let router = worker.router().merge(health::routes(worker.clone(), held)?);
    let server = axum::serve(listening.listener, router).into_future();
    let left = async {
        ending.asked().await;
        worker.leave(HAND_OVER).await
    };
    let (mut server, mut left) = (pin!(server), pin!(left));
    loop {
        tokio::select! {
            Some(line) = lines.recv() => line.context("write the audit log")?.print(out)?,
            served = &mut server => served.context("serve the coordinators' pings")?,
            handed_over = &mut left => {
                return if handed_over { Ok(()) } else { Err(Failure::NotHandedOver.into()) };
            }
        }
    }
}

fn start(settings: &Settings, listening: &Listening, journal: Journal) -> anyhow::Result<Worker> {
    let coordinators = settings.list(&COORDINATOR)?;
    let location = Location {
        region: settings.optional(&REGION)?,
        zone: settings.optional(&ZONE)?,
    };
    let journal = Arc::new(journal);
    let (serving, deleting, extending) = (Arc::clone(&journal), Arc::clone(&journal), journal);
    Ok(
        Worker::builder(listening.id(settings)?, &listening.url, coordinators)
            .location(location)
            .token(listening.token.clone())
            .on_serve(move |assignment| {
                let journal = Arc::clone(&serving);
                async move { journal.serve(&assignment).await }
            })
            .on_delete(move |assignment| {
                let journal = Arc::clone(&deleting);
                async move { journal.delete(&assignment).await }
            })
            .on_lease(move |news| extending.extend(news.left))
            .start(),
    )
}

/// Where a worker says what it serves: on standard output, and in its audit log. A worker whose log cannot be written ends.
struct Journal {
    lines: mpsc::UnboundedSender<io::Result<Line>>,
    #[cfg(unix)]
    audit: Option<Audit>,
}

/// A line to print, and whom to tell that it is printed.
struct Line {
    text: String,
    printed: oneshot::Sender<()>,
}

impl Line {
    fn print(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.text)?;
        out.flush()?;
        // A callback that was given up waits for nothing.
        let _told = self.printed.send(());
        Ok(())
    }
}

impl Journal {
    fn open(
        arguments: &Arguments,
    ) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<io::Result<Line>>)> {
        let (lines, printed) = mpsc::unbounded_channel();
        #[cfg(unix)]
        let audit = arguments.record.as_deref().map(Audit::open).transpose();
        let journal = Self {
            lines,
            #[cfg(unix)]
            audit: audit.context("open the audit log")?,
        };
        Ok((journal, printed))
    }

    async fn serve(&self, assignment: &Assignment) -> CallbackResult {
        let Assignment {
            partition,
            role,
            epoch,
            ..
        } = assignment;
        let shard = partition.shard.as_str();
        #[cfg(unix)]
        self.append(Event::Serve {
            shard,
            epoch: epoch.0,
            role: &role.to_string(),
        })?;
        self.print(format!("serve {shard} {epoch} {role}")).await
    }

    async fn delete(&self, assignment: &Assignment) -> CallbackResult {
        let Assignment {
            partition, epoch, ..
        } = assignment;
        let shard = partition.shard.as_str();
        self.print(format!("delete {shard} {epoch}")).await?;
        #[cfg(unix)]
        self.append(Event::Delete {
            shard,
            epoch: epoch.0,
        })?;
        Ok(())
    }

    /// Notes that the worker may serve for this long from now on.
    fn extend(&self, left: Duration) -> CallbackResult {
        #[cfg(unix)]
        self.append(Event::Extend {
            until: Moment::now().after(left),
        })?;
        #[cfg(not(unix))]
        let _unrecorded = left;
        Ok(())
    }

    #[cfg(unix)]
    fn append(&self, event: Event<'_>) -> CallbackResult {
        let Some(audit) = &self.audit else {
            return Ok(());
        };
        audit.append(event).or_else(|error| {
            self.lines.send(Err(error))?;
            Err("the audit log cannot be written".into())
        })
    }

    /// Prints a line, and waits until it is out.
    async fn print(&self, text: String) -> CallbackResult {
        let (printed, waiting) = oneshot::channel();
        self.lines.send(Ok(Line { text, printed }))?;
        Ok(waiting.await?)
    }
}
