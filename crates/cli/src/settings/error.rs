//! What can be wrong with a setting, and who said it.

use std::path::PathBuf;

use super::Source;

/// A setting cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    /// The value is not of the setting's kind.
    #[error("{name} = {value:?} from {source_of}: {reason}")]
    Invalid {
        name: &'static str,
        value: String,
        source_of: Source,
        reason: String,
    },
    /// The command needs the setting, and nobody gives it.
    #[error("{name} is not set")]
    Missing {
        name: &'static str,
        variable: &'static str,
    },
    /// The file cannot be read.
    #[error("read the settings in {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    /// The file has a key that is no setting.
    #[error("{} has the key {key:?}, which is no setting", path.display())]
    UnknownKey { path: PathBuf, key: String },
    /// The file has a key whose value is a table, or a list of something else than texts.
    #[error("{} gives {name} a value that is no text, number or list of texts", path.display())]
    WrongKind { path: PathBuf, name: &'static str },
    /// The settings are not safe.
    #[error("{refusal}")]
    Refused {
        refusal: &'static str,
        remedy: &'static str,
    },
}

impl SettingError {
    /// The code that programs recognise it by.
    pub(crate) fn code(&self) -> &'static str {
        if self.is_refusal() {
            "UNSAFE"
        } else {
            "SETTING"
        }
    }

    /// Whether the settings could be used, and it would not be safe.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { name, variable } => Some(format!(
                "give --{name}, set {variable}, or write {name} in the file that --config names"
            )),
            Self::UnknownKey { .. } => {
                Some("`shardwright config show` lists the settings".to_owned())
            }
            Self::Refused { remedy, .. } => Some((*remedy).to_owned()),
            Self::Invalid { .. }
            | Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::WrongKind { .. } => None,
        }
    }
}
