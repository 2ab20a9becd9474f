//! `GET /api/v1/events`: what happens, as it happens.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, Problem, query::Asked};
use crate::event_log::{EventId, EventLog, LoggedEvent};

/// How many events are read from the log at once.
const AT_ONCE: usize = 256;

/// How many events a list shows at most.
const LIST_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The last event that was seen, or nothing or 0 for all: asks for a list.
    since: Option<String>,
    /// How many events the list shows at most.
    limit: Option<usize>,
}

/// An event in a list.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    #[serde(flatten)]
    event: LoggedEvent,
}

pub(super) async fn events(
    State(api): State<Api>,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(since) = &wanted.since {
        let limit = wanted.limit.unwrap_or(LIST_MAX).min(LIST_MAX);
        return list(api.handle.events(), since, limit);
    }
    let last = headers.get("last-event-id");
    let after = match last.map(|last| last.to_str().unwrap_or_default()) {
        None => api.handle.events().latest(),
        Some(last) => api.handle.events().after(parse(last)?),
    };
    let place = api.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        Problem::unavailable("OVERLOADED", "too many event streams are open")
            .hint("close one, or ask for lists with `?since=`")
    })?;
    let keep_alive = KeepAlive::new().interval(api.settings.keep_alive);
    Ok(Sse::new(follow(api, after, place))
        .keep_alive(keep_alive)
        .into_response())
}

fn parse(id: &str) -> Result<EventId, Problem> {
    id.parse().map_err(|error| {
        Problem::bad_request(format!("{error}")).hint("use the id of an event, as it was shown")
    })
}

fn list(log: &EventLog, since: &str, limit: usize) -> Result<Response, Problem> {
    let after = match since {
        "" | "0" => 0,
        id => log.after(parse(id)?),
    };
    let events = log.since(after, limit).into_iter();
    let listed: Vec<Listed> = events
        .map(|event| Listed {
            id: log.name(&event).to_string(),
            event,
        })
        .collect();
    Ok(Json(listed).into_response())
}

/// One reader of the log.
struct Follower {
    api: Api,
    log: Arc<EventLog>,
    after: u64,
    ready: VecDeque<LoggedEvent>,
    _place: OwnedSemaphorePermit,
}

/// The events after a number, until this coordinator leads no more or stops: then there are none, and the reader comes back.
fn follow(
    api: Api,
    after: u64,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let follower = Follower {
        log: api.handle.events().clone(),
        api,
        after,
        ready: VecDeque::new(),
        _place: place,
    };
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        let id = follower.log.name(&event).to_string();
        // A notice is made of names and numbers, which are always JSON.
        let shown = Event::default().id(id).event(event.notice.kind());
        let shown = shown.json_data(&event).ok()?;
        Some((Ok(shown), follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<LoggedEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.number;
                return Some(event);
            }
            self.ready = self.log.since(self.after, AT_ONCE).into();
            if !self.ready.is_empty() {
                continue;
            }
            let handle = &self.api.handle;
            tokio::select! {
                () = self.log.wait(self.after) => {}
                _ = handle.view_when(|view| !view.is_leading) => {
                    // The last event may say just that.
                    if self.log.latest() <= self.after {
                        return None;
                    }
                }
                () = self.api.stopping() => return None,
            }
        }
    }
}
