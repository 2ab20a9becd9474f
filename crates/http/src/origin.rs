//! Requests that a web page of another origin makes a browser send.

use axum::http::{HeaderMap, Method, header, uri::Authority};

/// Returns whether a request comes from a web page of another origin, and may change something.
///
/// Without a token, whoever reaches the loopback address may do anything; a web page must not be able to. A browser says where a page that
/// changes something comes from. And a page whose own name was made to point at this machine names itself as the host.
#[must_use]
pub fn is_foreign(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST);
    let foreign_origin = text(header::ORIGIN).is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_none() || authority != host
    });
    (foreign_origin && !method.is_safe()) || !host.is_none_or(is_machine)
}

/// Whether a host is named in a way that no name server decides.
fn is_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let number = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || number.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, host: &str, origin: Option<&str>, allowed: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        let foreign = is_foreign(&method, &headers);
        assert_eq!(!foreign, allowed, "{method} {host} {origin:?}");
    }

    #[test]
    fn a_foreign_page_changes_nothing() {
        let local = "http://localhost:7557";
        check(Method::POST, "localhost:7557", None, true);
        check(Method::POST, "localhost:7557", Some(local), true);
        check(
            Method::GET,
            "127.0.0.1:7557",
            Some("https://x.example"),
            true,
        );
        check(Method::POST, "[::1]:7557", Some("https://x.example"), false);
        check(Method::POST, "localhost:7557", Some("null"), false);
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_refused() {
        check(Method::GET, "rebound.example:7557", None, false);
        check(Method::GET, "", None, false);
    }
}
