//! A process that stands still where a test wants it to: between two steps of an operation.

use std::{fmt, str::FromStr};

use shardwright_topology::Halts;

use crate::settings::{HALT_AT, SettingError, Settings};

/// Where to stand still: a gap by its name, and for the how many-th time, as in `split/sealed` and `merge/planned/held#2`.
struct HaltAt<G> {
    gap: G,
    nth: u32,
}

impl<G: FromStr<Err: fmt::Display>> FromStr for HaltAt<G> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, nth) = text.rsplit_once('#').unwrap_or((text, "1"));
        let gap = name.parse().map_err(|error: G::Err| error.to_string())?;
        match nth.parse() {
            Ok(nth) if nth > 0 => Ok(Self { gap, nth }),
            _ => Err(format!("{nth} is no number from 1 on")),
        }
    }
}

/// Returns what has the process stand still in the gap that its settings name, if they do.
///
/// # Errors
/// When there is no such gap.
pub(crate) fn of<G>(settings: &Settings) -> Result<Halts<G>, SettingError>
where
    G: FromStr<Err: fmt::Display> + fmt::Display + PartialEq + Send + Sync + 'static,
{
    let Some(HaltAt { gap, nth }) = settings.optional(&HALT_AT)? else {
        return Ok(Halts::default());
    };
    tracing::warn!(%gap, nth, "this process will stand still for a test, and serves nobody from then on");
    Ok(Halts::at(gap, nth, stand_still))
}

/// Stops the whole process, and this thread for good: whoever lets it go on sees it do anything but what follows the gap.
fn stand_still(gap: impl fmt::Display) {
    tracing::warn!("halted at {gap}");
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process};
        if let Err(error) = kill_process(getpid(), Signal::STOP) {
            tracing::error!(%error, "the other threads go on");
        }
    }
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use shardwright_server::shard::CopyGap;
    use shardwright_topology::Gap;

    use super::*;

    #[test]
    fn a_gap_is_named_with_or_without_a_number() {
        let at = |text: &str| {
            let found = text.parse::<HaltAt<Gap>>();
            found.map(|found| (found.gap.to_string(), found.nth)).ok()
        };
        assert_eq!(at("split/sealed"), Some(("split/sealed".into(), 1)));
        assert_eq!(
            at("merge/planned/held#2"),
            Some(("merge/planned/held".into(), 2))
        );
        for refused in ["split", "copy/cut", "split/sealed#0", "split/sealed#"] {
            assert_eq!(at(refused), None, "{refused}");
        }
        assert!("copy/cut#3".parse::<HaltAt<CopyGap>>().is_ok());
    }
}
