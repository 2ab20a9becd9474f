//! What a process logs, and where: standard error.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::EnvFilter;

use crate::settings::{LOG, SettingError, Settings, Source, invalid};

/// What is logged where nobody says otherwise.
const DEFAULT: &str = "info";

/// Starts logging, as --log says, or else `RUST_LOG`.
///
/// # Errors
/// When the filter is none. Nothing is logged then.
pub(crate) fn start(settings: &Settings) -> Result<(), SettingError> {
    let ambient = env::var("RUST_LOG").ok();
    let ambient_source = Source::Variable("RUST_LOG");
    let (text, source) = match (settings.text(&LOG), &ambient) {
        (Some(given), _) => given,
        (None, Some(text)) => (text.as_str(), &ambient_source),
        (None, None) => (DEFAULT, &Source::Default),
    };
    let filter = EnvFilter::try_new(text).map_err(|error| invalid(&LOG, text, source, &error))?;
    // A line that cannot be written, because the disk is full, is no reason to end.
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
