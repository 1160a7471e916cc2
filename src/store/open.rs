//! From a storage URL and the environment to a backend.

use super::Error;
use super::error::scrub;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What a variable of the environment holds.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) struct Opened {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// `s3://bucket/prefix`, or the absolute path of the directory; no slash at the end.
    pub(super) place: String,
    pub(super) endpoint: Option<String>,
    /// The directory, if it is one. Objects have no content type there.
    pub(super) directory: Option<PathBuf>,
    /// What signs links, if it is no directory.
    pub(super) signing: Option<Signing>,
    /// The checksum that is sent with each piece, by its name.
    pub(super) checksum: Option<String>,
}

/// How links are signed.
pub(super) struct Signing {
    pub(super) signer: Arc<dyn Signer>,
    /// Comes before each key.
    pub(super) prefix: Path,
    /// How long a link may work, if the store has a limit.
    pub(super) longest: Option<Duration>,
}

/// Signature Version 4 of Amazon, and of Google after it: 7 days.
const LONGEST_V4: Duration = Duration::from_secs(7 * 24 * 3600);

/// The variables that are read for S3, as the AWS SDKs and `object_store` name them.
const AWS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_UNSIGNED_PAYLOAD",
    "AWS_SKIP_SIGNATURE",
    "AWS_REQUEST_PAYER",
    "AWS_DISABLE_TAGGING",
    "AWS_DISABLE_BULK_DELETE",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_IMDSV1_FALLBACK",
];

const GOOGLE: &[&str] = &[
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_BASE_URL",
    "GOOGLE_SKIP_SIGNATURE",
];

const AZURE: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_DISABLE_TAGGING",
];

/// What may be said about connections; each store has its own prefix, as in `AWS_ALLOW_HTTP`.
const CLIENT: &[&str] = &[
    "ALLOW_HTTP",
    "ALLOW_INVALID_CERTIFICATES",
    "CONNECT_TIMEOUT",
    "TIMEOUT",
    "HTTP1_ONLY",
    "HTTP2_ONLY",
    "POOL_IDLE_TIMEOUT",
    "POOL_MAX_IDLE_PER_HOST",
    "PROXY_URL",
    "PROXY_CA_CERTIFICATE",
    "PROXY_EXCLUDES",
    "USER_AGENT",
];

/// What is done about a local directory that is not there.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    Make,
    Refuse,
}

pub(super) fn open(url_or_path: &str, env: Env<'_>, missing: Missing) -> Result<Opened, Error> {
    let text = url_or_path.trim();
    let unknown = || Error::Scheme { url: text.to_owned() };
    // An empty variable means the same as none: compose files and unit files set them so.
    let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    if !text.contains("://") {
        let looks_like_a_url = ["s3:", "gs:", "az:", "file:"].iter().any(|s| text.starts_with(s));
        return if text.is_empty() || looks_like_a_url { Err(unknown()) } else { local(PathBuf::from(text), missing) };
    }
    let Ok(url) = Url::parse(text) else {
        // `s3://` and `s3:///prefix` have no host, which some schemes may not have.
        return Err(unknown());
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(unknown());
    }
    match url.scheme() {
        "file" => local(url.to_file_path().map_err(|()| unknown())?, missing),
        "s3" | "gs" | "az" => cloud(&url, &env),
        _ => Err(unknown()),
    }
}

fn local(path: PathBuf, missing: Missing) -> Result<Opened, Error> {
    let refused = |source| Error::Directory { path: path.clone(), source };
    if let Missing::Make = missing {
        std::fs::create_dir_all(&path).map_err(refused)?;
    }
    let path = std::fs::canonicalize(&path).map_err(refused)?;
    let place = path.display().to_string();
    let objects = LocalFileSystem::new_with_prefix(&path).map_err(|e| settings(&place, &e))?.with_fsync(true);
    Ok(Opened {
        objects: Arc::new(objects),
        place,
        endpoint: None,
        directory: Some(path),
        signing: None,
        checksum: None,
    })
}

fn cloud(url: &Url, env: Env<'_>) -> Result<Opened, Error> {
    let bucket = url.host_str().unwrap_or_default();
    if bucket.is_empty() {
        return Err(Error::NoBucket { url: url.to_string(), scheme: url.scheme().to_owned() });
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(Error::Settings {
            url: url.to_string(),
            reason: "this process has installed no TLS provider".to_owned(),
        });
    }
    let path = Path::from_url_path(url.path())
        .map_err(|e| Error::Key { key: url.path().to_owned(), reason: scrub(&e.to_string()) })?;
    let (backend, longest) = match url.scheme() {
        "s3" => (s3(url, bucket, env)?, Some(LONGEST_V4)),
        "gs" => (gcs(url, bucket, env)?, Some(LONGEST_V4)),
        _ => (azure(url, bucket, env)?, None),
    };
    let Backend { objects, signer, endpoint } = backend;
    let checksum = (url.scheme() == "s3").then(|| checksum(env)).flatten();
    let signing = Some(Signing { signer, prefix: path.clone(), longest });
    let mut place = format!("{}://{bucket}", url.scheme());
    let objects: Arc<dyn ObjectStore> = if path.is_root() {
        objects
    } else {
        place = format!("{place}/{path}");
        Arc::new(PrefixStore::new(objects, path))
    };
    Ok(Opened { objects, place, endpoint, directory: None, signing, checksum })
}

struct Backend {
    objects: Arc<dyn ObjectStore>,
    signer: Arc<dyn Signer>,
    endpoint: Option<String>,
}

impl Backend {
    fn new<T: ObjectStore + Signer>(store: T, endpoint: Option<String>) -> Self {
        let store = Arc::new(store);
        Self { objects: Arc::<T>::clone(&store), signer: store, endpoint }
    }
}

fn s3(url: &Url, bucket: &str, env: Env<'_>) -> Result<Backend, Error> {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| env(name));
    let endpoint = check_endpoint(endpoint, "AWS_ALLOW_HTTP", env)?;
    let mut builder = AmazonS3Builder::new().with_client_options(client_options()).with_retry(retry());
    for (key, value) in variables::<AmazonS3ConfigKey>(AWS, "AWS_", env) {
        builder = builder.with_config(key, value);
    }
    if let Some(algorithm) = checksum(env) {
        builder = builder.with_config(AmazonS3ConfigKey::Checksum, algorithm);
    }
    let objects = builder.with_bucket_name(bucket).build().map_err(|e| settings(url.as_str(), &e))?;
    Ok(Backend::new(objects, endpoint))
}

/// What S3 compares each piece with.
fn checksum(env: Env<'_>) -> Option<String> {
    let algorithm = env("AWS_CHECKSUM_ALGORITHM").unwrap_or_else(|| "SHA256".to_owned());
    (!algorithm.eq_ignore_ascii_case("none")).then_some(algorithm)
}

fn gcs(url: &Url, bucket: &str, env: Env<'_>) -> Result<Backend, Error> {
    let endpoint = check_endpoint(env("GOOGLE_BASE_URL"), "GOOGLE_ALLOW_HTTP", env)?;
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client_options()).with_retry(retry());
    for (key, value) in variables::<GoogleConfigKey>(GOOGLE, "GOOGLE_", env) {
        builder = builder.with_config(key, value);
    }
    let objects = builder.with_bucket_name(bucket).build().map_err(|e| settings(url.as_str(), &e))?;
    Ok(Backend::new(objects, endpoint))
}

fn azure(url: &Url, container: &str, env: Env<'_>) -> Result<Backend, Error> {
    let endpoint = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"].iter().find_map(|name| env(name));
    let endpoint = check_endpoint(endpoint, "AZURE_ALLOW_HTTP", env)?;
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client_options()).with_retry(retry());
    for (key, value) in variables::<AzureConfigKey>(AZURE, "AZURE_", env) {
        builder = builder.with_config(key, value);
    }
    let objects = builder.with_container_name(container).build().map_err(|e| settings(url.as_str(), &e))?;
    Ok(Backend::new(objects, endpoint))
}

fn variables<K: std::str::FromStr>(names: &[&str], prefix: &str, env: Env<'_>) -> Vec<(K, String)> {
    let own = names.iter().map(|name| (*name).to_owned());
    let client = CLIENT.iter().map(|name| format!("{prefix}{name}"));
    own.chain(client)
        .filter_map(|name| {
            let value = env(&name)?;
            let key = name.to_ascii_lowercase().parse().ok()?;
            Some((key, value))
        })
        .collect()
}

/// The endpoint as it may be shown. Refuses plain HTTP here, since `object_store` would only at the first request, and
/// without the fix.
fn check_endpoint(endpoint: Option<String>, variable: &'static str, env: Env<'_>) -> Result<Option<String>, Error> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let shown = match Url::parse(&endpoint) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(e) => {
            return Err(Error::Settings {
                url: "the endpoint".to_owned(),
                reason: format!("{e}: expected https://host or https://host:port"),
            });
        }
    };
    let allowed = env(variable).is_some_and(|v| matches!(v.to_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y"));
    if shown.starts_with("http://") && !allowed {
        return Err(Error::PlainHttp { endpoint: shown, variable });
    }
    Ok(Some(shown))
}

/// A request carries at most one part. With all parts in flight on a line of 2.5 Mbit/s it takes 110 s.
fn client_options() -> ClientOptions {
    ClientOptions::new().with_connect_timeout(Duration::from_secs(10)).with_timeout(Duration::from_secs(120))
}

/// Short: whoever calls retries for as long as it takes, and says so in the log.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(10),
    }
}

fn settings(url: &str, error: &object_store::Error) -> Error {
    Error::Settings { url: url.to_owned(), reason: scrub(&error.to_string()) }
}
