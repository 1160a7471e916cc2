//! Opens the event WebSocket once, to see whether Zoom accepts it.

use super::{Opener, Received, close, receive, send};
use crate::config::EventsConfig;
use crate::dial::Dialer;
use crate::protocol::subscription::{Input, Output, Report, Subscription, Timing};
use std::time::{Duration, Instant};

/// How long Zoom may take to accept it, token included.
const WITHIN: Duration = Duration::from_secs(20);

/// Opens the event WebSocket, and closes it again once Zoom has accepted it; tells how many events came meanwhile. They are lost: nobody
/// acts upon them. So is what another client of the subscription misses, for Zoom gives it to the newest.
///
/// # Errors
/// What came back.
pub async fn try_once(config: EventsConfig, dialer: Dialer) -> Result<usize, String> {
    let opener = Opener::new(config, dialer).map_err(|err| err.to_string())?;
    let tried = tokio::time::timeout(WITHIN, open(&opener));
    tried.await.unwrap_or_else(|_| Err(format!("Zoom has not accepted it within {} s", WITHIN.as_secs())))
}

async fn open(opener: &Opener) -> Result<usize, String> {
    let mut subscription = Subscription::new(Timing::default(), Instant::now());
    let (mut open, mut events) = (None, 0);
    loop {
        while let Some(output) = subscription.poll() {
            match output {
                Output::Dial(run, _) => match opener.dial(run, None).await.socket {
                    Ok(socket) => {
                        open = Some((run, socket));
                        subscription.handle(Instant::now(), Input::Opened(run));
                    }
                    Err((_, because)) => return Err(because),
                },
                Output::Send(_, text) => {
                    if let Some((_, socket)) = &mut open {
                        send(socket, text).await?;
                    }
                }
                Output::Event(_) => events += 1,
                Output::Report(Report::Connected) => {
                    close(open);
                    return Ok(events);
                }
                Output::Report(Report::Refused { because, .. } | Report::Lost { because, .. }) => return Err(because),
                Output::Close(_) | Output::Report(Report::Rival { .. } | Report::Unknown { .. }) => {}
            }
        }
        let Some((run, socket)) = &mut open else { return Err("it was not opened".to_owned()) };
        let now = Instant::now();
        match receive(socket).await {
            Received::Message(bytes) => subscription.handle(now, Input::Received(*run, &bytes)),
            Received::Ping => subscription.handle(now, Input::Pinged(*run)),
            Received::Closed(code, how) => subscription.handle(now, Input::Closed(*run, code, how)),
            Received::Nothing => {}
        }
    }
}
