//! What can go wrong with the bucket, in words for the operator: what was answered and what to change.
//!
//! Texts are made from parts known to be harmless (status, the store's error code, the operating system's words):
//! no header, no query of a URL, no secret gets into them.

use object_store::client::{HttpError, HttpErrorKind};
use std::io;
use std::path::PathBuf;

/// A failed operation on the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage URL has a scheme that is not supported.
    #[error(
        "storage URL {url:?} is not understood: expected a directory, file:///dir, s3://bucket/prefix, \
         gs://bucket/prefix or az://container/prefix"
    )]
    Scheme {
        /// The URL.
        url: String,
    },
    /// The storage URL lacks the bucket.
    #[error("storage URL {url:?} names no bucket: expected {scheme}://bucket or {scheme}://bucket/prefix")]
    NoBucket {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// The storage URL contains a user name or password.
    #[error("the storage URL must not contain credentials; give them by the variables of the store's SDK")]
    Credentials,
    /// The endpoint is plain HTTP and nobody said that this is wanted.
    #[error(
        "endpoint {endpoint} is plain HTTP, over which recordings would travel unencrypted; use https, or set \
         {variable}=true if the network in between is trusted"
    )]
    PlainHttp {
        /// The endpoint.
        endpoint: String,
        /// The variable that allows it.
        variable: &'static str,
    },
    /// The local directory cannot be made or opened.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store's settings are wrong or lack something.
    #[error("cannot open {url}: {reason}")]
    Settings {
        /// The storage URL.
        url: String,
        /// Why not.
        reason: String,
    },
    /// No object can have such a key.
    #[error("{key:?} cannot be the key of an object: {reason}")]
    Key {
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A file that was to be uploaded cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file was written to while it was uploaded.
    #[error("{} changed while it was uploaded", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The store refused, failed or could not be reached.
    #[error("{action} {place} failed: {answer}; {}", cause.hint())]
    Remote {
        /// What was being done, such as `upload of`.
        action: &'static str,
        /// The object or prefix it was done to, as a URL.
        place: String,
        /// What kind of failure it was.
        cause: Cause,
        /// What the store answered, or why it did not.
        answer: String,
    },
    /// The object that the store shows after an upload has another size.
    #[error("{place} has {found_bytes} bytes where {sent_bytes} were sent")]
    Mismatch {
        /// The object, as a URL.
        place: String,
        /// What was sent.
        sent_bytes: u64,
        /// What the store says it has.
        found_bytes: u64,
    },
}

/// A kind of failure of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The credentials are not allowed to do this.
    Denied,
    /// The credentials are not known, or the signature is wrong.
    BadCredentials,
    /// The credentials have expired.
    Expired,
    /// There are no credentials, and the machine's own could not be fetched.
    NoCredentials,
    /// The request's time differs too much from the store's.
    Clock,
    /// The bucket does not exist.
    NoBucket,
    /// The object does not exist.
    NotFound,
    /// The bucket is in another region.
    Region,
    /// Nothing answers at the endpoint.
    Unreachable,
    /// The store did not answer in time.
    Timeout,
    /// The connection ended before the answer.
    Interrupted,
    /// The store failed or is overloaded.
    Busy,
    /// The store does not know a feature that was used.
    Unsupported,
    /// What arrived was not what was sent.
    Damaged,
    /// The local disk is full.
    DiskFull,
    /// The local directory may not be written to.
    NotWritable,
    /// Something else.
    Other,
}

impl Cause {
    /// What the operator can change about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Denied => "check the bucket credentials: they must be allowed to put, get, list and delete objects",
            Self::BadCredentials => "check the bucket credentials (for S3 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
            Self::Expired => "renew the bucket credentials (for S3 AWS_SESSION_TOKEN)",
            Self::NoCredentials => {
                "give the bucket credentials (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; profiles are not read)"
            }
            Self::Clock => "set this machine's clock",
            Self::NoBucket => "create the bucket, or correct STORAGE_URL",
            Self::NotFound => "check that nobody else deletes in the bucket",
            Self::Region => "set AWS_REGION to the bucket's region",
            Self::Unreachable => "check the endpoint (for S3 AWS_ENDPOINT) and the network",
            Self::Timeout => "check the network and the store (a slow line may need a longer AWS_TIMEOUT)",
            Self::Interrupted => "check the network and the store",
            Self::Busy => "nothing to change here unless it lasts; see the store's status",
            Self::Unsupported => "the store lacks a feature; for checksums try AWS_CHECKSUM_ALGORITHM=none",
            Self::Damaged => "check this machine's memory and network if it lasts",
            Self::DiskFull => "make room on the disk",
            Self::NotWritable => "let this user write to the directory",
            Self::Other => "see the store's documentation",
        }
    }
}

impl Error {
    /// Whether the same operation can succeed later without a restart. What a bucket refuses can be allowed in the
    /// meantime; a file that is not there does not come back.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Remote { .. } | Self::Mismatch { .. })
    }

    /// Whether the object or its bucket does not exist.
    pub fn is_not_found(&self) -> bool {
        self.cause() == Some(Cause::NotFound)
    }

    /// Whether it may mean that the object does not exist. S3 says "denied" for one that is not there to those who may not
    /// list. If they may not read either, a put will say so.
    pub fn may_mean_missing(&self) -> bool {
        self.is_not_found() || self.cause() == Some(Cause::Denied)
    }

    /// What kind of failure it was, if it was the store's.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Remote { cause, .. } => Some(*cause),
            Self::Mismatch { .. } => Some(Cause::Damaged),
            _ => None,
        }
    }

    /// What happened, without what was being done and to what.
    pub fn answer(&self) -> String {
        match self {
            Self::Remote { answer, .. } => answer.clone(),
            Self::Mismatch { sent_bytes, found_bytes, .. } => {
                format!("the store has {found_bytes} bytes where {sent_bytes} were sent")
            }
            Self::File { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// What the operator can change about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::FileChanged { .. } => "check who else works in the spool directory",
            other => other.cause().map_or("correct the settings", Cause::hint),
        }
    }

    pub(super) fn remote(action: &'static str, place: String, error: &object_store::Error) -> Self {
        let (cause, answer) = explain(error);
        Self::Remote { action, place, cause, answer }
    }
}

/// Sorts an error of `object_store` and says in a few words what was answered. Its type for failed requests is
/// private, so status and error code are read from its text; the tests hold that to the version in use.
pub(super) fn explain(error: &object_store::Error) -> (Cause, String) {
    let (mut http_kind, mut io_kind) = (None, None);
    let mut text = error.to_string();
    let mut innermost = text.clone();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        innermost = error.to_string();
        text.push('\n');
        text.push_str(&innermost);
        if let Some(http) = error.downcast_ref::<HttpError>() {
            http_kind = Some(http.kind());
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            io_kind = Some(io.kind());
        }
        next = error.source();
    }
    // Where S3, Google Cloud and Azure clients look for a machine's own credentials when none are given.
    let own = ["/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/identity"];
    if own.iter().any(|path| text.contains(path)) {
        let answer = "no credentials are given, and this machine has none of its own";
        return (Cause::NoCredentials, answer.to_owned());
    }
    if let Some(status) = between(&text, "status code: ", ":") {
        let code = between(&text, "<Code>", "</Code>").filter(|c| c.bytes().all(|b| b.is_ascii_alphanumeric()));
        let answer = code.map_or_else(|| status.to_owned(), |code| format!("{status} ({code})"));
        let number = status.get(..3).and_then(|n| n.parse().ok()).unwrap_or(0);
        return (cause_of_status(number, code.unwrap_or_default()), answer);
    }
    if text.contains("redirect without LOCATION") {
        return (Cause::Region, "the bucket is elsewhere".to_owned());
    }
    match (error, io_kind, http_kind) {
        (object_store::Error::NotFound { .. }, ..) => (Cause::NotFound, "no such object".to_owned()),
        (_, _, Some(HttpErrorKind::Timeout)) => (Cause::Timeout, "no answer in time".to_owned()),
        (_, _, Some(HttpErrorKind::Connect)) => (Cause::Unreachable, scrub(&innermost)),
        (_, _, Some(_)) => (Cause::Interrupted, scrub(&innermost)),
        (_, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded), _) => (Cause::DiskFull, scrub(&innermost)),
        (_, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem), _) => {
            (Cause::NotWritable, scrub(&innermost))
        }
        _ => (Cause::Other, scrub(&innermost)),
    }
}

fn cause_of_status(status: u16, code: &str) -> Cause {
    match (status, code) {
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "AuthorizationHeaderMalformed") => {
            Cause::BadCredentials
        }
        (_, "ExpiredToken") => Cause::Expired,
        (_, "RequestTimeTooSkewed") => Cause::Clock,
        (_, "NoSuchBucket") => Cause::NoBucket,
        (_, "PermanentRedirect" | "IllegalLocationConstraintException") => Cause::Region,
        (_, "BadDigest" | "XAmzContentSHA256Mismatch" | "InvalidDigest") => Cause::Damaged,
        (_, "RequestTimeout") => Cause::Timeout,
        (_, "NotImplemented") | (501, _) => Cause::Unsupported,
        (401, _) => Cause::BadCredentials,
        (403, _) => Cause::Denied,
        (404, _) => Cause::NotFound,
        (301 | 307, _) => Cause::Region,
        (408, _) => Cause::Timeout,
        (429 | 500..=599, _) => Cause::Busy,
        _ => Cause::Other,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    let line = rest.split(['\n', '\r']).next().unwrap_or(rest);
    Some(line.split(end).next().unwrap_or(line).trim())
}

/// One line of at most 300 characters in which URLs have lost their queries, where tokens can be.
pub(super) fn scrub(text: &str) -> String {
    let words = text.split_whitespace().map(|word| match word.find("://") {
        Some(_) => word.split('?').next().unwrap_or(word),
        None => word,
    });
    words.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_their_queries() {
        let text = "error for https://a.example/b?sig=SECRET&x=1 and\nmore?";
        assert_eq!(scrub(text), "error for https://a.example/b and more?");
    }

    #[test]
    fn local_errors_say_what_the_system_said() {
        let error = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        let error = Error::remote("upload of", "/rec/a".to_owned(), &error);
        assert_eq!(error.cause(), Some(Cause::DiskFull));
        assert_eq!(error.to_string(), "upload of /rec/a failed: no storage space; make room on the disk");
    }
}
