//! The command line of `rtms-recorder rtms`.

use super::{Action, Client, Error, Target};
use crate::config::RestConfig;
use crate::ids::{Product, parse_product};

/// Start, stop, pause or resume RTMS by Zoom's REST API.
///
/// Settings come from environment variables: ZOOM_CLIENT_ID names the app; ZOOM_ACCOUNT_ID, ZOOM_REST_CLIENT_ID and
/// ZOOM_REST_CLIENT_SECRET say with what to ask; the README lists them. Zoom answers before anything has happened; what
/// comes of it is told by its events. Exit status: 0 Zoom does it, 1 Zoom refuses, 75 Zoom cannot be reached or has trouble, 64
/// wrong settings.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do
    pub action: Action,
    /// A meeting's or webinar's number or UUID; a session's, engagement's or call's id
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// What the id is of: meeting, webinar, session, contact_center, phone
    #[arg(long, default_value = "meeting", value_parser = parse_product)]
    pub product: Product,
    /// In whose name, by user id; meetings and webinars only
    #[arg(long, value_name = "USER_ID")]
    pub participant: Option<String>,
}

/// Asks Zoom; gives the sentence to print.
///
/// # Errors
/// What Zoom answered in the end.
pub async fn command(args: Args, config: RestConfig) -> anyhow::Result<Result<String, Error>> {
    let client = Client::new(config)?;
    let target = Target { product: args.product, id: args.id };
    let done = client.control(&target, args.action, args.participant.as_deref()).await;
    Ok(done.map(|()| {
        let follows = match args.action {
            Action::Start => "; a start event follows",
            Action::Stop => "; a stop event follows",
            Action::Pause | Action::Resume => "",
        };
        format!("Zoom will {} RTMS of {target}{follows}", args.action.as_str())
    }))
}
