//! Compares the content of an object with what the manifest says of it: every byte is read, hashed, and decoded or parsed
//! on the way.

use super::decode::Decoder;
use super::report::{Finding, Kind};
use crate::ffmpeg::{self, Ffmpeg};
use crate::output::key::CLOUD;
use crate::output::manifest::StoredObject;
use crate::store::{self, Store};
use futures_util::TryStreamExt;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::pin::pin;

/// A JSON object above this size is not parsed: it would be kept in memory for that.
const JSON_MAX: u64 = 32 << 20;

/// Why something could not be checked: nothing is known to be wrong with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unchecked {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Ffmpeg(#[from] ffmpeg::Error),
}

/// What is done with the bytes besides hashing them.
enum Reader {
    Media(Box<Decoder>),
    Json(Vec<u8>),
    Nothing,
}

impl Reader {
    async fn take(&mut self, piece: &[u8]) -> Result<(), ffmpeg::Error> {
        match self {
            Self::Media(decoder) => decoder.write(piece).await?,
            Self::Json(json) => json.extend_from_slice(piece),
            Self::Nothing => {}
        }
        Ok(())
    }
}

/// What is wrong with the content of `name`. Its size is known to be right.
pub(super) async fn check(
    store: &Store,
    ffmpeg: &Ffmpeg,
    name: &str,
    object: &StoredObject,
) -> Result<Vec<Finding>, Unchecked> {
    let mut reader = match name.rsplit_once('.') {
        // Zoom's own files are kept byte for byte, whatever is in them.
        _ if name.starts_with(CLOUD) => Reader::Nothing,
        Some((_, "mp4" | "m4a")) => Reader::Media(Box::new(Decoder::start(ffmpeg)?)),
        Some((_, "json")) if object.size_bytes <= JSON_MAX => Reader::Json(Vec::new()),
        _ => Reader::Nothing,
    };
    let mut sha256 = Sha256::new();
    let mut pieces = pin!(store.pieces(&object.key, object.size_bytes));
    let mut next = pieces.try_next().await;
    loop {
        let piece = match next {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(err) if err.is_not_found() => return Ok(vec![Finding::of(name, Kind::Missing, "is missing")]),
            Err(err) => return Err(err.into()),
        };
        sha256.update(&piece);
        let (taken, following) = tokio::join!(reader.take(&piece), pieces.try_next());
        taken?;
        next = following;
    }
    let sha256 = hex::encode(sha256.finalize());
    let mut findings = Vec::new();
    if sha256 != object.sha256 {
        let text = format!("has the SHA-256 {sha256}, where the manifest says {}", object.sha256);
        findings.push(Finding::of(name, Kind::Sha256, text));
    }
    match reader {
        Reader::Media(decoder) => findings.extend(decoder.finish(name, object).await?),
        Reader::Json(json) => {
            if let Err(err) = serde_json::from_slice::<IgnoredAny>(&json) {
                findings.push(Finding::of(name, Kind::Undecodable, format!("is no JSON: {err}")));
            }
        }
        Reader::Nothing => {}
    }
    Ok(findings)
}
