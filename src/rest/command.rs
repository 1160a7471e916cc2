//! The command line of `rtms-recorder rtms`.

use super::{Action, Client, Error, Target};
use crate::config::RestConfig;
use crate::ids::{Product, parse_product};

/// What to ask Zoom for.
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
