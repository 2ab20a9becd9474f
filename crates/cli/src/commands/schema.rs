//! `schema`: changes of the schema in numbered files, made once, on all shards or on none.

mod diff;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use shardwright_coordinator::clock::wall_ms;
use shardwright_registry::Clock;
use shardwright_sql::{Access, Options, ShardedDatabase};
use shardwright_topology::Timestamp;

use crate::{
    client::{Operation, SqlClient},
    cluster::Cluster,
    migrations::{Migration, MigrationError, Planned, State, Target, make, notes, plan},
    output::{self, ListingFormat, Sheet},
};

/// How often an operation is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(250);

/// How operations end.
const ENDS: [&str; 2] = ["done", "aborted"];

/// Change the schema by numbered files, and compare it with them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Apply(Box<Apply>),
    Status(Box<Status>),
    Diff(Box<diff::Diff>),
}

/// Make the migrations that have not been made.
///
/// A migration is a file such as 0007_add_age.sql, with changes of the schema. All of its statements, and the row in the table
/// shardwright_migrations that notes it, are made together: on all shards or on none, whatever dies meanwhile. Before anything is written they are
/// tried. Migrations are made in the order of their numbers, up to the first that is refused; run it again to go on. A file that was made must not
/// change, and none may come before one that was made. Splits, merges and moves of shards are waited for, as long as --timeout says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright schema apply migrations shop --dry-run
  shardwright schema apply migrations --node http://10.0.0.7:7561
  shardwright schema apply migrations --node http://10.0.0.7:7561 --to 7")]
pub(crate) struct Apply {
    #[command(flatten)]
    compared: Compared,

    /// The last migration that is made; by default the last there is.
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,

    /// Say which would be made, and make none.
    #[arg(long)]
    dry_run: bool,
}

/// List the migrations and how they stand, and which changes each shard has.
///
/// A shard whose number is not that of the schema lacks a change that is under way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright schema status migrations shop
  shardwright schema status migrations --node http://10.0.0.7:7561 --shards")]
pub(crate) struct Status {
    #[command(flatten)]
    compared: Compared,

    /// List the shards in place of the migrations.
    #[arg(long)]
    shards: bool,

    /// How the answer is printed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// Files, and the database that they are for.
#[derive(Debug, clap::Args)]
struct Compared {
    /// The directory of the files.
    #[arg(value_name = "FILES")]
    files: PathBuf,

    /// The directory of the database.
    #[arg(
        value_name = "DIR",
        required_unless_present = "node",
        conflicts_with = "node"
    )]
    directory: Option<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,
}

/// What commands work on.
enum Opened {
    Files(Box<ShardedDatabase>),
    Nodes(Box<SqlClient>),
}

impl Compared {
    fn open(&self, access: Access) -> anyhow::Result<Opened> {
        Ok(match &self.directory {
            Some(directory) => {
                let options = Options {
                    access,
                    ..Options::default()
                };
                Opened::Files(Box::new(ShardedDatabase::open(directory, &options)?))
            }
            None => Opened::Nodes(Box::new(self.cluster.client()?)),
        })
    }
}

impl Opened {
    fn target(&self) -> Target<'_> {
        match self {
            Self::Files(database) => Target::Files(database),
            Self::Nodes(client) => Target::Nodes(client),
        }
    }
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Apply(apply) => apply.run(out),
        Command::Status(status) => status.run(out),
        Command::Diff(diff) => diff.run(out),
    }
}

impl Apply {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let files = Migration::read_all(&self.compared.files)?;
        let access = match self.dry_run {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        let opened = self.compared.open(access)?;
        let target = opened.target();
        let noted = notes(&target)?;
        let planned = plan(&files, &noted);
        let last = noted.last().map_or(0, |note| note.version);
        for migration in &planned {
            migration.check(last)?;
        }
        if let Some(version) = self.to
            && !planned.iter().any(|migration| migration.version == version)
        {
            return Err(MigrationError::Unknown { version }.into());
        }
        let pending = |file: &&Migration| {
            let is_it = |planned: &Planned| {
                planned.version == file.version && planned.state == State::Pending
            };
            planned.iter().any(is_it) && self.to.is_none_or(|to| file.version <= to)
        };
        let mut made = 0;
        for migration in files.iter().filter(pending) {
            let name = &migration.name;
            if self.dry_run {
                writeln!(out, "{name} would be made.")?;
                continue;
            }
            if let Opened::Nodes(client) = &opened {
                self.await_operations(client)?;
            }
            make(&target, migration, &now())?;
            writeln!(out, "{name} is made.")?;
            out.flush()?;
            made += 1;
        }
        if !self.dry_run {
            writeln!(out, "{}.", output::count(made, "migration"))?;
        }
        Ok(())
    }

    /// Waits until shards are neither split nor merged nor moved: a change of the schema would end that without effect.
    fn await_operations(&self, client: &SqlClient) -> anyhow::Result<()> {
        let (clock, within) = (Clock::start(), self.compared.cluster.timeout());
        loop {
            let operations: Vec<Operation> = client.get("/api/v1/operations")?;
            let is_over = |operation: &Operation| ENDS.contains(&&*operation.phase);
            let Some(operation) = operations.into_iter().find(|one| !is_over(one)) else {
                return Ok(());
            };
            if clock.now() >= Timestamp(within) {
                let operation = operation.id.unwrap_or(operation.kind);
                return Err(MigrationError::Operation { operation }.into());
            }
            client.pause(LOOK);
        }
    }
}

impl Status {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let files = Migration::read_all(&self.compared.files)?;
        let opened = self.compared.open(Access::ReadOnly)?;
        let target = opened.target();
        let sheet = match self.shards {
            true => shards(&target)?,
            false => migrations(&files, &target)?,
        };
        Ok(output::write_listing(out, self.output, &sheet)?)
    }
}

fn migrations(files: &[Migration], target: &Target<'_>) -> anyhow::Result<Sheet> {
    let mut sheet = Sheet::with_columns(&["version", "name", "state", "made"]);
    for migration in plan(files, &notes(target)?) {
        sheet.rows.push(vec![
            output::number(migration.version),
            output::text(migration.name),
            output::text(migration.state.as_str()),
            output::optional(migration.made.as_deref()),
        ]);
    }
    Ok(sheet)
}

/// Which changes the shards have.
fn shards(target: &Target<'_>) -> anyhow::Result<Sheet> {
    let standing = target.standing()?;
    let mut sheet = Sheet::with_columns(&["shard", "schema", "state"]);
    for place in standing.places {
        let state = match place.number {
            None => "no answer",
            Some(_) if place.is_announced => "changing",
            Some(number) if number < standing.number => "behind",
            Some(_) => "current",
        };
        let number = place.number;
        sheet.rows.push(vec![
            output::text(place.name),
            number.map_or(shardwright_sql::Value::Null, output::number),
            output::text(state),
        ]);
    }
    Ok(sheet)
}

/// The time, for people.
fn now() -> String {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms());
    humantime::format_rfc3339_millis(now).to_string()
}
