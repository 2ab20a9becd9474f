//! `backup`: what all shards of a cluster held at one moment, kept in a directory.

mod restore;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde_json::json;
use shardwright_coordinator::clock::wall_ms;
use shardwright_server::backup::PATH;

use crate::{
    backup::{Manifest, Shelf, Shelved, Standing, check, receive},
    cluster::Cluster,
    interrupt::Interrupt,
    output::{self, ListingFormat, Sheet},
    progress,
};

/// Make, check and restore backups of a cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Create(Box<Create>),
    List(List),
    Verify(Verify),
    Restore(Box<restore::Restore>),
    Prune(Prune),
}

/// Keep what all shards hold at one moment.
///
/// Everything that was acknowledged before the command began is in the backup, and nothing that began after it has ended; what commits over
/// several shards meanwhile is in it whole or not at all. Writes go on. The nodes need room for a copy of each shard until it has been sent. What is interrupted
/// leaves no backup.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright backup create backups --node http://10.0.0.7:7561
  shardwright backup create backups --name before-upgrade --node http://10.0.0.7:7561 --timeout 6h")]
pub(crate) struct Create {
    /// The directory of the backups, made if it is not there.
    #[arg(value_name = "DIR")]
    shelf: PathBuf,

    /// The name of the backup; by default the time.
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    cluster: Cluster,
}

/// List backups, the oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright backup list backups
  shardwright backup list backups -o json")]
pub(crate) struct List {
    /// The directory of the backups.
    #[arg(value_name = "DIR")]
    shelf: PathBuf,

    /// How they are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// Compare the files of a backup with its manifest, and have SQLite look at them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright backup verify backups
  shardwright backup verify backups --name before-upgrade")]
pub(crate) struct Verify {
    #[command(flatten)]
    chosen: Chosen,
}

/// Remove all backups but the newest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright backup prune backups --keep 7 --dry-run
  shardwright backup prune backups --keep 7 --unfinished")]
pub(crate) struct Prune {
    /// The directory of the backups.
    #[arg(value_name = "DIR")]
    shelf: PathBuf,

    /// How many are kept, at least one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep: u64,

    /// Remove what was interrupted, too: nobody may be making a backup there now.
    #[arg(long)]
    unfinished: bool,

    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A backup of a directory.
#[derive(Debug, clap::Args)]
struct Chosen {
    /// The directory of the backups.
    #[arg(value_name = "DIR")]
    shelf: PathBuf,

    /// The name of the backup; by default the newest.
    #[arg(long)]
    name: Option<String>,
}

impl Chosen {
    /// Where it is, and what it says of itself.
    fn open(&self) -> anyhow::Result<(PathBuf, Manifest)> {
        let shelf = Shelf::new(&self.shelf);
        let path = match &self.name {
            Some(name) => shelf.place(name)?,
            None => shelf.latest()?,
        };
        let manifest = Manifest::read(&path)?;
        Ok((path, manifest))
    }
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => create.run(out),
        Command::List(list) => list.run(out),
        Command::Verify(verify) => verify.run(out),
        Command::Restore(restore) => restore.run(out),
        Command::Prune(prune) => prune.run(out),
    }
}

impl Create {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let shelf = Shelf::new(&self.shelf);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(wall_ms());
        let created = humantime::format_rfc3339_millis(now).to_string();
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| created.replace(':', "-"));
        shelf.place(&name)?;
        let interrupt = Interrupt::catch()?;
        let client = self.cluster.client()?;
        let wish = json!({ "timeout_ms": self.cluster.timeout().as_millis() });
        let mut answer = client.stream(PATH, &wish)?;
        let bar = progress::waiting();
        let received = receive(&shelf, &name, &created, &mut answer, &mut |bytes| {
            bar.set_message(format!("{} bytes", output::grouped(bytes)));
            Ok(interrupt.check()?)
        });
        bar.finish_and_clear();
        let (path, manifest) = received?;
        let shards = output::count(manifest.shards.len() as u64, "shard");
        let bytes = output::count(manifest.bytes(), "byte");
        writeln!(
            out,
            "{shards} and the catalog, {bytes}, are in {}.",
            path.display()
        )?;
        Ok(())
    }
}

impl List {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let columns = ["name", "state", "created", "shards", "bytes", "schema"];
        let mut sheet = Sheet::with_columns(&columns);
        for Shelved { name, standing, .. } in Shelf::new(&self.shelf).list()? {
            let (state, manifest) = match standing {
                Standing::Complete(manifest) => ("complete".to_owned(), Some(manifest)),
                Standing::Unfinished => ("unfinished".to_owned(), None),
                Standing::Unreadable(why) => (why, None),
            };
            let of = |number: fn(&Manifest) -> u64| {
                let number = manifest.as_deref().map(number);
                number.map_or(shardwright_sql::Value::Null, output::number)
            };
            let created = manifest.as_deref().map(|manifest| &*manifest.created);
            sheet.rows.push(vec![
                output::text(name),
                output::text(state),
                output::optional(created),
                of(|manifest| manifest.shards.len() as u64),
                of(Manifest::bytes),
                of(|manifest| manifest.schema),
            ]);
        }
        Ok(output::write_listing(out, self.output, &sheet)?)
    }
}

impl Verify {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (path, manifest) = self.chosen.open()?;
        check(&path, &manifest)?;
        let files = output::count(manifest.files.len() as u64, "file");
        writeln!(out, "{} is whole: {files}.", path.display())?;
        Ok(())
    }
}

impl Prune {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let listed = Shelf::new(&self.shelf).list()?;
        let (complete, others): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|shelved| matches!(shelved.standing, Standing::Complete(_)));
        let keep = usize::try_from(self.keep).unwrap_or(usize::MAX);
        let old = complete.len().saturating_sub(keep);
        // What cannot be read is left for people to look at.
        let interrupted = others
            .iter()
            .filter(|shelved| self.unfinished && matches!(shelved.standing, Standing::Unfinished));
        for shelved in complete.iter().take(old).chain(interrupted) {
            if self.dry_run {
                writeln!(out, "{} would be removed.", shelved.name)?;
            } else {
                shelved.remove()?;
                writeln!(out, "{} is removed.", shelved.name)?;
            }
        }
        let kept = output::count((complete.len() - old) as u64, "backup");
        let are = if self.dry_run { "would be" } else { "is" };
        writeln!(out, "What {are} left: {kept}.")?;
        Ok(())
    }
}
