//! The settings in the header of the file that a client may change.

use crate::{Params, Result, Setting, changes::Encoder, connection::Connection};

/// The settings at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings([i32; 2]);

const SETTINGS: [Setting; 2] = [Setting::UserVersion, Setting::ApplicationId];

impl Settings {
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let [version, id] = SETTINGS.map(|setting| read(connection, setting));
        Ok(Self([version?, id?]))
    }

    /// Writes what changed since this moment.
    pub(crate) fn write_changes(
        &self,
        connection: &Connection,
        encoder: &mut Encoder,
    ) -> Result<()> {
        let now = Self::read(connection)?;
        for (setting, (old, new)) in SETTINGS.into_iter().zip(self.0.into_iter().zip(now.0)) {
            if old != new {
                encoder.setting(setting, old, new);
            }
        }
        Ok(())
    }
}

/// Returns the value of a setting.
pub(crate) fn read(connection: &Connection, setting: Setting) -> Result<i32> {
    let sql = match setting {
        Setting::UserVersion => "PRAGMA main.user_version",
        Setting::ApplicationId => "PRAGMA main.application_id",
    };
    let value = connection.query_row(sql, Params::NONE, |row| row.get(0).as_i64())?;
    Ok(value
        .flatten()
        .and_then(|value| i32::try_from(value).ok())
        .unwrap_or(0))
}

/// Changes a setting.
pub(crate) fn write(connection: &Connection, setting: Setting, value: i32) -> Result<()> {
    connection.run_script(&format!("PRAGMA main.{} = {value}", setting.name()))
}
