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
    #[arg(allow_hyphen_values = true, value_parser = parse_id)]
    pub id: String,
    /// What the id is of: meeting, webinar, session, contact_center, phone
    #[arg(long, default_value = "meeting", value_parser = parse_product)]
    pub product: Product,
    /// In whose name, by user id; meetings and webinars only
    #[arg(long, value_name = "USER_ID")]
    pub participant: Option<String>,
}

/// An id as it is copied: a number with the blanks or hyphens that invitations write it with is that number.
fn parse_id(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || matches!(text, "." | "..") || text.chars().any(char::is_control) {
        return Err("expected a number, or an id as Zoom shows it".to_owned());
    }
    let number = text.replace([' ', '-'], "");
    let is_number = (9..=12).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    Ok(if is_number { number } else { text.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_as_they_are_copied_and_lead_to_no_other_call() {
        for (text, id) in [
            ("857 4606 5432", Ok("85746065432")),
            ("857-4606-5432", Ok("85746065432")),
            (" /Ab+c d== ", Ok("/Ab+c d==")),
            ("123-45", Ok("123-45")),
            ("", Err(())),
            (" ", Err(())),
            ("..", Err(())),
            ("a\nb", Err(())),
        ] {
            assert_eq!(parse_id(text).as_deref().map_err(drop), id, "{text:?}");
        }
    }
}
