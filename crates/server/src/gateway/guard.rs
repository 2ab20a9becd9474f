//! What a request passes before its body is read.

use shardwright_http::{
    Role, Token,
    axum::{
        extract::{Request, State},
        http::StatusCode,
        middleware::Next,
        response::Response,
    },
    is_foreign,
};

use super::request::problem;

/// What those may ask who may not do everything. What else there is, is for processes of the cluster and for those who look after it.
const FOR_ALL: [&str; 3] = ["/v1/sql", "/v1/commits", "/v1/schema"];

/// Refuses requests without a token, and those that the caller may not make. Says to the others what the caller may do.
pub(super) async fn require_token(
    State(token): State<Token>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(role) = token.role_in(request.headers()) else {
        let message = "the request carries no token, or another one";
        return problem(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            message,
            None,
            false,
        );
    };
    if role < Role::Admin && !FOR_ALL.contains(&request.uri().path()) {
        return forbidden("this is for a caller with the role admin");
    }
    request.extensions_mut().insert(role);
    next.run(request).await
}

/// The refusal of what a caller may not do.
pub(super) fn forbidden(message: &str) -> Response {
    let hint = "ask with the token of a caller who may do that";
    problem(
        StatusCode::FORBIDDEN,
        "FORBIDDEN",
        message,
        Some(hint),
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
