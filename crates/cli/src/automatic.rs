//! What the leader does by itself, as the settings say it, and which settings of it contradict each other.

use std::num::NonZeroUsize;

use shardwright_coordinator::{
    balance::{self, Automatic},
    elastic::{BalancePolicy, InvalidPolicy, MergeCriteria, Metric, SplitCriteria},
    rebalancer::Patience,
};

use crate::settings::{
    AUTO, AUTO_COOL_DOWN, AUTO_INTERVAL, AUTO_LASTING, AUTO_MIN_SHARDS, AUTO_REST, MERGE_BYTES,
    MERGE_CPU, MERGE_REQUESTS, MERGE_ROWS, Percent, SPLIT_BYTES, SPLIT_CPU, SPLIT_MIN_ROWS,
    SPLIT_REQUESTS, SPLIT_ROWS, Setting, SettingError, Settings, Size, invalid,
};

/// How the leader balances a cluster that is made with so many shards: what it merges by itself leaves as many, unless told otherwise.
///
/// # Errors
/// When a setting is not of its kind, or what is merged by one would be split again by another: the settings are named.
pub(crate) fn balance(settings: &Settings, shards: u32) -> Result<balance::Settings, SettingError> {
    let usual = balance::Settings::default();
    let lasting = settings.duration(&AUTO_LASTING)?;
    let shards_min = settings.optional::<NonZeroUsize>(&AUTO_MIN_SHARDS)?;
    let shards_min = shards_min.map_or(usual.shards_min.max(shards as usize), NonZeroUsize::get);
    let policy = BalancePolicy {
        split: SplitCriteria {
            cpu_threshold: settings.required::<Percent>(&SPLIT_CPU)?.part(),
            storage_threshold: settings.required::<Size>(&SPLIT_BYTES)?.0,
            request_rate_threshold: f64::from(settings.count(&SPLIT_REQUESTS)?),
            min_keys: settings.required(&SPLIT_MIN_ROWS)?,
            ..usual.shards.split
        },
        split_keys: Some(settings.required(&SPLIT_ROWS)?),
        merge: MergeCriteria {
            cpu_threshold: settings.required::<Percent>(&MERGE_CPU)?.part(),
            storage_threshold: settings.required::<Size>(&MERGE_BYTES)?.0,
            request_rate_threshold: f64::from(settings.count(&MERGE_REQUESTS)?),
            max_merged_keys: settings.required(&MERGE_ROWS)?,
            min_total_shards: usual.shards.merge.min_total_shards.min(shards_min),
            ..usual.shards.merge
        },
        lasting,
        cool_down: settings.duration(&AUTO_COOL_DOWN)?,
        ..usual.shards
    };
    policy.check().map_err(|error| named(settings, &error))?;
    Ok(balance::Settings {
        automatic: settings.required::<Automatic>(&AUTO)?,
        interval: settings.duration(&AUTO_INTERVAL)?,
        shards: policy,
        shards_min,
        patience: Patience {
            calm: lasting,
            rest: settings.duration(&AUTO_REST)?,
        },
        ..usual
    })
}

/// Says which settings contradict each other, by their names and as they were written.
fn named(settings: &Settings, error: &InvalidPolicy) -> SettingError {
    let (lower, upper, why) = match error {
        InvalidPolicy::TooFewKeys { .. } => (
            &SPLIT_MIN_ROWS,
            &SPLIT_ROWS,
            "what has too many rows would have too few to be split",
        ),
        InvalidPolicy::Thresholds { metric, .. } => {
            let (merge, split) = pair(*metric);
            (merge, split, "what is merged would be split again")
        }
        _ => (&MERGE_BYTES, &SPLIT_BYTES, "they contradict each other"),
    };
    let text = |setting| settings.text(setting).map_or("", |(text, _)| text);
    let reason = format!(
        "it has to be above 0 and below {} = {:?}: {why}",
        upper.name,
        text(upper)
    );
    match settings.text(lower) {
        Some((value, source)) => invalid(lower, value, source, &reason),
        None => SettingError::Missing {
            name: lower.name,
            variable: lower.variable,
        },
    }
}

/// The settings for merges and for splits of a metric.
fn pair(metric: Metric) -> (&'static Setting, &'static Setting) {
    match metric {
        Metric::Cpu => (&MERGE_CPU, &SPLIT_CPU),
        Metric::Requests => (&MERGE_REQUESTS, &SPLIT_REQUESTS),
        Metric::Keys => (&MERGE_ROWS, &SPLIT_ROWS),
        // Nothing else is set here: what a shard takes in memory is not measured.
        _ => (&MERGE_BYTES, &SPLIT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{AUTOMATIC, File};

    fn of(file: &str) -> Result<balance::Settings, String> {
        let file = File::parse("s.toml".as_ref(), file).expect("a file of settings");
        let settings = Settings::new(AUTOMATIC.1, &[].into(), Some(&file));
        balance(&settings, 8).map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_it_is_as_the_library_has_it() {
        let expected = balance::Settings {
            shards_min: 8,
            ..balance::Settings::default()
        };
        assert_eq!(of(""), Ok(expected));
    }

    #[test]
    fn each_setting_is_taken() {
        let found = of("auto = \"dry-run\"\nauto-interval = \"1s\"\nauto-lasting = \"2s\"\n\
            auto-cool-down = \"3s\"\nauto-rest = \"4s\"\nauto-min-shards = 1\nsplit-bytes = \"1MiB\"\n\
            split-rows = 1000\nsplit-requests = 50\nsplit-cpu = 70\nsplit-min-rows = 10\n\
            merge-bytes = \"100kB\"\nmerge-rows = 500\nmerge-requests = 5\nmerge-cpu = \"7%\"\n")
        .expect("they agree");
        let seconds = Duration::from_secs;
        let usual = balance::Settings::default();
        let expected = balance::Settings {
            automatic: Automatic::DryRun,
            interval: seconds(1),
            shards_min: 1,
            patience: Patience {
                calm: seconds(2),
                rest: seconds(4),
            },
            shards: BalancePolicy {
                split: SplitCriteria {
                    cpu_threshold: 0.7,
                    storage_threshold: 1 << 20,
                    request_rate_threshold: 50.0,
                    min_keys: 10,
                    ..usual.shards.split
                },
                split_keys: Some(1_000),
                merge: MergeCriteria {
                    cpu_threshold: 0.07,
                    storage_threshold: 100_000,
                    request_rate_threshold: 5.0,
                    max_merged_keys: 500,
                    min_total_shards: 1,
                    ..usual.shards.merge
                },
                lasting: seconds(2),
                cool_down: seconds(3),
                ..usual.shards
            },
            ..usual
        };
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn refused(file: &str, expected: &str) {
        let error = of(file).expect_err("it cannot be used");
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_would_be_merged_and_split_in_turn_is_refused_by_name() {
        refused(
            "merge-bytes = \"10GiB\"",
            "merge-bytes = \"10GiB\" from s.toml: it has to be above 0 and below split-bytes = \"10GiB\": what is merged would be split",
        );
        refused(
            "split-requests = 1000",
            "merge-requests = \"1000\" from the default: ",
        );
        refused("split-cpu = 20", "merge-cpu = \"30\" from the default: ");
        refused(
            "merge-rows = 20000001",
            "merge-rows = \"20000001\" from s.toml: ",
        );
        refused(
            "split-rows = 50\nmerge-rows = 20",
            "split-min-rows = \"100\" from the default: it has to be above 0 and below split-rows = \"50\": ",
        );
        refused("auto = \"yes\"", "auto = \"yes\" from s.toml: ");
        refused(
            "auto-min-shards = 0",
            "auto-min-shards = \"0\" from s.toml: ",
        );
    }
}
