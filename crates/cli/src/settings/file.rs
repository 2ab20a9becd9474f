//! The TOML file of the settings: one key per setting, all at the top level.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{ALL, Setting, SettingError};

/// What a file says, each value as one would write it behind the flag.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: PathBuf,
    values: BTreeMap<&'static str, String>,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has a key that is no setting.
    pub(crate) fn read(path: &Path) -> Result<Self, SettingError> {
        let text = fs::read_to_string(path).map_err(|source| SettingError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// When it is not TOML, or has a key that is no setting.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, SettingError> {
        let table: Table = text.parse().map_err(|source| SettingError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let setting = ALL
                .iter()
                .find(|setting| setting.name == key)
                .ok_or_else(|| SettingError::UnknownKey {
                    path: path.to_owned(),
                    key,
                })?;
            let text = as_flag(&value).ok_or_else(|| SettingError::WrongKind {
                path: path.to_owned(),
                name: setting.name,
            })?;
            values.insert(setting.name, text);
        }
        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// The file's own path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The value of `setting`.
    pub(super) fn get(&self, setting: &Setting) -> Option<&str> {
        self.values.get(setting.name).map(String::as_str)
    }
}

/// The value as it stands behind a flag: a list is separated by commas.
fn as_flag(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is_on) => Some(is_on.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(items?.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::CHECK_INTERVAL, *};

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let error = File::parse(Path::new("s.toml"), text).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }

    #[test]
    fn numbers_switches_and_lists_are_as_behind_a_flag() {
        let text = "shards = 16\nallow-short-leases = true\ncheck-interval = \"250ms\"\n\
                    coordinator = [\"http://a\", \"http://b\"]\n";
        let file = File::parse(Path::new("s.toml"), text).unwrap();
        assert_eq!(file.get(&super::super::SHARDS), Some("16"));
        assert_eq!(file.get(&super::super::ALLOW_SHORT_LEASES), Some("true"));
        assert_eq!(file.get(&CHECK_INTERVAL), Some("250ms"));
        assert_eq!(
            file.get(&super::super::COORDINATOR),
            Some("http://a,http://b")
        );
        assert_eq!(file.get(&super::super::LISTEN), None);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_name() {
        refused(
            "check_interval = \"5s\"",
            "s.toml has the key \"check_interval\", which is no setting",
        );
        refused(
            "shards = 1.5",
            "s.toml gives shards a value that is no text, number or list of texts",
        );
        refused("shards", "s.toml is not TOML");
    }
}
