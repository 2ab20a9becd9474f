//! What a request passes before a gateway looks at it, where there is no token.

use shardwright_http::{
    axum::{extract::Request, http::StatusCode, middleware::Next, response::Response},
    is_foreign,
};

use super::request::problem;

/// Refuses requests that a foreign web page makes a browser send.
pub(super) async fn refuse_foreign(request: Request, next: Next) -> Response {
    if is_foreign(request.method(), request.headers()) {
        let message = "the request comes from a web page of another origin";
        let hint = "address the server as localhost or by its number, or run it with a token";
        return problem(
            StatusCode::FORBIDDEN,
            "FOREIGN_ORIGIN",
            message,
            Some(hint),
            false,
        );
    }
    next.run(request).await
}
