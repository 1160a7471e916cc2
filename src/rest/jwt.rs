//! The token that a Video SDK app makes for itself (RFC 7519, HS256).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A token for the Video SDK API: `iss` is the key, `iat` and `exp` are Unix seconds.
pub(crate) fn video_sdk(key: &str, secret: &str, iat: i64, exp: i64) -> String {
    sign(&serde_json::json!({"iss": key, "iat": iat, "exp": exp}).to_string(), secret)
}

fn sign(claims: &str, secret: &str) -> String {
    let base64 = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
    let signed = format!("{}.{}", base64(br#"{"alg":"HS256","typ":"JWT"}"#), base64(claims.as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_known_token_is_signed_alike() {
        let claims = r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#;
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        assert_eq!(sign(claims, "your-256-bit-secret"), token);
    }

    #[test]
    fn it_says_who_and_how_long() {
        let token = video_sdk("key", "secret", 100, 3700);
        let claims = token.split('.').nth(1).unwrap();
        let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims, serde_json::json!({"iss": "key", "iat": 100, "exp": 3700}));
    }
}
