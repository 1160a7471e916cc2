//! Settings of the status page, its API and the metrics.

use super::Secret;
use super::env::Env;
use std::net::{Ipv4Addr, SocketAddr};

/// Shorter ones could be guessed.
const LEAST_TOKEN: usize = 16;

/// Where the status page is, and who may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What has to be known; none is needed on a loopback address.
    pub token: Option<Secret>,
}

impl AdminConfig {
    pub(super) fn read(env: &mut Env<'_>) -> Option<Self> {
        let token = env.secret(&["ADMIN_TOKEN"]);
        if let Some(token) = &token
            && token.expose().len() < LEAST_TOKEN
        {
            let expected = format!("at least {LEAST_TOKEN}, such as from: openssl rand -hex 16");
            env.mistake("ADMIN_TOKEN", format_args!("has {} characters; expected {expected}", token.expose().len()));
        }
        if env.text("ADMIN_ADDR").is_some_and(|text| text.eq_ignore_ascii_case("off")) {
            return None;
        }
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 3001));
        let listen = env.parsed("ADMIN_ADDR", "an address and port such as 127.0.0.1:3001, or off", default);
        if !listen.ip().is_loopback() && token.is_none() {
            env.mistake(
                "ADMIN_ADDR",
                format_args!("is {listen}, which others can reach; set ADMIN_TOKEN, or use a loopback address"),
            );
        }
        Some(Self { listen, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Option<AdminConfig>, String> {
        let look = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let mut env = Env::new(&look);
        let config = AdminConfig::read(&mut env);
        env.checked(config).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_others_can_reach_needs_a_token() {
        let config = read(&[]).unwrap().unwrap();
        assert_eq!((config.listen.to_string().as_str(), config.token), ("127.0.0.1:3001", None));
        assert_eq!(read(&[("ADMIN_ADDR", "Off")]).unwrap(), None);
        assert!(read(&[("ADMIN_ADDR", "[::1]:0")]).unwrap().is_some());
        let mistakes = read(&[("ADMIN_ADDR", "0.0.0.0:3001")]).unwrap_err();
        assert!(mistakes.contains("ADMIN_ADDR is 0.0.0.0:3001, which others can reach; set ADMIN_TOKEN"), "{mistakes}");
        let token = ("ADMIN_TOKEN", "0123456789abcdef");
        assert!(read(&[("ADMIN_ADDR", "0.0.0.0:3001"), token]).unwrap().unwrap().token.is_some());
        let mistakes = read(&[("ADMIN_ADDR", "3001"), ("ADMIN_TOKEN", "secret")]).unwrap_err();
        assert!(mistakes.contains("2 settings") && !mistakes.contains("secret"), "{mistakes}");
    }
}
