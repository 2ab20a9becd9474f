//! One batch on its way through the log, and those who wait for it.

use std::time::Duration;

use shardwright_quorum::log::{
    Level, ReadLevel, ShardLog,
    shard_log::{AppendError, ReadError},
};
use shardwright_topology::{Epoch, Lsn, Timestamp};

use super::{
    copy_file::Changes,
    executor::Request,
    write::{Token, WriteError, Written},
};

/// Those who wait for a batch.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What ran, with what it is answered once that is committed.
    pub(super) ran: Vec<(Request, Vec<u8>)>,
    /// What SQLite refused. That is true only if the data it ran on was the latest, which the commit of the batch shows.
    pub(super) refused: Vec<(Request, WriteError)>,
}

/// How a batch ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It reached its level, at this epoch.
    Reached(Epoch),
    /// The log has gone on, up to this record. These have to run again.
    Outrun { last: Lsn, requests: Vec<Request> },
    /// It was not appended, or nobody knows. All have been told.
    Refused,
}

impl Round {
    /// What is waited for.
    pub(super) fn level(&self) -> Level {
        let first = self.ran.first();
        first.map_or(Level::Quorum, |(request, _)| request.write.level)
    }

    /// Until when the most patient one waits.
    pub(super) fn deadline(&self) -> Timestamp {
        let deadlines = self.ran.iter().map(|(request, _)| request.deadline);
        deadlines.max().unwrap_or_default()
    }

    /// Appends what the batch changed, and answers all who wait: once the data here shows it, if they wait for more than one copy.
    pub(super) async fn append(
        self,
        log: ShardLog,
        Changes {
            entry,
            mut committed,
        }: Changes,
        within: Duration,
    ) -> Ended {
        let level = self.level();
        match log.append(entry, level, within).await {
            Ok(appended) => {
                if level != Level::One {
                    // One that was undone is applied as any other record, and has happened all the same.
                    let _shown = committed.wait_for(|is_so| *is_so).await;
                }
                let (epoch, lsn) = (appended.epoch, appended.lsn);
                self.acknowledge(Token { epoch, lsn });
                Ended::Reached(epoch)
            }
            Err(AppendError::Outrun { last }) => Ended::Outrun {
                last,
                requests: self.into_requests(),
            },
            Err(error) => {
                self.refuse(&not_appended(error));
                Ended::Refused
            }
        }
    }

    /// Answers what SQLite refused, once it is sure that it ran on the latest data, which has all up to `base`. Returns what has to run
    /// again, on data that has come further.
    pub(super) async fn confirm(self, log: &ShardLog, base: Lsn) -> Vec<Request> {
        if self.refused.is_empty() {
            return Vec::new();
        }
        match log.barrier(ReadLevel::Leased).await {
            Ok(seen) if seen <= base => self.answer_refused(),
            // This copy may have become the primary only after they ran.
            Ok(_) => return self.into_requests(),
            Err(error) => self.refuse(&not_confirmed(error)),
        }
        Vec::new()
    }

    fn acknowledge(mut self, token: Token) {
        for (request, outcome) in std::mem::take(&mut self.ran) {
            let repeated = false;
            request.answer(Ok(Written {
                outcome,
                token,
                repeated,
            }));
        }
        self.answer_refused();
    }

    fn answer_refused(self) {
        for (request, error) in self.refused {
            request.answer(Err(error));
        }
    }

    /// Tells all who wait that the batch is not known to be committed.
    fn refuse(self, error: &WriteError) {
        for (request, _) in self.ran {
            request.answer(Err(error.clone()));
        }
        for (request, _) in self.refused {
            // Whatever becomes of the others, these have not happened.
            let error = match error {
                WriteError::Indeterminate => WriteError::Late,
                other => other.clone(),
            };
            request.answer(Err(error));
        }
    }

    fn into_requests(self) -> Vec<Request> {
        let ran = self.ran.into_iter().map(|(request, _)| request);
        let refused = self.refused.into_iter().map(|(request, _)| request);
        ran.chain(refused).collect()
    }
}

fn not_appended(error: AppendError) -> WriteError {
    match error {
        AppendError::NotPrimary { hint } => WriteError::NotPrimary { hint },
        AppendError::Overloaded | AppendError::Outrun { .. } => WriteError::Overloaded,
        AppendError::TooLarge { bytes, max } => WriteError::TooLarge { bytes, max },
        AppendError::NotRunning => WriteError::NotRunning,
        _ => WriteError::Indeterminate,
    }
}

fn not_confirmed(error: ReadError) -> WriteError {
    match error {
        ReadError::NotPrimary { hint } => WriteError::NotPrimary { hint },
        ReadError::Overloaded => WriteError::Overloaded,
        _ => WriteError::NotRunning,
    }
}
