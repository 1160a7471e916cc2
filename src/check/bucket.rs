//! The bucket: reached, written to, read back, uploaded to in parts, deleted from; all under the prefix.

use super::{Finding, Outcome};
use crate::store::trial::Created;
use crate::store::{Attributes, Error, Store};
use bytes::Bytes;

/// The folder of what is tried. Recordings have a year there.
const FOLDER: &str = "rtms-recorder-check";
/// S3 takes no smaller part, unless it is the last.
const LEAST_PART: usize = 5 << 20;
const CONTENT: &[u8] = b"rtms-recorder check; this object may be deleted\n";
const ATTRIBUTES: Attributes<'static> =
    Attributes { content_type: "text/plain", cache_control: "no-store", is_media: false, recording: None };

/// Whether it answers and lets us in. Quick, and changes nothing.
pub async fn answers(store: &Store) -> Finding {
    match store.probe().await {
        Ok(()) => Finding::ok("bucket", format!("{} can be listed", store.describe())),
        Err(err) => failed("bucket", &err),
    }
}

fn failed(check: &'static str, err: &Error) -> Finding {
    Finding::error(check, err, err.hint())
}

/// Does with a few objects what is done with recordings. Ends at the first failure: the rest would only repeat it.
pub async fn all(store: &Store) -> Vec<Finding> {
    let first = answers(store).await;
    if first.outcome != Outcome::Ok {
        return vec![first];
    }
    let mut findings = vec![first];
    // Two may be checking at a time.
    let name = uuid::Uuid::new_v4().simple();
    let (small, large) = (format!("{FOLDER}/{name}.txt"), format!("{FOLDER}/{name}.bin"));
    let tried = try_out(store, &small, &large, &mut findings).await;
    let deleted = delete(store, [&small, &large]).await;
    if store.is_local() {
        // Objects have no folders, but files do.
        std::fs::remove_dir(store.locate(FOLDER)).ok();
    }
    match tried {
        Ok(()) => findings.push(deleted),
        // What could not be written need not be deleted.
        Err(failure) => findings.push(failure),
    }
    findings
}

async fn try_out(store: &Store, small: &str, large: &str, findings: &mut Vec<Finding>) -> Result<(), Finding> {
    let content = Bytes::from_static(CONTENT);
    let put = store.put_version(small, content.clone(), ATTRIBUTES).await;
    let version = put.map_err(|err| failed("bucket write", &err))?;
    findings.push(Finding::ok("bucket write", "an object was stored"));

    let read = store.get(small).await.map_err(|err| failed("bucket read", &err))?;
    if read != content {
        let text = format!("{} came back as something else than was stored", store.locate(small));
        return Err(Finding::failure(
            "bucket read",
            text,
            "look at the store, and at what is between it and this machine",
        ));
    }
    findings.push(Finding::ok("bucket read", "it came back byte by byte"));

    let noise = |len: usize| Bytes::from((0..len).map(|at| ((at * 31) >> 3) as u8).collect::<Vec<_>>());
    let parts = vec![noise(LEAST_PART), noise(1000)];
    let put = store.put_in_parts(large, parts.clone(), ATTRIBUTES).await;
    put.map_err(|err| failed("bucket multipart", &err))?;
    let stored = store.get(large).await.map_err(|err| failed("bucket multipart", &err))?;
    if stored != parts.concat() {
        let text = format!("{} came back as something else than was stored", store.locate(large));
        let fix = "look at the store, and at what is between it and this machine";
        return Err(Finding::failure("bucket multipart", text, fix));
    }
    findings.push(Finding::ok("bucket multipart", "two parts became one object, which came back byte by byte"));
    findings.push(checksums(store));

    // The first one is there, so it must be refused; which a store that knows no conditions does not do.
    let condition = store.create(small, content, ATTRIBUTES).await;
    findings.push(match &condition {
        Ok(Created::Exists) => {
            Finding::ok("bucket conditions", "what is there is not overwritten if that is asked for")
        }
        Ok(Created::New) => Finding::warning(
            "bucket conditions",
            "the store ignores If-None-Match; the recorder can do without",
            "nothing, as long as each recorder has a spool of its own",
        ),
        Err(err) => Finding::warning("bucket conditions", err.to_string(), "nothing; the recorder can do without"),
    });
    findings.push(versions(store, version.as_deref()));
    Ok(())
}

/// What the store was sent along with the content, to compare it with.
fn checksums(store: &Store) -> Finding {
    const CHECK: &str = "bucket checksums";
    match store.checksum() {
        Some(name) => Finding::ok(CHECK, format!("the store took a {name} with each piece")),
        None if store.is_local() => Finding::ok(CHECK, "none are needed in a directory"),
        None if !store.describe().starts_with("s3://") => {
            Finding::ok(CHECK, "none are sent to this kind of store; the size is compared")
        }
        None => Finding::warning(
            CHECK,
            "pieces are sent without checksums, so that only their size is compared",
            "unset AWS_CHECKSUM_ALGORITHM if the store knows SHA-256, or set it to crc64nvme",
        ),
    }
}

/// Whether what is deleted, because consent was withdrawn, is kept by the bucket. `version` is that of an object.
fn versions(store: &Store, version: Option<&str>) -> Finding {
    const CHECK: &str = "bucket versions";
    if store.is_local() {
        return Finding::ok(CHECK, "a directory keeps none");
    }
    if !store.tells_versions() {
        let fix = "see that object versioning and soft delete are off: what is deleted because consent was withdrawn must not stay";
        return Finding::warning(CHECK, "whether the bucket keeps versions cannot be found out here", fix);
    }
    match version {
        Some(version) if version != "null" => Finding::warning(
            CHECK,
            "the bucket keeps versions: what is deleted because consent was withdrawn stays as an older version",
            "use a bucket without versioning, or a lifecycle rule that deletes noncurrent versions and delete markers",
        ),
        _ => Finding::ok(CHECK, "the bucket keeps none"),
    }
}

async fn delete(store: &Store, keys: [&String; 2]) -> Finding {
    const CHECK: &str = "bucket delete";
    for key in keys {
        if let Err(err) = store.delete(key).await {
            return failed(CHECK, &err);
        }
    }
    match store.list(FOLDER).await {
        Ok(left) if left.iter().any(|head| keys.contains(&&head.key)) => {
            let text = format!("{} is still there after it was deleted", store.locate(FOLDER));
            Finding::failure(CHECK, text, "look at the bucket for locks and retention: withdrawn recordings have to go")
        }
        Ok(_) => Finding::ok(CHECK, "what was stored is gone again"),
        Err(err) => failed(CHECK, &err),
    }
}
