//! The three signatures: of webhooks, of the URL validation answer and of handshakes. All are HMAC-SHA256 in hex.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far a webhook's timestamp may be from our clock, in seconds, either way.
///
/// Zoom prescribes no window; its own helper library uses 300 s.
pub const WINDOW_S: i64 = 300;

/// Why a webhook was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A header is absent.
    #[error("the request carries no x-zm-signature or no x-zm-request-timestamp")]
    Missing,
    /// The timestamp is not a number of seconds.
    #[error("x-zm-request-timestamp is not a number of seconds")]
    BadTimestamp,
    /// The timestamp is outside of [`WINDOW_S`].
    #[error("x-zm-request-timestamp is {0} s away from this machine's clock, more than {WINDOW_S} s")]
    Stale(i64),
    /// No secret token gives this signature.
    #[error(
        "x-zm-signature does not match: the request is forged, or ZOOM_SECRET_TOKEN is not the Secret Token of the app that sent it"
    )]
    Mismatch,
}

/// The handshake signature of both kinds of socket: 64 lower-case hex digits.
///
/// The parts are joined by commas. Zoom's prose says otherwise in places; its code and documented formula do not.
/// `id` is used byte for byte. The result holds for the life of the stream.
pub fn handshake(client_id: &str, client_secret: &str, id: &str, stream_id: &str) -> String {
    let mut mac = hmac(client_secret);
    for part in [client_id, ",", id, ",", stream_id] {
        mac.update(part.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

/// The value of `x-zm-signature` for a request body, with its `v0=` prefix.
pub fn webhook(secret_token: &str, timestamp: &str, body: &[u8]) -> String {
    format!("v0={}", hex::encode(webhook_mac(secret_token, timestamp, body).finalize().into_bytes()))
}

/// Checks a webhook over its raw body, in constant time.
///
/// `now_s` is the Unix time. The signature is looked at before the timestamp's age, so that a stale answer tells a
/// stranger nothing.
pub fn verify_webhook(
    secret_token: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now_s: i64,
) -> Result<(), Refused> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(Refused::Missing);
    };
    let sent_s: i64 = timestamp.trim().parse().map_err(|_| Refused::BadTimestamp)?;
    let digest = signature.strip_prefix("v0=").and_then(|hex| hex::decode(hex).ok()).ok_or(Refused::Mismatch)?;
    webhook_mac(secret_token, timestamp, body).verify_slice(&digest).map_err(|_| Refused::Mismatch)?;
    match now_s.saturating_sub(sent_s) {
        age if age.saturating_abs() > WINDOW_S => Err(Refused::Stale(age)),
        _ => Ok(()),
    }
}

/// `encryptedToken` of the answer to `endpoint.url_validation`.
pub fn challenge(secret_token: &str, plain_token: &str) -> String {
    let mut mac = hmac(secret_token);
    mac.update(plain_token.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn webhook_mac(secret_token: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = hmac(secret_token);
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    mac
}

fn hmac(key: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "demo-secret-token";
    const BODY: &[u8] = include_bytes!("../../fixtures/webhook/signed-test-vector.json");
    const AT: &str = "1754042401";
    const SIGNATURE: &str = "v0=3d72768e48437bc221ae50b77db1f943d5d115186e59da885f6182f00bd7a8ef";

    fn verify(timestamp: &str, signature: &str, now_s: i64) -> Result<(), Refused> {
        verify_webhook(TOKEN, Some(timestamp), Some(signature), BODY, now_s)
    }

    #[test]
    fn webhook_test_vector() {
        assert_eq!(BODY.len(), 232);
        assert_eq!(webhook(TOKEN, AT, BODY), SIGNATURE);
        assert_eq!(verify(AT, SIGNATURE, 1_754_042_401), Ok(()));
    }

    #[test]
    fn url_validation_test_vector() {
        assert_eq!(
            challenge(TOKEN, "qgg8vlvZRS6UYooatFL8Aw"),
            "122b39d8a169fc5889c5be9e05c5afa600c1f0d29d286864214d145cb61d9082"
        );
    }

    #[test]
    fn handshake_test_vector_is_joined_by_commas() {
        assert_eq!(
            handshake(
                "demoClientId",
                "demo-client-secret",
                "Ab+/cdEFghIJklMNopQRst==",
                "0123456789abcdef0123456789abcdef"
            ),
            "b3314b76b9af204507b133724cd73459308635fcbc5ce1acfac20b390aedd619"
        );
    }

    #[test]
    fn the_window_is_300_s_both_ways() {
        let sent = 1_754_042_401;
        assert_eq!(verify(AT, SIGNATURE, sent + 300), Ok(()));
        assert_eq!(verify(AT, SIGNATURE, sent - 300), Ok(()));
        assert_eq!(verify(AT, SIGNATURE, sent + 301), Err(Refused::Stale(301)));
        assert_eq!(verify(AT, SIGNATURE, sent - 301), Err(Refused::Stale(-301)));
        assert_eq!(verify("99999999999999999999", SIGNATURE, sent), Err(Refused::BadTimestamp));
    }

    #[test]
    fn anything_else_is_refused() {
        let now = 1_754_042_401;
        for signature in ["", "v0=", "v0=zz", &SIGNATURE[3..], &SIGNATURE[..SIGNATURE.len() - 2], "v0=\u{e9}\u{e9}"] {
            assert_eq!(verify(AT, signature, now), Err(Refused::Mismatch), "{signature}");
        }
        assert_eq!(verify("1754042402", SIGNATURE, now), Err(Refused::Mismatch));
        assert_eq!(verify_webhook(TOKEN, None, Some(SIGNATURE), BODY, now), Err(Refused::Missing));
        assert_eq!(verify_webhook("other", Some(AT), Some(SIGNATURE), BODY, now), Err(Refused::Mismatch));
    }
}
