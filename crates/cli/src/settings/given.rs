//! What the command line and the environment say.

use std::{collections::BTreeMap, marker::PhantomData, path::PathBuf};

use clap::{Arg, ArgMatches, Command, parser::ValueSource, value_parser};

use super::{CONFIG_VARIABLE, File, HALT_AT, Setting, SettingError, Settings, Source};

/// Which settings a command takes.
pub(crate) trait Family {
    /// Those, in the order of its help.
    const SETTINGS: &'static [&'static Setting];

    /// Those that its help shows apart, below a heading of their own.
    const MORE: (&'static str, &'static [&'static Setting]) = ("", &[]);
}

fn settings<F: Family>() -> impl Iterator<Item = &'static &'static Setting> {
    F::SETTINGS.iter().chain(F::MORE.1)
}

/// The settings of a command as its flags and the environment give them.
#[derive(Debug)]
pub(crate) struct Given<F> {
    config: Option<PathBuf>,
    values: BTreeMap<&'static str, (String, Source)>,
    family: PhantomData<F>,
}

impl<F: Family> Given<F> {
    /// Adds what the file says, and the defaults.
    ///
    /// # Errors
    /// When the file is named and cannot be used.
    pub(crate) fn resolve(&self) -> Result<Settings, SettingError> {
        let file = self.config.as_deref().map(File::read).transpose()?;
        Ok(Settings::new(settings::<F>(), &self.values, file.as_ref()))
    }
}

impl<F: Family> clap::Args for Given<F> {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new("config")
                .long("config")
                .env(CONFIG_VARIABLE)
                .hide_env_values(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A TOML file with settings; each flag is a key of it"),
        );
        let (heading, more) = F::MORE;
        let more = more
            .iter()
            .map(|setting| argument(setting).help_heading(heading));
        let all = F::SETTINGS.iter().map(|setting| argument(setting));
        command.args(all).args(more)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting) -> Arg {
    let help = match (setting.value, setting.default) {
        (Some(_), Some(default)) => format!("{} [default: {default}]", setting.help),
        (None, _) | (_, None) => setting.help.to_owned(),
    };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .env(setting.variable)
        .hide_env_values(true)
        .hide(setting.name == HALT_AT.name)
        .help(help);
    match setting.value {
        Some(value) => argument.value_name(value),
        None => argument
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

impl<F: Family> clap::FromArgMatches for Given<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut values = BTreeMap::new();
        for setting in settings::<F>() {
            let Some(value) = matches.get_one::<String>(setting.name) else {
                continue;
            };
            let source = match matches.value_source(setting.name) {
                Some(ValueSource::EnvVariable) => Source::Variable(setting.variable),
                _ => Source::Flag(setting.name),
            };
            values.insert(setting.name, (value.clone(), source));
        }
        Ok(Self {
            config: matches.get_one("config").cloned(),
            values,
            family: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
