//! Registers workers: any coordinator may, since it is one change of one record.

use std::sync::Arc;

use shardwright_registry::{Registration, Registry, Store};
use shardwright_topology::KeyspaceName;

use crate::{
    core::{Refusal, Settings},
    handle::Answer,
    protocol::{Register, Registered, VERSION},
};

/// Gives a worker's process the next session, in a task of its own.
pub(super) fn register(
    store: Arc<dyn Store>,
    settings: &Settings,
    register: Register,
    answer: Answer<Registered>,
) {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (check_interval_ms, hold_ms) = (ms(settings.check_interval), ms(settings.timing.hold()));
    tokio::spawn(async move {
        let registry = Registry::new(store, KeyspaceName::main());
        let registration = Registration {
            location: register.location,
            weight: register.weight,
            ..Registration::new(register.id, register.address)
        };
        let result = match registry.register(registration).await {
            Ok(stored) => Ok(Registered {
                version: VERSION,
                incarnation: stored.value.incarnation,
                check_interval_ms,
                hold_ms,
            }),
            Err(error) => {
                tracing::warn!(%error, "a worker could not be registered");
                Err(Refusal::Unconfirmed)
            }
        };
        // The worker may have gone away.
        let _sent = answer.send(result);
    });
}
