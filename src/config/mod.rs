//! Settings, from environment variables. Every mistake is found before any is reported.
//!
//! A variable that is empty counts as absent. A secret may be given as a file: `ZOOM_CLIENT_SECRET_FILE` and so on.

mod admin;
mod apps;
mod env;
mod events;
mod rest;

pub use crate::secret::Secret;
pub use admin::AdminConfig;
pub use apps::{App, AppIndex, Apps};
pub use env::Mistakes;
pub use events::{CloudPolicy, EventsConfig};
pub use rest::{RestConfig, RestartPolicy};

use crate::ids::Product;
use crate::output::Template;
use crate::protocol::message::{AudioStreams, Medium};
use crate::protocol::server_urls::AllowedHosts;
use crate::timeline::clock::PausePolicy;
use crate::timeline::picture::EncodePolicy;
use env::Env;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What signs handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Client id, or SDK key.
    pub id: String,
    /// Client secret, or SDK secret.
    pub secret: Secret,
}

/// The pictures' size that Zoom is asked for; also the canvas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoSize {
    /// 854x480.
    Sd,
    /// 1280x720.
    Hd,
    /// 1920x1080.
    Fhd,
    /// 2560x1440.
    Qhd,
}

impl VideoSize {
    /// Width and height in pixels.
    pub fn pixels(self) -> (u32, u32) {
        match self {
            Self::Sd => (854, 480),
            Self::Hd => (1280, 720),
            Self::Fhd => (1920, 1080),
            Self::Qhd => (2560, 1440),
        }
    }

    /// Zoom's number for it.
    pub fn resolution(self) -> i64 {
        match self {
            Self::Sd => 1,
            Self::Hd => 2,
            Self::Fhd => 3,
            Self::Qhd => 4,
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// All settings of `serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The apps whose events come here.
    pub apps: Apps,
    /// The event WebSocket, if events come by it.
    pub events: Option<EventsConfig>,
    /// Where sockets may be opened.
    pub allowed_hosts: AllowedHosts,
    /// Where streams are expected to come from; empty if from anywhere.
    pub regions: Vec<String>,
    /// Whether webhooks without a signature are taken.
    pub allow_unsigned: bool,
    /// The public listener.
    pub listen: SocketAddr,
    /// The status page, its API and the metrics; none if they are off.
    pub admin: Option<AdminConfig>,
    /// The path of the webhook.
    pub webhook_path: String,
    /// Where recordings go.
    pub storage_url: String,
    /// Journals and work in progress.
    pub spool_dir: PathBuf,
    /// Below so many free bytes no new stream is taken.
    pub spool_min_free: u64,
    /// What to ask Zoom for.
    pub media: Vec<Medium>,
    /// Whether sound comes mixed or from each participant.
    pub audio_streams: AudioStreams,
    /// Pictures a second.
    pub video_fps: u32,
    /// How files are made.
    pub render: RenderConfig,
    /// How Zoom's REST API is asked.
    pub rest: RestConfig,
    /// When a stream that ended in trouble is started again.
    pub restart: RestartPolicy,
    /// What becomes of cloud recordings.
    pub cloud_recordings: CloudPolicy,
    /// What becomes of streams that run when the process is told to stop.
    pub shutdown: Shutdown,
    /// How long that may take.
    pub shutdown_grace: Duration,
    /// Whether the bucket has a page that lists all recordings.
    pub catalogue: bool,
    /// How logs are written.
    pub log_format: LogFormat,
}

/// The settings that decide what files are made of a journal.
#[derive(Clone, Debug)]
pub struct RenderConfig {
    /// Of the AAC, in bit/s.
    pub audio_bitrate: u32,
    /// Pictures' size and canvas.
    pub video_size: VideoSize,
    /// Which pictures are encoded anew.
    pub video_encode: EncodePolicy,
    /// What becomes of the time during which a session was paused.
    pub paused: PausePolicy,
    /// Where recordings are in the bucket.
    pub key_template: Template,
    /// Whether the journal is published, too.
    pub keep_journal: bool,
}

impl RenderConfig {
    /// Reads these settings alone.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut env = Env::new(env);
        let config = Self::read(&mut env);
        env.checked(config)
    }

    fn read(env: &mut Env<'_>) -> Self {
        Self {
            audio_bitrate: env.bitrate("AUDIO_BITRATE", 64_000),
            video_size: env.choice(
                "VIDEO_SIZE",
                &[("hd", VideoSize::Hd), ("sd", VideoSize::Sd), ("fhd", VideoSize::Fhd), ("qhd", VideoSize::Qhd)],
            ),
            video_encode: env.choice(
                "VIDEO_ENCODE",
                &[("auto", EncodePolicy::Auto), ("copy", EncodePolicy::Copy), ("always", EncodePolicy::Always)],
            ),
            paused: env.choice("PAUSED", &[("cut", PausePolicy::Cut), ("keep", PausePolicy::Keep)]),
            key_template: env.key_template(),
            keep_journal: env.choice("KEEP_JOURNAL", &[("false", false), ("true", true)]),
        }
    }
}

/// What becomes of streams that run when the process is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Their sockets are dropped without a word: Zoom holds them for whoever connects next.
    Handover,
    /// They end there; what has come is rendered and published.
    Finish,
}

impl Config {
    /// Reads the settings for finishing a spool, for which Zoom is not needed.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn for_recovery(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let of_zoom: [&[&str]; 3] = [&CLIENT_IDS, &CLIENT_SECRETS, &events::SECRET_TOKENS];
        let given = Env::new(env);
        let absent = of_zoom.map(|names| (!given.is_any_set(names)).then_some(names[0]));
        let not_needed = |name: &str| absent.contains(&Some(name)).then(|| "not needed".to_owned());
        let mut config =
            Self::from_env(&|name| env(name).filter(|value| !value.is_empty()).or_else(|| not_needed(name)))?;
        config.restart = RestartPolicy::Off;
        if absent[0].or(absent[1]).is_some() {
            config.rest.forget_app();
        }
        Ok(config)
    }

    /// Reads all settings from `env`, which gives the value of a variable.
    ///
    /// # Errors
    /// Every mistake, each with its variable and what was expected.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut env = Env::new(env);
        let apps = Apps::read(&mut env);
        let host = env.parsed("HOST", "an IP address", IpAddr::from([0, 0, 0, 0]));
        let port = env.parsed("PORT", "a port number", 3000);
        let allowed_hosts = env.allowed_hosts();
        let general = apps.first(Product::Meeting).cloned();
        let rest = RestConfig::read(&mut env, general.as_ref(), apps.first(Product::Session), &allowed_hosts);
        let config = Self {
            events: env.events(general.as_ref(), &rest, &allowed_hosts),
            rest,
            restart: env.choice(
                "ZOOM_RESTART",
                &[("auto", RestartPolicy::Auto), ("on", RestartPolicy::On), ("off", RestartPolicy::Off)],
            ),
            cloud_recordings: env
                .choice("CLOUD_RECORDINGS", &[("import", CloudPolicy::Import), ("ignore", CloudPolicy::Ignore)]),
            apps,
            allowed_hosts,
            regions: env.regions(),
            allow_unsigned: env.choice("ZOOM_ALLOW_UNSIGNED", &[("false", false), ("true", true)]),
            listen: SocketAddr::new(host, port),
            admin: AdminConfig::read(&mut env),
            webhook_path: env.path("WEBHOOK_PATH", "/webhook"),
            storage_url: env.storage_url(),
            spool_dir: env.text("SPOOL_DIR").unwrap_or_else(|| "./spool".into()).into(),
            spool_min_free: env.bytes("SPOOL_MIN_FREE", 5 << 30),
            media: env.media("MEDIA"),
            render: RenderConfig::read(&mut env),
            audio_streams: env.choice(
                "AUDIO_STREAMS",
                &[("mixed", AudioStreams::Mixed), ("participants", AudioStreams::Participants)],
            ),
            video_fps: env.in_range("VIDEO_FPS", 6, 30, 25),
            shutdown: env.choice("SHUTDOWN", &[("handover", Shutdown::Handover), ("finish", Shutdown::Finish)]),
            shutdown_grace: env.seconds("SHUTDOWN_GRACE", Duration::from_secs(25)),
            catalogue: env.choice("CATALOGUE", &[("true", true), ("false", false)]),
            log_format: env.choice("LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        };
        env.checked(config)
    }
}

/// Where recordings are; all that is needed to look at them.
pub fn storage_url(env: &dyn Fn(&str) -> Option<String>) -> String {
    Env::new(env).storage_url()
}

/// Where recordings are below it.
///
/// # Errors
/// If it is no template.
pub fn key_template(env: &dyn Fn(&str) -> Option<String>) -> Result<Template, Mistakes> {
    let mut env = Env::new(env);
    let template = env.key_template();
    env.checked(template)
}

const CLIENT_IDS: [&str; 5] =
    ["ZOOM_CLIENT_ID", "ZM_CLIENT_ID", "ZM_RTMS_CLIENT", "ZOOM_APP_CLIENT_ID", "ZOOM_RTMS_CLIENT_ID"];
const CLIENT_SECRETS: [&str; 4] =
    ["ZOOM_CLIENT_SECRET", "ZM_CLIENT_SECRET", "ZM_RTMS_SECRET", "ZOOM_APP_CLIENT_SECRET"];

/// What is read in more than one place, or needs more than a line.
impl Env<'_> {
    fn app(&mut self) -> Option<Credentials> {
        self.credentials(&CLIENT_IDS, &CLIENT_SECRETS, "of the Zoom app, from its page App Credentials")
    }

    /// Whether anything of the first app's credentials is set.
    fn has_app(&self) -> bool {
        self.is_any_set(&CLIENT_IDS) || self.is_any_set(&CLIENT_SECRETS)
    }

    fn video_sdk(&mut self) -> Option<Credentials> {
        self.pair("ZOOM_VIDEO_SDK_KEY", "ZOOM_VIDEO_SDK_SECRET")
    }

    fn credentials(&mut self, ids: &[&str], secrets: &[&str], whose: &str) -> Option<Credentials> {
        let id = self.first_text(ids);
        let secret = self.secret(secrets);
        if id.is_none() {
            self.mistake(ids[0], format_args!("is required: the client id {whose}"));
        }
        if secret.is_none() {
            self.mistake(secrets[0], format_args!("is required: the client secret {whose}"));
        }
        Some(Credentials { id: id?, secret: secret? })
    }

    /// Both or none.
    fn pair(&mut self, id_name: &str, secret_name: &str) -> Option<Credentials> {
        match (self.text(id_name), self.secret(&[secret_name])) {
            (Some(id), Some(secret)) => Some(Credentials { id, secret }),
            (None, None) => None,
            _ => {
                self.mistake(id_name, format_args!("is used together with {secret_name}; one of them is not set"));
                None
            }
        }
    }

    fn allowed_hosts(&self) -> AllowedHosts {
        AllowedHosts::new(&self.text("ZOOM_ALLOWED_HOSTS").unwrap_or_else(|| ".zoom.us".into()))
    }

    fn regions(&mut self) -> Vec<String> {
        let text = self.text("REGIONS").unwrap_or_default().to_ascii_lowercase();
        let regions: Vec<String> =
            text.split(',').map(str::trim).filter(|r| !r.is_empty()).map(str::to_owned).collect();
        if regions.iter().any(|region| region.len() != 3 || !region.bytes().all(|b| b.is_ascii_lowercase())) {
            self.mistake(
                "REGIONS",
                format_args!("is {text:?}; expected codes of three letters as in Zoom's host names, such as iad,sjc"),
            );
        }
        regions
    }

    fn storage_url(&self) -> String {
        self.text("STORAGE_URL").unwrap_or_else(|| "./recordings".into())
    }

    fn key_template(&mut self) -> Template {
        match self.text("KEY_TEMPLATE").as_deref().map(str::parse) {
            Some(Ok(template)) => template,
            Some(Err(err)) => {
                self.mistake("KEY_TEMPLATE", err);
                Template::default()
            }
            None => Template::default(),
        }
    }

    fn bitrate(&mut self, name: &str, default: u32) -> u32 {
        let Some(text) = self.text(name) else { return default };
        let (digits, factor) = match text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1000),
            None => (text.as_str(), 1),
        };
        let value = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
        match value {
            // What AAC at 16 kHz mono can be given.
            Some(value @ 16_000..=96_000) => value,
            _ => {
                self.mistake(name, format_args!("is {text:?}; expected 16k to 96k"));
                default
            }
        }
    }

    fn media(&mut self, name: &str) -> Vec<Medium> {
        let Some(text) = self.text(name) else { return Medium::ALL.to_vec() };
        let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let known = |word: &str| Medium::ALL.iter().any(|medium| medium.as_str() == word);
        let unknown: Vec<&&str> = words.iter().filter(|word| !known(word)).collect();
        if words.is_empty() || !unknown.is_empty() {
            let all: Vec<&str> = Medium::ALL.iter().map(|medium| medium.as_str()).collect();
            self.mistake(name, format_args!("is {text:?}; expected some of {}, joined by commas", all.join(",")));
        }
        Medium::ALL.into_iter().filter(|medium| words.contains(&medium.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, Mistakes> {
        Config::from_env(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    const NEEDED: [(&str, &str); 3] =
        [("ZOOM_CLIENT_ID", "id"), ("ZOOM_CLIENT_SECRET", "hush"), ("ZOOM_SECRET_TOKEN", "quiet")];

    #[test]
    fn defaults_need_three_values() {
        let config = config(&NEEDED).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:3000");
        assert_eq!((config.storage_url.as_str(), config.spool_min_free), ("./recordings", 5 << 30));
        assert_eq!(config.media, Medium::ALL);
        assert_eq!(
            (config.render.video_size.pixels(), config.video_fps, config.render.audio_bitrate),
            ((1280, 720), 25, 64_000)
        );
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let mistakes = config(&[
            ("ZOOM_CLIENT_ID", " "),
            ("PORT", "http"),
            ("VIDEO_SIZE", "huge"),
            ("VIDEO_FPS", "31"),
            ("SPOOL_MIN_FREE", "lots"),
            ("AUDIO_BITRATE", "1k"),
            ("MEDIA", "audio,smell"),
            ("WEBHOOK_PATH", "webhook"),
            ("ZOOM_VIDEO_SDK_KEY", "k"),
            ("ZOOM_CLIENT_SECRET_FILE", "/nonexistent"),
        ])
        .unwrap_err();
        insta::assert_snapshot!(mistakes, @r#"
        11 settings are wrong:
          ZOOM_CLIENT_SECRET_FILE names /nonexistent, which cannot be read: No such file or directory (os error 2)
          ZOOM_CLIENT_ID is required: the client id of the Zoom app, from its page App Credentials
          ZOOM_VIDEO_SDK_KEY is used together with ZOOM_VIDEO_SDK_SECRET; one of them is not set
          ZOOM_SECRET_TOKEN is required: the Secret Token of the Zoom app, from its page Access (or ZOOM_SUBSCRIPTION_ID, for events without webhooks)
          PORT is "http"; expected a port number
          WEBHOOK_PATH is "webhook"; expected a path such as /webhook
          SPOOL_MIN_FREE is "lots"; expected a size such as 5GiB
          MEDIA is "audio,smell"; expected some of audio,video,share,transcript,chat, joined by commas
          AUDIO_BITRATE is "1k"; expected 16k to 96k
          VIDEO_SIZE is "huge"; expected one of hd, sd, fhd, qhd
          VIDEO_FPS is 31; expected a whole number from 6 to 30
        "#);
    }

    #[test]
    fn values_are_read_and_secrets_are_not_shown() {
        let mut vars = NEEDED.to_vec();
        vars.extend([
            ("SPOOL_MIN_FREE", "512 MiB"),
            ("AUDIO_BITRATE", "48k"),
            ("MEDIA", "video, audio"),
            ("REGIONS", "IAD, sjc"),
            ("PORT", "0"),
        ]);
        let config = config(&vars).unwrap();
        assert_eq!((config.spool_min_free, config.render.audio_bitrate), (512 << 20, 48_000));
        assert_eq!(config.media, [Medium::Audio, Medium::Video]);
        assert_eq!(config.regions, ["iad", "sjc"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("quiet"), "{shown}");
    }

    #[test]
    fn recovery_makes_do_without_an_app_and_uses_the_one_that_is_given() {
        let recovery = |vars: &[(&str, &str)]| {
            Config::for_recovery(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        // Zoom is not to be asked with what is no app's.
        assert!(recovery(&[]).unwrap().rest.credentials.is_none());
        let apart = [("ZOOM_REST_CLIENT_ID", "apart"), ("ZOOM_REST_CLIENT_SECRET", "hush")];
        assert_eq!(recovery(&apart).unwrap().rest.credentials.unwrap().id, "apart");
        let config = recovery(&[("ZM_CLIENT_ID", "id"), ("ZM_CLIENT_SECRET", "hush")]).unwrap();
        let (_, app) = config.apps.iter().next().unwrap();
        let general = app.general.as_ref().unwrap();
        assert_eq!((general.id.as_str(), general.secret.expose()), ("id", "hush"));
        assert!(config.rest.credentials.is_some());
        let mistakes = recovery(&[("ZOOM_CLIENT_SECRET_FILE", "/nonexistent")]).unwrap_err().to_string();
        assert!(mistakes.contains("ZOOM_CLIENT_SECRET_FILE names /nonexistent"), "{mistakes}");
    }

    #[test]
    fn secrets_come_from_files_and_under_other_names() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("secret");
        std::fs::write(&path, "hush\n").unwrap();
        let config = config(&[
            ("ZM_CLIENT_ID", "id"),
            ("ZM_CLIENT_SECRET_FILE", path.to_str().unwrap()),
            ("ZM_RTMS_WEBHOOK_SECRET", "quiet"),
        ])
        .unwrap();
        let (_, app) = config.apps.iter().next().unwrap();
        let general = app.general.as_ref().unwrap();
        assert_eq!((general.secret.expose(), app.secret_token.as_ref().unwrap().expose()), ("hush", "quiet"));
    }
}
