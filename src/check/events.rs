//! The event WebSocket: does Zoom give a token for it, accept the connection, and answer?

use super::Finding;
use crate::config::EventsConfig;
use crate::dial::Dialer;
use crate::events::socket;

const CHECK: &str = "event websocket";

/// Opens it and closes it again. Zoom takes it away from whoever has it: `owner` is the process that has this machine's, if one does;
/// then it is left alone, unless `forced`. If it is the only door (`alone`), nothing is recorded without it.
pub async fn opens(config: EventsConfig, owner: Option<&str>, forced: bool, alone: bool) -> Finding {
    let (id, host) = (config.subscription_id.clone(), host(&config));
    if let Some(owner) = owner.filter(|_| !forced) {
        return Finding::ok(
            CHECK,
            format!(
                "not opened: process {owner} records here, and Zoom would close its connection, for a subscription has one at a time; \
                 see its /readyz, or take the connection from it for a moment by --event-socket"
            ),
        );
    }
    let tried = match Dialer::new() {
        Ok(dialer) => socket::try_once(config, dialer).await,
        Err(err) => Err(err.to_string()),
    };
    let because = match tried {
        Ok(0) => {
            let text = format!(
                "{host} accepts the subscription {id} and answers; whoever else has it lost its connection for a moment"
            );
            return Finding::ok(CHECK, text);
        }
        Ok(events) => {
            let text =
                format!("{host} accepts the subscription {id}, but {events} events came meanwhile, which are lost");
            return Finding::warning(CHECK, text, "check while no meeting begins");
        }
        Err(because) => because,
    };
    let text = format!("{host} does not accept the subscription {id}: {because}");
    let fix = "check ZOOM_SUBSCRIPTION_ID, that the app has an event subscription by WebSocket, and its credentials";
    match alone {
        true => Finding::failure(CHECK, text, fix),
        // Events come as webhooks, too.
        false => Finding::warning(CHECK, text, fix),
    }
}

fn host(config: &EventsConfig) -> String {
    let url = url::Url::parse(config.url.as_str()).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}
