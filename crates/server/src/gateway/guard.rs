//! What a request passes before its body is read.

use shardwright_http::{
    Token,
    axum::{
        extract::{Request, State},
        http::StatusCode,
        middleware::Next,
        response::Response,
    },
    is_foreign,
};

use super::request::problem;

/// Refuses requests without the token.
pub(super) async fn require_token(
    State(token): State<Token>,
    request: Request,
    next: Next,
) -> Response {
    if token.is_in(request.headers()) {
        return next.run(request).await;
    }
    let message = "the request carries no token, or another one";
    problem(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        message,
        None,
        false,
    )
}

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
