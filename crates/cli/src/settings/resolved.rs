//! The settings of a command with all sources taken together, each with the source that won.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{File, Setting, SettingError};

/// Who said what a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Variable(&'static str),
    /// The file of settings.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// The settings of a command.
#[derive(Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Settings {
    pub(crate) fn new<'a>(
        settings: impl IntoIterator<Item = &'a &'static Setting>,
        given: &BTreeMap<&'static str, (String, Source)>,
        file: Option<&File>,
    ) -> Self {
        let mut values = BTreeMap::new();
        for setting in settings {
            let of_file = || {
                let file = file?;
                let value = file.get(setting)?;
                Some((value.to_owned(), Source::File(file.path().to_owned())))
            };
            let of_default = || Some((setting.default?.to_owned(), Source::Default));
            let value = given.get(setting.name).cloned();
            if let Some(value) = value.or_else(of_file).or_else(of_default) {
                values.insert(setting.name, value);
            }
        }
        Self { values }
    }

    /// The text of `setting` and its source.
    pub(crate) fn text(&self, setting: &Setting) -> Option<(&str, &Source)> {
        let (text, source) = self.values.get(setting.name)?;
        Some((text, source))
    }

    /// The value of `setting`, if it is set.
    pub(crate) fn optional<T>(&self, setting: &'static Setting) -> Result<Option<T>, SettingError>
    where
        T: FromStr<Err: Display>,
    {
        let Some((text, source)) = self.text(setting) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|reason| invalid(setting, text, source, &reason))
    }

    /// The value of `setting`, which has to be set.
    pub(crate) fn required<T>(&self, setting: &'static Setting) -> Result<T, SettingError>
    where
        T: FromStr<Err: Display>,
    {
        self.optional(setting)?.ok_or(SettingError::Missing {
            name: setting.name,
            variable: setting.variable,
        })
    }

    /// The values of `setting`, which are separated by commas.
    pub(crate) fn list<T>(&self, setting: &'static Setting) -> Result<Vec<T>, SettingError>
    where
        T: FromStr<Err: Display>,
    {
        let Some((text, source)) = self.text(setting) else {
            return Ok(Vec::new());
        };
        text.split(',')
            .map(|item| {
                let parsed = item.trim().parse();
                parsed.map_err(|reason| invalid(setting, text, source, &reason))
            })
            .collect()
    }

    /// The number of `setting`, which has to be set and at least 1.
    pub(crate) fn count(&self, setting: &'static Setting) -> Result<u32, SettingError> {
        self.required(setting).map(NonZeroU32::get)
    }

    /// The duration of `setting`, such as `250ms`, `5s` or `2m`, which has to be set and longer than nothing.
    pub(crate) fn duration(&self, setting: &'static Setting) -> Result<Duration, SettingError> {
        self.required(setting).map(|Period(duration)| duration)
    }
}

/// A duration that is longer than nothing.
struct Period(Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        if duration.is_zero() {
            return Err("it has to be longer than nothing".to_owned());
        }
        Ok(Self(duration))
    }
}

/// The error for a value that is not of its setting's kind.
pub(crate) fn invalid(
    setting: &Setting,
    text: &str,
    source: &Source,
    reason: &dyn Display,
) -> SettingError {
    SettingError::Invalid {
        name: setting.name,
        value: text.to_owned(),
        source_of: source.clone(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{CHECK_INTERVAL, COORDINATOR, HEARTBEAT_TIMEOUT, LISTEN, SHARDS},
        *,
    };

    fn settings(given: &[(&'static Setting, &str, Source)]) -> Settings {
        let given = given
            .iter()
            .map(|(setting, text, source)| (setting.name, ((*text).to_owned(), source.clone())))
            .collect();
        let all = [
            &CHECK_INTERVAL,
            &COORDINATOR,
            &HEARTBEAT_TIMEOUT,
            &LISTEN,
            &SHARDS,
        ];
        let file = File::parse(
            "s.toml".as_ref(),
            "check-interval = \"1s\"\nheartbeat-timeout = \"3x\"",
        )
        .unwrap();
        Settings::new(&all, &given, Some(&file))
    }

    #[test]
    fn what_is_given_wins_over_the_file_and_the_file_over_the_default() {
        let none = settings(&[]);
        assert_eq!(none.required::<u32>(&SHARDS).unwrap(), 8);
        assert_eq!(none.text(&SHARDS).unwrap().1, &Source::Default);
        assert_eq!(
            none.duration(&CHECK_INTERVAL).unwrap(),
            Duration::from_secs(1)
        );

        let variable = Source::Variable(CHECK_INTERVAL.variable);
        let given = settings(&[(&CHECK_INTERVAL, "250ms", variable.clone())]);
        let (text, source) = given.text(&CHECK_INTERVAL).unwrap();
        assert_eq!((text, source), ("250ms", &variable));
    }

    #[test]
    fn an_error_names_the_source() {
        let error = settings(&[]).duration(&HEARTBEAT_TIMEOUT).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("heartbeat-timeout = \"3x\" from s.toml: "),
            "{text}"
        );
        let nothing = [(&CHECK_INTERVAL, "0s", Source::Flag("check-interval"))];
        assert_eq!(
            settings(&nothing)
                .duration(&CHECK_INTERVAL)
                .unwrap_err()
                .to_string(),
            "check-interval = \"0s\" from --check-interval: it has to be longer than nothing"
        );
        let missing = settings(&[]).required::<String>(&LISTEN).unwrap_err();
        assert_eq!(missing.to_string(), "listen is not set");
        assert_eq!(
            missing.hint().unwrap(),
            "give --listen, set SHARDWRIGHT_LISTEN, or write listen in the file that --config names"
        );
    }

    #[test]
    fn a_list_is_separated_by_commas() {
        let given = settings(&[(
            &COORDINATOR,
            "http://a, http://b",
            Source::Flag("coordinator"),
        )]);
        assert_eq!(
            given.list::<String>(&COORDINATOR).unwrap(),
            ["http://a", "http://b"]
        );
    }
}
