//! `sql`: statements from options, from standard input, or from a shell on a terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use shardwright_sql::{Access, Options, ReadLevel, ShardedDatabase, WriteMode};

use crate::client::Writing;
use crate::cluster::Cluster;
use crate::output::Format;
use crate::session::{self, Engine, Files, Flow, Nodes, Remarks, Session};
use crate::shell;

/// Run SQL statements on a sharded database: a directory of files, or a cluster.
///
/// With --node the statements go to the nodes of a cluster, each with a number by which a repetition is known: what was not answered is
/// sent again until the time is up, and happens once. Only a change of the schema or a PRAGMA is not sent again.
///
/// On a terminal this is a shell with line editing and a history; `.help` lists its commands.
/// Otherwise the statements come from -e or from standard input, and the first that fails ends the
/// run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright sql shop
  shardwright sql shop -e 'SELECT * FROM orders WHERE customer_id = 7'
  shardwright sql shop -o json -e 'SELECT count(*) FROM orders' -e 'SELECT 1'
  shardwright sql shop -o csv < report.sql > report.csv
  shardwright sql --node http://127.0.0.1:7557 -e 'SELECT count(*) FROM orders'
  shardwright sql shop -e '.explain SELECT sum(amount) FROM orders'

As JSON each statement gives one line: {\"columns\": [...], \"rows\": [[...]]}. Integers keep all 64
bits, a REAL has a point or an exponent, an infinity is {\"real\": \"inf\"}, a blob {\"base64\": \"...\"},
text that is not UTF-8 {\"text_base64\": \"...\"}. A statement without columns also gives \"changes\".")]
pub(crate) struct Arguments {
    /// The directory of the database.
    #[arg(
        value_name = "DIR",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    directory: Option<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,

    /// Statements to run, or a dot command; may be given several times.
    #[arg(short = 'e', long = "execute", value_name = "SQL")]
    statements: Vec<String>,

    /// Only read, also while another process has the database open for writing.
    #[arg(long, conflicts_with = "node")]
    read_only: bool,

    /// Let a statement write to several shards, one after the other: if one fails, those before it
    /// have committed.
    #[arg(long, conflicts_with = "read_only")]
    best_effort: bool,

    /// Let reads of several shards see every commit on all of its shards or on none.
    #[arg(long)]
    consistent: bool,

    /// How answers are printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    fn engine(&self) -> anyhow::Result<Box<dyn Engine>> {
        if let Some(directory) = &self.directory {
            let database = ShardedDatabase::open(directory, &self.options())?;
            return Ok(Box::new(Files::new(database)));
        }
        let writing = if self.best_effort {
            Writing::BestEffort
        } else {
            Writing::Atomic
        };
        let client = self.cluster.client()?;
        let client = if self.consistent {
            client.consistent()
        } else {
            client
        };
        Ok(Box::new(Nodes::new(client, writing)))
    }

    fn options(&self) -> Options {
        Options {
            access: if self.read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
            write_mode: if self.best_effort {
                WriteMode::BestEffort
            } else {
                WriteMode::Atomic
            },
            read_level: if self.consistent {
                ReadLevel::Consistent
            } else {
                ReadLevel::PerShard
            },
            ..Options::default()
        }
    }
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let engine = arguments.engine()?;
    let is_shell =
        arguments.statements.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal();
    let remarks = if is_shell {
        Remarks::Footer
    } else {
        Remarks::Silent
    };
    let mut session = Session::new(engine, arguments.output, remarks, out);
    if is_shell {
        return shell::run(&mut session);
    }
    if arguments.statements.is_empty() {
        return run_lines(&mut session, io::stdin().lock());
    }
    for statements in &arguments.statements {
        if session.run(statements)? == Flow::Quit {
            break;
        }
    }
    Ok(())
}

/// Runs statements as soon as they are whole, so that a program may wait for an answer before it
/// writes the next one. The last needs no semicolon.
fn run_lines(session: &mut Session<'_>, input: impl BufRead) -> anyhow::Result<()> {
    let mut pending = String::new();
    for line in input.lines() {
        pending.push_str(&line.context("read statements from standard input")?);
        pending.push('\n');
        if session::is_complete(&pending) {
            if session.run(&pending)? == Flow::Quit {
                return Ok(());
            }
            pending.clear();
        }
    }
    session.run(&pending)?;
    Ok(())
}
