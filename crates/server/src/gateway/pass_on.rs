//! Statements that the keyspace's writer has to run, on their way to it.

use std::time::Duration;

use serde_json::Value as Json;
use shardwright_http::{
    axum::{
        body::Body,
        http::{HeaderMap, StatusCode, header::AUTHORIZATION},
        response::Response,
    },
    reqwest::header::CONTENT_TYPE,
};
use shardwright_sql::shards::{FaultKind, StatementId};
use shardwright_topology::NodeId;

use super::{
    engine::Engine,
    numbers::Numbered,
    request::SqlRequest,
    way::{There, Way},
};

/// The header of a request that a gateway has passed on. It is not passed on again.
pub(super) const FORWARDED: &str = "shardwright-forwarded";

/// The header with the number of a request that a gateway has passed on, which its client has not numbered.
const NUMBER: &str = "shardwright-number";

/// How much longer than the node an answer is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// What came of it.
pub(super) enum Passed {
    /// This is the answer.
    Answered(Response),
    /// The node cannot be reached, and nothing has happened.
    Unreachable,
    /// Nothing has happened, for the reason that is in this answer.
    Refused(Response),
    /// Nothing has happened now: the number is forgotten, as this answer says.
    Forgotten(Response),
    /// The answer was lost.
    Lost,
}

/// Which statement a request is that was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) numbered: Numbered,
    /// Whether it was passed on before.
    pub(super) again: bool,
}

impl Trial {
    /// Returns what a gateway says of the request that it passes on.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parts = headers.get(NUMBER)?.to_str().ok()?.split('-');
        let client = u128::from_str_radix(parts.next()?, 16).ok()?.to_be_bytes();
        let sequence = parts.next()?.parse().ok()?;
        let statement = StatementId { client, sequence };
        Some(Self {
            numbered: statement.into(),
            again: parts.next()? == "again",
        })
    }

    fn header(self) -> String {
        let StatementId { client, sequence } = self.numbered.id();
        let client = u128::from_be_bytes(client);
        let trial = if self.again { "again" } else { "first" };
        format!("{client:032x}-{sequence}-{trial}")
    }
}

/// Passes a request on to a node.
pub(super) async fn ask(
    engine: &Engine,
    node: &NodeId,
    request: &SqlRequest,
    trial: Trial,
    left: Duration,
) -> Passed {
    let Some(Way::There(There {
        url, client, token, ..
    })) = engine.cluster.way(node)
    else {
        return Passed::Unreachable;
    };
    let Ok(body) = serde_json::to_vec(request) else {
        return Passed::Unreachable;
    };
    let mut sending = client
        .post(format!("{url}/v1/sql"))
        .header(CONTENT_TYPE, "application/json")
        .header(FORWARDED, engine.cluster.router.node().as_str())
        .header(NUMBER, trial.header())
        .timeout(left + GRACE)
        .body(body);
    if let Some(token) = &token {
        sending = sending.header(AUTHORIZATION, token.header());
    }
    let answer = match sending.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Passed::Unreachable,
        Err(_) => return Passed::Lost,
    };
    let status = answer.status();
    let Ok(body) = answer.bytes().await else {
        return Passed::Lost;
    };
    if status == StatusCode::GATEWAY_TIMEOUT {
        return Passed::Lost;
    }
    let is_forgotten =
        status == StatusCode::CONFLICT && code_in(&body) == FaultKind::Forgotten.code();
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body));
    match response {
        Ok(response) if status == StatusCode::SERVICE_UNAVAILABLE => Passed::Refused(response),
        Ok(response) if is_forgotten => Passed::Forgotten(response),
        Ok(response) => Passed::Answered(response),
        Err(_) => Passed::Lost,
    }
}

/// Returns the code of the error in an answer, or nothing.
fn code_in(body: &[u8]) -> String {
    let answer: Json = serde_json::from_slice(body).unwrap_or_default();
    let code = answer["error"]["code"].as_str();
    code.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_statement_arrives() {
        for again in [false, true] {
            let trial = Trial {
                numbered: Numbered::by_client("shop", 7),
                again,
            };
            let mut headers = HeaderMap::new();
            headers.insert(NUMBER, trial.header().parse().unwrap());
            assert_eq!(Trial::of(&headers), Some(trial));
        }
        assert_eq!(Trial::of(&HeaderMap::new()), None);
    }
}
