//! Texts that were cut in the middle of a character. Names and messages have a greatest length, and whoever counts it in
//! UTF-16 or in bytes leaves half an emoji at the end: an escape without its other half, or bytes that are no UTF-8. No
//! reader of JSON takes that, and all that the message says would be lost for the sake of one character.

use std::borrow::Cow;

/// The same JSON with U+FFFD in place of what is no character; none if there is nothing of the kind.
pub fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(json);
    let mut changed = matches!(text, Cow::Owned(_));
    let (mut mended, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some(at) = memchr::memchr(b'\\', rest) {
        mended.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                changed = true;
                mended.extend_from_slice("\u{fffd}".as_bytes());
                rest = &rest[6..];
                continue;
            }
            // `\\` is one escape: what follows it is not.
            _ => rest.len().min(2),
        };
        mended.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    mended.extend_from_slice(rest);
    changed.then_some(mended)
}

/// The UTF-16 unit of the `\u` escape at the beginning.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_characters_are_replaced_and_whole_ones_kept() {
        for (json, expected) in [
            (&br#"["Ada \ud83d"]"#[..], Some("Ada \u{fffd}")),
            (br#"["\udc4d\ud83d\udc4d\ud83d\ud83d\udc4d"]"#, Some("\u{fffd}👍\u{fffd}👍")),
            (b"[\"Ada \xf0\x9f\x91\"]", Some("Ada \u{fffd}")),
            (br#"["\\ud83d \ud83d\udc4d \u0041\n"]"#, None),
        ] {
            let mended = mended(json);
            assert_eq!(mended.is_some(), expected.is_some(), "{json:?}");
            if let (Some(mended), Some(expected)) = (mended, expected) {
                assert_eq!(serde_json::from_slice::<Vec<String>>(&mended).unwrap(), [expected]);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_good_json_stays(bytes: Vec<u8>, parts in "(\\\\\\\\|u|d83d|dc4d|\\\\\\\\u)*", text in ".*") {
            let _ = mended(&bytes);
            if let Some(again) = mended(parts.as_bytes()) {
                prop_assert_eq!(mended(&again), None);
            }
            prop_assert_eq!(mended(serde_json::to_string(&text).unwrap().as_bytes()), None);
        }
    }
}
