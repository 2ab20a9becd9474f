//! What is refused before any handler sees it is in the OpenAPI files, for every operation.

use reqwest::{Method, header};
use shardwright_coordinator::http::{Settings, Token};

use crate::{
    schema::Document,
    setting::{Answer, TOKEN, leader},
};

/// Calls every operation of a coordinator, and checks that each is refused in the way that is described.
async fn refuses(
    settings: Settings,
    host: &str,
    status: u16,
    code: &str,
    is_meant: fn(&Method, &str) -> bool,
) {
    let settings = Settings {
        allow_flush: true,
        ..settings
    };
    let server = leader(settings).await;
    for file in ["admin.json", "shardz-worker.json"] {
        let document = Document::read(file);
        for (name, path) in document.operations() {
            let method: Method = name.to_uppercase().parse().expect("a method");
            // A worker answers this one.
            if path == "/shardz" || !is_meant(&method, &path) {
                continue;
            }
            let body = if method == Method::GET { "" } else { "{}" };
            let request = reqwest::Client::new()
                .request(method, format!("{}{path}", server.url))
                .header(header::HOST, host)
                .body(body);
            let answer = Answer::of(request).await;
            answer.refused(status, code);
            document.check_call(&name, &path, body, answer.status, &answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_may_find_too_many_requests_under_way() {
    let settings = Settings {
        requests_max: 0,
        ..Settings::default()
    };
    refuses(settings, "localhost", 503, "OVERLOADED", |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_but_livez_may_find_its_token_wrong() {
    let settings = Settings {
        token: Some(Token::new(TOKEN).expect("a token")),
        ..Settings::default()
    };
    let is_meant = |_: &Method, path: &str| path != "/livez";
    refuses(settings, "localhost", 401, "UNAUTHORIZED", is_meant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_operation_may_come_from_a_foreign_page() {
    let settings = Settings::default();
    refuses(settings, "evil.example", 403, "FOREIGN_ORIGIN", |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_body_may_be_too_large() {
    let settings = Settings {
        body_max: 1,
        ..Settings::default()
    };
    let is_meant = |method: &Method, _: &str| method != Method::GET;
    refuses(settings, "localhost", 413, "PAYLOAD_TOO_LARGE", is_meant).await;
}
