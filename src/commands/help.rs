//! `--help`, with the commands in groups, and `completions`.

use clap::Command;
use clap_complete::Shell;
use std::fmt::Write;
use std::io;

/// What the commands are for. One that is in no group is listed under the last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Record", &["serve", "check", "recover"]),
    ("Look after recordings", &["verify", "index", "link", "render"]),
    ("Zoom", &["rtms", "simulate"]),
    ("Other", &["completions", "help"]),
];

const SETTINGS: &str = "\
Settings are environment variables; a secret may be in a file that ..._FILE names:
  ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET   the Zoom app, from its page App Credentials
  ZOOM_SECRET_TOKEN                    signs its webhooks, from its page Access
  STORAGE_URL                          where recordings go: s3://bucket/prefix,
                                       gs://, az://, or a directory [./recordings]
  SPOOL_DIR                            work in progress [./spool]
  HOST, PORT, WEBHOOK_PATH             where webhooks come in [0.0.0.0, 3000, /webhook]
  ADMIN_ADDR, ADMIN_TOKEN              status page and metrics [127.0.0.1:3001]
  RUST_LOG, LOG_FORMAT                 how much is logged, and as text or json
The README lists all of them under \"Environment\". `rtms-recorder check` says which are
missing or wrong, and whether all else is ready; `rtms-recorder help COMMAND` says more.";

/// `command` with a help that shows its commands in groups.
pub(crate) fn grouped(mut command: Command) -> Command {
    // Only then does it know of `help`.
    command.build();
    let listed = listing(&command);
    command
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{listed}\nOptions:\n{{options}}\n\n{{after-help}}"
        ))
        .after_help(SETTINGS)
}

fn listing(command: &Command) -> String {
    let mut text = String::new();
    let is_grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others = command.get_subcommands().map(Command::get_name).filter(|name| !is_grouped(name)).collect::<Vec<_>>();
    for (at, (heading, names)) in GROUPS.iter().enumerate() {
        writeln!(text, "\n{heading}:").expect("strings take everything");
        let last = at + 1 == GROUPS.len();
        for name in others.iter().filter(|_| last).chain(*names) {
            if let Some(found) = command.find_subcommand(name) {
                let about = found.get_about().map(ToString::to_string).unwrap_or_default();
                writeln!(text, "  {name:<12} {about}").expect("strings take everything");
            }
        }
    }
    text
}

/// Writes what makes `shell` complete this command line.
pub(crate) fn completions(shell: Shell, mut command: Command) {
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_is_listed_once_on_a_line_of_its_own() {
        let command = grouped(crate::Cli::command());
        let help = command.clone().render_long_help().to_string();
        for (_, names) in GROUPS {
            for name in names {
                assert!(command.find_subcommand(name).is_some(), "{name} is no command any more");
            }
        }
        for sub in command.get_subcommands() {
            let lines = help.lines().filter(|line| line.starts_with(&format!("  {} ", sub.get_name())));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 1, "{}: {lines:?}\n{help}", sub.get_name());
            assert!(lines[0].len() <= 100 && lines[0].len() > 20, "a line of some words: {lines:?}");
        }
    }
}
