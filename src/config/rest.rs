//! The settings of Zoom's REST API, and of restarting streams by it.

use super::env::Env;
use super::{Config, Credentials, Mistakes};
use crate::ids::Product;
use crate::protocol::server_urls::AllowedHosts;
use reqwest::Url;

/// How Zoom's REST API is asked.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// Where the calls are, without the last `/`.
    pub api_url: Url,
    /// Where the token is.
    pub oauth_url: Url,
    /// The account of a Server-to-Server app; without it the app asks in its own name.
    pub account_id: Option<String>,
    /// What the token is asked with.
    pub credentials: Option<Credentials>,
    /// The app that RTMS is started for.
    pub client_id: String,
    /// What the tokens for Video SDK sessions are signed with.
    pub video_sdk: Option<Credentials>,
    /// Whether an app of its own asks: `ZOOM_REST_CLIENT_ID`, and `ZOOM_VIDEO_SDK_API_KEY` for sessions.
    another_asks: (bool, bool),
}

/// When a stream that ended in trouble is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// If `ZOOM_ACCOUNT_ID` is set.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl RestConfig {
    /// Reads what a call for this product needs.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>, product: Product) -> Result<Self, Mistakes> {
        let mut env = Env::new(env);
        let (mut app, mut video_sdk) = (None, None);
        if product == Product::Session {
            video_sdk = env.video_sdk();
        } else {
            app = env.app();
        }
        let hosts = env.allowed_hosts();
        let config = Self::read(&mut env, app.as_ref(), video_sdk.as_ref(), &hosts);
        env.checked(config)
    }

    /// The same, asked in the name of this app.
    pub(super) fn in_the_name_of(&self, app: Credentials, account_id: Option<String>) -> Self {
        Self { account_id, credentials: Some(app), ..self.clone() }
    }

    pub(super) fn read(
        env: &mut Env<'_>,
        app: Option<&Credentials>,
        video_sdk: Option<&Credentials>,
        hosts: &AllowedHosts,
    ) -> Self {
        let own = env.pair("ZOOM_REST_CLIENT_ID", "ZOOM_REST_CLIENT_SECRET");
        let video_sdk_api = env.pair("ZOOM_VIDEO_SDK_API_KEY", "ZOOM_VIDEO_SDK_API_SECRET");
        Self {
            another_asks: (own.is_some(), video_sdk_api.is_some()),
            api_url: env.address("ZOOM_API_URL", "https://api.zoom.us/v2", hosts),
            oauth_url: env.address("ZOOM_OAUTH_URL", "https://zoom.us/oauth/token", hosts),
            account_id: env.text("ZOOM_ACCOUNT_ID"),
            credentials: own.or_else(|| app.cloned()),
            client_id: app.map(|app| app.id.clone()).unwrap_or_default(),
            video_sdk: video_sdk_api.or_else(|| video_sdk.cloned()),
        }
    }

    /// For an app that is not there: unless another one asks, there is nothing to ask with.
    pub(super) fn forget_app(&mut self) {
        if !self.another_asks.0 {
            self.credentials = None;
        }
    }

    /// The same for streams of one of the apps: RTMS is started for that one, and it asks unless another app does.
    pub fn of_app(&self, app: &Credentials) -> Self {
        let (rest_asks, api_asks) = self.another_asks;
        let own = |another: bool, credentials: &Option<Credentials>| match another {
            true => credentials.clone(),
            false => Some(app.clone()),
        };
        Self {
            credentials: own(rest_asks, &self.credentials),
            client_id: app.id.clone(),
            video_sdk: own(api_asks, &self.video_sdk),
            ..self.clone()
        }
    }
}

impl Config {
    /// Whether streams that ended in trouble are started again.
    pub fn restarts(&self) -> bool {
        match self.restart {
            RestartPolicy::Auto => self.rest.account_id.is_some(),
            RestartPolicy::On => true,
            RestartPolicy::Off => false,
        }
    }
}

impl Env<'_> {
    /// The address of a server that gets credentials.
    fn address(&mut self, name: &str, default: &str, hosts: &AllowedHosts) -> Url {
        let text = self.text(name).unwrap_or_else(|| default.to_owned());
        let url = Url::parse(&text).ok().filter(|url| {
            let plain = url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            // The same rule as for sockets: unencrypted only to loopback hosts that are named.
            let is_ours = || text.strip_prefix("http").is_some_and(|rest| hosts.check(&format!("ws{rest}")).is_ok());
            plain && (url.scheme() == "https" || (url.scheme() == "http" && is_ours()))
        });
        url.unwrap_or_else(|| {
            self.mistake(
                name,
                format_args!(
                    "is not usable; expected an address such as {default} (http:// only to loopback hosts named in \
                     ZOOM_ALLOWED_HOSTS)"
                ),
            );
            Url::parse(default).expect("the defaults are addresses")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn rest(vars: &[(&str, &str)], product: Product) -> Result<RestConfig, Mistakes> {
        let find = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        RestConfig::from_env(&find, product)
    }

    const APP: [(&str, &str); 2] = [("ZOOM_CLIENT_ID", "app"), ("ZOOM_CLIENT_SECRET", "hush")];

    #[test]
    fn the_app_itself_asks_unless_another_does() {
        let config = rest(&APP, Product::Meeting).unwrap();
        assert_eq!(config.api_url.as_str(), "https://api.zoom.us/v2");
        assert_eq!((config.client_id.as_str(), config.credentials.unwrap().id.as_str()), ("app", "app"));
        let mut vars = APP.to_vec();
        vars.extend([("ZOOM_REST_CLIENT_ID", "s2s"), ("ZOOM_REST_CLIENT_SECRET", "quiet"), ("ZOOM_ACCOUNT_ID", "acc")]);
        let config = rest(&vars, Product::Webinar).unwrap();
        assert!(!format!("{config:?}").contains("quiet"));
        assert_eq!((config.client_id.as_str(), config.credentials.as_ref().unwrap().id.as_str()), ("app", "s2s"));
        assert_eq!(config.account_id.as_deref(), Some("acc"));
        let two = Credentials { id: "two".into(), secret: Secret::new("s2") };
        let of_two = config.of_app(&two);
        assert_eq!((of_two.client_id.as_str(), of_two.credentials.unwrap().id.as_str()), ("two", "s2s"));
        let of_two = rest(&APP, Product::Meeting).unwrap().of_app(&two);
        assert_eq!((of_two.client_id.as_str(), of_two.credentials.unwrap().id.as_str()), ("two", "two"));
    }

    #[test]
    fn addresses_are_encrypted_or_of_this_machine() {
        let usable = |url: &str, hosts: &str| {
            let mut vars = APP.to_vec();
            vars.extend([("ZOOM_API_URL", url), ("ZOOM_ALLOWED_HOSTS", hosts)]);
            rest(&vars, Product::Meeting).is_ok()
        };
        assert!(usable("https://api.zoomgov.com/v2", ".zoom.us"));
        assert!(usable("http://127.0.0.1:3100/v2", "127.0.0.1"));
        for (url, hosts) in [
            ("http://127.0.0.1:3100/v2", ".zoom.us"),
            ("http://api.zoom.us/v2", ".zoom.us"),
            ("https://user:pw@api.zoom.us/v2", ".zoom.us"),
            ("https://api.zoom.us/v2?x=1", ".zoom.us"),
            ("ftp://127.0.0.1/v2", "127.0.0.1"),
            ("nonsense", "127.0.0.1"),
        ] {
            assert!(!usable(url, hosts), "{url}");
        }
    }

    #[test]
    fn streams_are_started_again_if_there_is_an_account_or_if_told_to() {
        let restarts = |vars: &[(&str, &str)]| {
            let mut all = APP.to_vec();
            all.push(("ZOOM_SECRET_TOKEN", "token"));
            all.extend(vars);
            let find = |name: &str| all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            Config::from_env(&find).unwrap().restarts()
        };
        let account = ("ZOOM_ACCOUNT_ID", "acc");
        assert!(!restarts(&[]) && restarts(&[account]) && restarts(&[("ZOOM_RESTART", "on")]));
        assert!(!restarts(&[account, ("ZOOM_RESTART", "off")]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mistakes = rest(&[("ZOOM_REST_CLIENT_ID", "x")], Product::Meeting).unwrap_err().to_string();
        assert!(
            mistakes.contains("ZOOM_CLIENT_ID is required") && mistakes.contains("ZOOM_REST_CLIENT_SECRET"),
            "{mistakes}"
        );
    }
}
