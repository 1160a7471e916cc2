//! The settings of the doors through which events come.

use super::{Credentials, Env, RestConfig, Secret};
use crate::protocol::server_urls::{AllowedHosts, ServerUrl};

/// How the event WebSocket is opened.
#[derive(Clone, Debug)]
pub struct EventsConfig {
    /// Where it is, without a query.
    pub url: ServerUrl,
    /// Which events: the id of an event subscription of the app.
    pub subscription_id: String,
    /// With what the token is asked for.
    pub token: RestConfig,
}

/// What becomes of cloud recordings that events tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudPolicy {
    /// Their files are imported.
    Import,
    /// They are passed over.
    Ignore,
}

/// Zoom's own.
const ADDRESS: &str = "wss://ws.zoom.us/ws";

pub(super) const SECRET_TOKENS: [&str; 5] = [
    "ZOOM_SECRET_TOKEN",
    "WEBHOOK_SECRET_TOKEN",
    "ZM_RTMS_WEBHOOK_SECRET",
    "ZOOM_WEBHOOK_SECRET",
    "ZOOM_WEBHOOK_SECRET_TOKEN",
];

impl Env<'_> {
    /// The event WebSocket, if there is a subscription. Its token is that of the app which the events are of: an app of its own for
    /// REST calls, and the account that goes with it, have no part in it.
    pub(super) fn events(
        &mut self,
        app: Option<&Credentials>,
        rest: &RestConfig,
        hosts: &AllowedHosts,
    ) -> Option<EventsConfig> {
        let subscription_id = self.text("ZOOM_SUBSCRIPTION_ID")?;
        let text = self.text("ZOOM_EVENTS_URL").unwrap_or_else(|| ADDRESS.to_owned());
        let url = match hosts.check(&text) {
            Ok(url) if !url.as_str().contains(['?', '#']) => url,
            Ok(_) => {
                self.mistake("ZOOM_EVENTS_URL", format_args!("has a query; expected an address such as {ADDRESS}"));
                return None;
            }
            Err(refused) => {
                self.mistake(
                    "ZOOM_EVENTS_URL",
                    format_args!("is not usable: {refused}; expected one such as {ADDRESS}"),
                );
                return None;
            }
        };
        let app = app.cloned()?;
        let of_another = rest.credentials.as_ref().is_some_and(|rest| rest.id != app.id);
        let account_id = rest.account_id.clone().filter(|_| !of_another);
        Some(EventsConfig { url, subscription_id, token: rest.in_the_name_of(app, account_id) })
    }

    /// What signs the webhooks of the first app, which is `needed` unless events come by the event WebSocket.
    pub(super) fn secret_token(&mut self, needed: bool) -> Option<Secret> {
        let token = self.secret(&SECRET_TOKENS);
        if token.is_none() && needed && self.text("ZOOM_SUBSCRIPTION_ID").is_none() {
            self.mistake("ZOOM_SECRET_TOKEN", "is required: the Secret Token of the Zoom app, from its page Access (or ZOOM_SUBSCRIPTION_ID, for events without webhooks)");
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Mistakes};

    fn config(vars: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let mut all = vec![("ZOOM_CLIENT_ID", "app"), ("ZOOM_CLIENT_SECRET", "hush")];
        all.extend(vars);
        Config::from_env(&|name| all.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_subscription_does_without_the_secret_token() {
        let config = config(&[("ZOOM_SUBSCRIPTION_ID", "sub")]).unwrap();
        assert!(config.apps.iter().all(|(_, app)| app.secret_token.is_none()));
        let events = config.events.unwrap();
        assert_eq!((events.url.as_str(), events.subscription_id.as_str()), ("wss://ws.zoom.us/ws", "sub"));
        assert_eq!((events.token.account_id, events.token.credentials.unwrap().id.as_str()), (None, "app"));
    }

    #[test]
    fn the_account_is_that_of_the_app_unless_another_asks_for_rest_calls() {
        let events = |vars: &[(&str, &str)]| {
            let mut all = vec![("ZOOM_SUBSCRIPTION_ID", "sub"), ("ZOOM_ACCOUNT_ID", "acc")];
            all.extend(vars);
            config(&all).unwrap().events.unwrap()
        };
        assert_eq!(events(&[]).token.account_id.as_deref(), Some("acc"));
        let other = events(&[("ZOOM_REST_CLIENT_ID", "s2s"), ("ZOOM_REST_CLIENT_SECRET", "quiet")]);
        assert_eq!((other.token.account_id, other.token.credentials.unwrap().id.as_str()), (None, "app"));
    }

    #[test]
    fn the_token_goes_to_allowed_hosts_only() {
        for url in ["wss://ws.example.com/ws", "ws://ws.zoom.us/ws", "https://ws.zoom.us/ws", "wss://ws.zoom.us/ws?x=1"]
        {
            let mistakes = config(&[("ZOOM_SUBSCRIPTION_ID", "sub"), ("ZOOM_EVENTS_URL", url)]).unwrap_err();
            assert!(mistakes.to_string().contains("ZOOM_EVENTS_URL"), "{url}: {mistakes}");
        }
        let mistakes = config(&[("ZOOM_SUBSCRIPTION_ID", "sub"), ("ZOOM_ALLOWED_HOSTS", "127.0.0.1")]).unwrap_err();
        assert!(mistakes.to_string().contains("ZOOM_ALLOWED_HOSTS"), "{mistakes}");
    }
}
