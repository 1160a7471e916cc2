//! The page itself: one file, whose script and style are named by their hashes so that no other can run.

use super::with_type;
use base64_simd::STANDARD;
use http::StatusCode;
use http::header::{self, HeaderValue};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use warp::reply::Response;

const HEAD: &str = include_str!("head.html");
const STYLE: &str = concat!(include_str!("../../output/page/base.css"), include_str!("status.css"));
const SCRIPT: &str = concat!(include_str!("../../output/page/base.js"), include_str!("status.js"));

static STATUS: LazyLock<(String, HeaderValue)> = LazyLock::new(|| fill(include_str!("status.html")));
static LOGIN: LazyLock<(String, HeaderValue)> = LazyLock::new(|| fill(include_str!("login.html")));

/// The status page; with a way to log out if one had to log in.
pub(super) fn status(has_login: bool) -> Response {
    let mut answer = page(&STATUS);
    if has_login {
        *answer.body_mut() = STATUS.0.replace(" hidden id=\"logout\"", " id=\"logout\"").into();
    }
    answer
}

/// A form that asks for the token.
pub(super) fn login(was_wrong: bool) -> Response {
    let mut answer = page(&LOGIN);
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    if was_wrong {
        let text = LOGIN.0.replace(" hidden id=\"wrong\"", " id=\"wrong\"");
        *answer.body_mut() = text.into();
    }
    answer
}

fn page((text, policy): &(String, HeaderValue)) -> Response {
    let mut answer = with_type(text.clone(), "text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    answer
}

/// The page, and what it may do: media come from us or, by signed links, from wherever the bucket is.
fn fill(template: &str) -> (String, HeaderValue) {
    let text = template.replace("{{head}}", HEAD).replace("{{style}}", STYLE).replace("{{script}}", SCRIPT);
    let hash = |text: &str| STANDARD.encode_to_string(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src 'self' data: https: http:; media-src 'self' https: http:; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    (text, HeaderValue::from_str(&policy).expect("hashes are ASCII"))
}
