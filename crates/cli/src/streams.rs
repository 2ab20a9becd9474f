//! The streams of libSQL clients, as the settings have them.

use shardwright_server::StreamSettings;

use crate::settings::{ADVERTISE, STREAM_IDLE, SettingError, Settings, TRANSACTION_IDLE};

/// The limits of the streams of a node. Clients are told to come back to it only where --advertise says under which URL they reach it.
///
/// # Errors
/// When a setting is no duration.
pub(crate) fn of(settings: &Settings) -> Result<StreamSettings, SettingError> {
    Ok(StreamSettings {
        idle: settings.duration(&STREAM_IDLE)?,
        transaction_idle: settings.duration(&TRANSACTION_IDLE)?,
        base_url: settings.optional(&ADVERTISE)?,
        ..StreamSettings::default()
    })
}
