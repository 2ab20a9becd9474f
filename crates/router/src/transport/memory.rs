//! A network within one process, for tests and simulations: routers by address, and faults on demand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Peer, Request, Response, Transport, TransportError};
use crate::{Refusal, Router, router::WeakRouter};

/// The largest payload unless [`Network::with_payload_max`] says otherwise.
const PAYLOAD_MAX: usize = 8 * 1024 * 1024;

/// Routers that reach each other by address. Clones are the same network, which does not keep its routers alive.
#[derive(Debug, Clone)]
pub struct Network {
    places: Arc<Mutex<HashMap<String, Place>>>,
    payload_max: usize,
}

#[derive(Debug, Default)]
struct Place {
    router: Option<WeakRouter>,
    faults: VecDeque<Fault>,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is not delivered, and the caller knows.
    NotDelivered,
    /// It is not delivered, and nothing ever comes back.
    Lost,
    /// It is answered, and the connection breaks before the answer is back.
    AnswerLost,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// Returns a network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_payload_max(PAYLOAD_MAX)
    }

    /// Returns a network that carries payloads and answers of at most so many bytes.
    #[must_use]
    pub fn with_payload_max(payload_max: usize) -> Self {
        Self {
            places: Arc::default(),
            payload_max,
        }
    }

    /// Lets a router answer at an address.
    pub fn serve(&self, address: &str, router: &Router) {
        let mut places = self.places();
        places.entry(address.to_owned()).or_default().router = Some(router.downgrade());
    }

    /// Lets nobody answer at an address any more.
    pub fn remove(&self, address: &str) {
        self.places().remove(address);
    }

    /// Lets the next requests to an address fare as `faults` say, in this order.
    pub fn fail(&self, address: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut places = self.places();
        let place = places.entry(address.to_owned()).or_default();
        place.faults.extend(faults);
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Network {
    async fn call(&self, peer: Peer<'_>, request: Request) -> Result<Response, TransportError> {
        let (router, fault) = {
            let mut places = self.places();
            let place = places.get_mut(peer.address);
            let fault = place
                .as_ref()
                .and_then(|place| place.faults.front())
                .copied();
            let router = place.and_then(|place| {
                place.faults.pop_front();
                place.router.as_ref()?.upgrade()
            });
            (router, fault)
        };
        let Some(router) = router.filter(|_| fault != Some(Fault::NotDelivered)) else {
            return Err(TransportError::NotDelivered("nobody is there".into()));
        };
        if fault == Some(Fault::Lost) {
            return std::future::pending().await;
        }
        let limit = self.payload_max;
        if request.payload.len() > limit {
            return Ok(Err(Refusal::PayloadTooLarge { limit }));
        }
        let answer = router.answer(request).await;
        if fault == Some(Fault::AnswerLost) {
            return Err(TransportError::Unknown("the connection broke".into()));
        }
        Ok(answer.and_then(|answer| match answer.len() {
            size if size > limit => Err(Refusal::AnswerTooLarge { size, limit }),
            _ => Ok(answer),
        }))
    }

    fn payload_max(&self) -> usize {
        self.payload_max
    }
}
