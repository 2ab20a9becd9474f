//! `config`: what the settings are here, and who says so.

use std::io::Write;

use shardwright_sql::Value;

use crate::{
    output::{self, ListingFormat, Sheet},
    settings::{self, Family, Given, Setting},
};

/// Show the settings of the processes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Show(Box<Show>),
}

/// Print every setting as the flags, the environment and the file give it.
///
/// A flag wins over the variable SHARDWRIGHT_..., the variable over the file that --config names, and the file over
/// the default.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  shardwright config show
  SHARDWRIGHT_CHECK_INTERVAL=1s shardwright config show --config cluster.toml --sources")]
pub(crate) struct Show {
    #[command(flatten)]
    settings: Given<Every>,

    /// Say where each value comes from.
    #[arg(long)]
    sources: bool,

    /// How the settings are listed.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: ListingFormat,
}

/// All settings there are.
#[derive(Debug)]
struct Every;

impl Family for Every {
    const SETTINGS: &'static [&'static Setting] = settings::ALL;
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    let Command::Show(show) = command;
    let values = show.settings.resolve()?;
    let mut sheet = Sheet::with_columns(&["setting", "value"]);
    if show.sources {
        sheet.columns.push("source".to_owned());
    }
    for setting in settings::ALL {
        let (value, source) = match values.text(setting) {
            Some((text, source)) => (output::text(text), output::text(source.to_string())),
            None => (Value::Null, Value::Null),
        };
        let mut row = vec![output::text(setting.name), value];
        if show.sources {
            row.push(source);
        }
        sheet.rows.push(row);
    }
    Ok(output::write_listing(out, show.output, &sheet)?)
}
