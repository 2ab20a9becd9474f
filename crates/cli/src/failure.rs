//! How a command fails: what is printed on standard error, and the exit code.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use shardwright_coordinator::http::{BindError, InvalidToken};

use crate::backup::BackupError;
use crate::client::{ClientError, SqlError};
use crate::interrupt::{self, Interrupted};
use crate::migrations::MigrationError;
use crate::settings::SettingError;
use crate::transfer::JournalError;

const ERROR: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;
const TIMED_OUT: u8 = 4;

/// A failure that is the command's own, not the library's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// At least one of the demo's answers is not that of one SQLite file.
    #[error("{different} of {questions} answers differ from one SQLite file's")]
    DemoDiffers { different: usize, questions: usize },
    /// Something that a cluster acknowledged is not there.
    #[error("{lost} rows that were acknowledged are not there")]
    DemoLost { lost: usize },
    /// A split or a merge ended without effect, again and again.
    #[error("the operation {id} ended without effect: {why}")]
    DemoAborted { id: String, why: String },
    /// A process of the demo did not start.
    #[error("the process {name} did not start: {said}")]
    NotStarted { name: String, said: String },
    /// A line that starts with a dot names no command.
    #[error("there is no command .{name}")]
    UnknownDotCommand { name: String },
    /// A dot command looks into files, and there is a node.
    #[error(".{name} looks into the files of a directory, and a node was named")]
    NeedsFiles { name: &'static str },
    /// A dot command was given something that it does not take.
    #[error(".{name} takes {takes}, not {given:?}")]
    DotArgument {
        name: &'static str,
        takes: &'static str,
        given: String,
    },
    /// Options say two different things about one table.
    #[error("table {table} is given to more than one of --shard-key, --reference and --global")]
    ContradictoryOptions { table: String },
    /// The cluster has something under names that are to be given.
    #[error("the cluster has {} already", names.join(", "))]
    NamesTaken { names: Vec<String> },
    /// Something of a database cannot be brought into a cluster.
    #[error("this cannot be brought into a cluster: {}", unfit.join("; "))]
    Unfit { unfit: Vec<String> },
    /// A table of a file says something else than is asked for.
    #[error("the comment in CREATE TABLE {table} declares something else")]
    DeclaredOtherwise { table: String },
    /// The tables of a directory are what they are.
    #[error("the tables of a directory are declared already")]
    DirectoryIsDeclared,
    /// Not all rows came, or more.
    #[error("not as many rows as there were: {}", differing.join(", "))]
    CountsDiffer { differing: Vec<String> },
    /// A worker left before others could take what it served.
    #[error("not everything was handed over in time")]
    NotHandedOver,
    /// What a command waits for is not so yet.
    #[error("not done in time: {waits}")]
    NotDone { waits: String },
    /// A split, a merge or a move had no effect.
    #[error("operation {operation} had no effect: {reason}")]
    Aborted { operation: String, reason: String },
    /// Not all moves of a plan were done.
    #[error("plan {plan} is over, and not all of it was done: {left}; plan again")]
    GivenUp { plan: String, left: String },
    /// A directory has the copies of more nodes than are to run.
    #[error("{} has the copies of {there} nodes, and {asked} are to run", directory.display())]
    FewerNodes {
        directory: PathBuf,
        there: u32,
        asked: u32,
    },
    /// The doctor found something.
    #[error("{bad} of the checks found something wrong")]
    Unhealthy { bad: usize },
    /// The keyspace has no shard for the key.
    #[error("no shard of the keyspace {keyspace} holds the key {key:?}")]
    NoShard { key: String, keyspace: String },
}

/// What is said about a failure: its code and remedy, and the exit code.
struct Report {
    code: String,
    hint: Option<String>,
    exit: u8,
}

/// Prints why the command failed and returns its exit code. A reader of our output that went away,
/// as `head` does, is no failure.
pub(crate) fn report(error: &anyhow::Error, flushed: &io::Result<()>) -> ExitCode {
    if is_broken_pipe(error) || flushed.as_ref().is_err_and(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let report = describe(error);
    // Where standard error is closed, the exit code has to do.
    let _printed = print(error, &report);
    ExitCode::from(report.exit)
}

/// Prints why a statement of a shell failed. Fails itself when nobody reads the answers any more.
pub(crate) fn report_and_go_on(error: anyhow::Error) -> anyhow::Result<()> {
    if is_broken_pipe(&error) {
        return Err(error);
    }
    Ok(print(&error, &describe(&error))?)
}

fn print(error: &anyhow::Error, report: &Report) -> io::Result<()> {
    let mut err = io::stderr().lock();
    writeln!(err, "error[{}]: {}", report.code, message(error))?;
    match &report.hint {
        Some(hint) => writeln!(err, "hint: {hint}"),
        None => Ok(()),
    }
}

/// The error and its causes, leaving out a cause whose text the one before it ends with.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.ends_with(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

fn describe(error: &anyhow::Error) -> Report {
    error.chain().find_map(describe_cause).unwrap_or(Report {
        code: "IO".to_owned(),
        hint: None,
        exit: ERROR,
    })
}

fn describe_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Report> {
    if let Some(error) = cause.downcast_ref::<shardwright_sql::Error>() {
        let exit = if error.is_refusal() { REFUSED } else { ERROR };
        return Some(Report {
            code: error.code().to_owned(),
            hint: hint(error),
            exit,
        });
    }
    if let Some(error) = cause.downcast_ref::<SettingError>() {
        return Some(Report {
            code: error.code().to_owned(),
            hint: error.hint(),
            exit: if error.is_refusal() { REFUSED } else { USAGE },
        });
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(of_client(error));
    }
    if let Some(error) = cause.downcast_ref::<SqlError>() {
        return Some(of_node(error));
    }
    if let Some(error) = cause.downcast_ref::<JournalError>() {
        return Some(of_journal(error));
    }
    if let Some(error) = cause.downcast_ref::<BackupError>() {
        return Some(of_backup(error));
    }
    if let Some(error) = cause.downcast_ref::<MigrationError>() {
        return Some(of_migration(error));
    }
    if let Some(error) = cause.downcast_ref::<BindError>() {
        return Some(of_bind(error));
    }
    if let Some(error) = cause.downcast_ref::<InvalidToken>() {
        return Some(of_token(error));
    }
    if cause.is::<Interrupted>() {
        return Some(Report {
            code: "INTERRUPTED".to_owned(),
            hint: None,
            exit: interrupt::EXIT_CODE,
        });
    }
    cause.downcast_ref().map(Failure::report)
}

fn of_bind(error: &BindError) -> Report {
    let (code, exit) = match error {
        BindError::NeedsToken { .. } => ("UNSAFE", REFUSED),
        BindError::NoAddress { .. } => ("SETTING", USAGE),
        _ => ("LISTEN", ERROR),
    };
    Report {
        code: code.to_owned(),
        hint: None,
        exit,
    }
}

fn of_token(error: &InvalidToken) -> Report {
    let hint = match error {
        InvalidToken::Malformed => Some("write one to the file, on one line"),
        InvalidToken::BadLine { .. } => Some("write a role and a token, such as `read TOKEN`"),
        _ => None,
    };
    Report {
        code: "TOKEN_FILE".to_owned(),
        hint: hint.map(str::to_owned),
        exit: ERROR,
    }
}

fn of_client(error: &ClientError) -> Report {
    Report {
        code: error.code().to_owned(),
        hint: error.hint().map(str::to_owned),
        exit: exit_after(error.is_refusal(), error.is_timeout()),
    }
}

fn of_node(error: &SqlError) -> Report {
    Report {
        code: error.code().to_owned(),
        hint: error.hint().map(str::to_owned),
        exit: exit_after(error.is_refusal(), error.is_timeout()),
    }
}

/// The exit code after an answer of a server, or none.
fn exit_after(is_refusal: bool, is_timeout: bool) -> u8 {
    match (is_refusal, is_timeout) {
        (true, _) => REFUSED,
        (false, true) => TIMED_OUT,
        (false, false) => ERROR,
    }
}

fn of_journal(error: &JournalError) -> Report {
    Report {
        code: "JOURNAL".to_owned(),
        hint: error.hint().map(str::to_owned),
        exit: if error.is_refusal() { REFUSED } else { ERROR },
    }
}

fn of_backup(error: &BackupError) -> Report {
    Report {
        code: error.code().to_owned(),
        hint: error.hint().map(str::to_owned),
        exit: exit_after(error.is_refusal(), false),
    }
}

fn of_migration(error: &MigrationError) -> Report {
    Report {
        code: error.code().to_owned(),
        hint: error.hint().map(str::to_owned),
        exit: exit_after(error.is_refusal(), error.is_timeout()),
    }
}

/// The library's hint, in words of the command line where those differ.
fn hint(error: &shardwright_sql::Error) -> Option<String> {
    let words = match error {
        shardwright_sql::Error::AmbiguousKey { .. } => "say with --table which table's key it is",
        shardwright_sql::Error::MultiShardWrite { .. } => {
            "write by key, one shard at a time, or let `sql --best-effort` write shard after shard"
        }
        shardwright_sql::Error::Locked { .. } => {
            "close the other process, or read with `sql --read-only`"
        }
        other => return other.hint(),
    };
    Some(words.to_owned())
}

impl Failure {
    fn report(&self) -> Report {
        let (code, hint, exit) = match self {
            Self::DemoDiffers { .. } => ("DEMO_DIFFERS", None, ERROR),
            Self::DemoLost { .. } => ("DEMO_LOST", None, ERROR),
            Self::DemoAborted { .. } => ("DEMO_ABORTED", None, ERROR),
            Self::NotStarted { .. } => ("NOT_STARTED", None, ERROR),
            Self::UnknownDotCommand { .. } => ("USAGE", Some(".help lists the commands"), ERROR),
            Self::NeedsFiles { .. } => (
                "USAGE",
                Some("`shardwright status` shows the shards of a cluster"),
                ERROR,
            ),
            Self::DotArgument { .. } => ("USAGE", Some(".help lists the commands"), ERROR),
            Self::ContradictoryOptions { .. } => ("USAGE", Some("name a table once"), USAGE),
            Self::NamesTaken { .. } => (
                "EXISTS",
                Some("drop or rename them; an import that was interrupted goes on with --resume"),
                REFUSED,
            ),
            Self::Unfit { .. } => (
                "UNFIT",
                Some("nothing has been made; mend it in a copy of the file, and import that"),
                REFUSED,
            ),
            Self::DeclaredOtherwise { .. } => (
                "DECLARED_OTHERWISE",
                Some("leave the option out, or change the comment in the file"),
                REFUSED,
            ),
            Self::DirectoryIsDeclared => (
                "USAGE",
                Some("leave --shard-key, --reference, --global and --keep-null-keys out"),
                USAGE,
            ),
            Self::CountsDiffer { .. } => (
                "COUNTS_DIFFER",
                Some("did anybody else write to these tables meanwhile?"),
                ERROR,
            ),
            Self::NotHandedOver => (
                "NOT_HANDED_OVER",
                Some("others take it over once the lease has run out"),
                TIMED_OUT,
            ),
            Self::NotDone { .. } => (
                "NOT_DONE",
                Some("it goes on; `shardwright status` shows what is missing"),
                TIMED_OUT,
            ),
            Self::Aborted { .. } => ("ABORTED", None, ERROR),
            Self::GivenUp { .. } => ("GIVEN_UP", None, ERROR),
            Self::FewerNodes { .. } => (
                "FEWER_NODES",
                Some(
                    "leave --nodes out, or name another directory: shards would lack the copies of the others",
                ),
                REFUSED,
            ),
            Self::Unhealthy { .. } => ("UNHEALTHY", None, ERROR),
            Self::NoShard { .. } => (
                "UNKNOWN_SHARD",
                Some("`shard list` shows the shards of each keyspace"),
                ERROR,
            ),
        };
        Report {
            code: code.to_owned(),
            hint: hint.map(str::to_owned),
            exit,
        }
    }
}

/// Whether what is printed could not be: that is an error of its own. One behind another error broke elsewhere, such as a connection.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(broken_pipe)
}

fn broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_not_said_twice() {
        let library = shardwright_sql::Error::Io {
            action: "read",
            path: "shop".to_owned(),
            source: io::Error::other("no such device"),
        };
        let error = Err::<(), _>(library)
            .context("open the database")
            .unwrap_err();
        assert_eq!(
            message(&error),
            "open the database: read shop: no such device"
        );
        assert_eq!(describe(&error).code, "IO");
    }

    #[test]
    fn a_refusal_exits_with_3() {
        let refusal = shardwright_sql::Error::NoPrimaryKey {
            table: "notes".to_owned(),
            remedy: "CREATE TABLE notes_new(id INTEGER PRIMARY KEY)".to_owned(),
        };
        let report = describe(&refusal.into());
        assert_eq!((report.code.as_str(), report.exit), ("NO_PRIMARY_KEY", 3));
        assert!(report.hint.is_some());
    }

    #[test]
    fn a_closed_pipe_is_recognised_behind_its_context() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = Err::<(), _>(closed)
            .context("print the answer")
            .unwrap_err();
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&Interrupted.into()));
        let elsewhere = JournalError::Io {
            path: "journal".into(),
            source: io::ErrorKind::BrokenPipe.into(),
        };
        assert!(!is_broken_pipe(&elsewhere.into()));
    }
}
