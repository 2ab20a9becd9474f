//! Requests that one server passes on to another, and the answers that it gives back.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, header},
    response::Response,
};

/// What goes with a request.
const REQUEST_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    header::CONTENT_TYPE,
    HeaderName::from_static("last-event-id"),
];

/// What belongs to a connection, and does not come back with an answer.
const HOP_HEADERS: [HeaderName; 4] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Returns the headers of a request that go on with it: who asks, what it holds, and what is wanted.
#[must_use]
pub fn relayed_headers(request: &HeaderMap) -> HeaderMap {
    let here = |name: HeaderName| Some((name.clone(), request.get(&name)?.clone()));
    REQUEST_HEADERS.into_iter().filter_map(here).collect()
}

/// Returns the answer of the other server, as it comes: its body is passed on piece by piece.
#[must_use]
pub fn relayed_answer(answer: reqwest::Response) -> Response {
    let status = answer.status();
    let mut headers = answer.headers().clone();
    for name in HOP_HEADERS {
        headers.remove(name);
    }
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_of_the_connection_stays_there() {
        let value = HeaderValue::from_static("x");
        let given = [header::AUTHORIZATION, header::HOST, header::CONNECTION];
        let given: HeaderMap = given
            .map(|name| (name, value.clone()))
            .into_iter()
            .collect();
        let relayed = relayed_headers(&given);
        assert_eq!(relayed.keys().collect::<Vec<_>>(), [header::AUTHORIZATION]);
    }
}
