//! How fast a cluster notices that a process is gone, and which settings of it are not safe.

use std::time::Duration;

use shardwright_server::quorum::log;

use crate::{
    registry::Location,
    settings::{ALLOW_SHORT_LEASES, CHECK_INTERVAL, HEARTBEAT_TIMEOUT, SettingError, Settings},
};

/// Losing the leader of a NATS stream stops writes for 5 to 8 seconds; every worker would lose its lease.
const NATS_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// The timing of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Timing {
    pub(crate) check_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
}

impl Timing {
    /// The timing that the settings say, for a registry there.
    ///
    /// # Errors
    /// When it is not safe.
    pub(crate) fn of(settings: &Settings, registry: &Location) -> Result<Self, SettingError> {
        let timing = Self {
            check_interval: settings.duration(&CHECK_INTERVAL)?,
            heartbeat_timeout: settings.duration(&HEARTBEAT_TIMEOUT)?,
        };
        let may_be_short = settings.required(&ALLOW_SHORT_LEASES)?;
        timing.check(registry, may_be_short)?;
        Ok(timing)
    }

    fn check(self, registry: &Location, may_be_short: bool) -> Result<(), SettingError> {
        if self.heartbeat_timeout < 2 * self.check_interval {
            return Err(SettingError::Refused {
                refusal: "heartbeat-timeout is less than two times check-interval: one lost ping would end a lease",
                remedy: "make heartbeat-timeout three times check-interval",
            });
        }
        let is_nats = matches!(registry, Location::Nats(_));
        if is_nats && self.heartbeat_timeout < NATS_TIMEOUT_MIN && !may_be_short {
            return Err(SettingError::Refused {
                refusal: "heartbeat-timeout is below 10s on a NATS registry: losing one server can stop its writes for 8s, and would end every lease",
                remedy: "raise heartbeat-timeout, or accept that with --allow-short-leases",
            });
        }
        Ok(())
    }
}

/// The timing of the copies of a shard in a cluster that takes a process for dead after this time.
///
/// A primary may count on its members for as long as that and no longer, so that whoever follows it waits for nothing else. It speaks to
/// them ten times meanwhile. A longer time-out gains nothing by longer leases.
pub(crate) fn of_log(heartbeat_timeout: Duration) -> log::Settings {
    let usual = log::Settings::default();
    let lease = usual.lease.min(heartbeat_timeout);
    log::Settings {
        heartbeat: lease / 10,
        resend: lease * 3 / 10,
        lease,
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(check_ms: u64, timeout_ms: u64, registry: &str, may_be_short: bool, is_safe: bool) {
        let timing = Timing {
            check_interval: Duration::from_millis(check_ms),
            heartbeat_timeout: Duration::from_millis(timeout_ms),
        };
        let checked = timing.check(&registry.parse().unwrap(), may_be_short);
        assert_eq!(checked.is_ok(), is_safe, "{checked:?}");
    }

    #[test]
    fn short_leases_on_nats_are_refused_unless_asked_for() {
        check(5_000, 15_000, "nats://a:4222", false, true);
        check(3_000, 9_999, "nats://a:4222", false, false);
        check(3_000, 9_999, "nats://a:4222", true, true);
        check(20, 100, "sqlite:registry.db", false, true);
    }

    #[test]
    fn the_log_of_a_shard_promises_no_more_than_the_time_out() {
        let ms = Duration::from_millis;
        let usual = log::Settings::default();
        for timeout in [15_000, 1_000] {
            assert_eq!(of_log(ms(timeout)), usual);
        }
        let short = of_log(ms(400));
        assert_eq!(
            (short.heartbeat, short.resend, short.lease),
            (ms(40), ms(120), ms(400))
        );
    }

    #[test]
    fn one_lost_ping_must_not_end_a_lease() {
        check(100, 199, "memory:", true, false);
        check(100, 200, "memory:", false, true);
    }
}
