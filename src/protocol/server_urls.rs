//! Where to connect: the addresses that Zoom names, in all their shapes, and the check of their hosts.

use crate::errors::clip;
use serde_json::Value;
use std::fmt;
use url::{Host, Url};

/// An address that Zoom named and that we are willing to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl(Url);

impl ServerUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, without port.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The region in its name, see [`region`].
    pub fn region(&self) -> Option<String> {
        region(self.host())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Why an address is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("no ws:// or wss:// address in server_urls")]
    Missing,
    /// It is not an address.
    #[error("{0:?} is not an address: {1}")]
    NotAUrl(String, url::ParseError),
    /// Its host is not one of ours to open.
    #[error("host {0:?} is not covered by ZOOM_ALLOWED_HOSTS")]
    Host(String),
    /// It is not encrypted.
    #[error(
        "{0:?} is not encrypted; ws:// is opened to loopback hosts only, and only if ZOOM_ALLOWED_HOSTS names them"
    )]
    Plain(String),
}

/// The hosts that sockets may be opened to: `ZOOM_ALLOWED_HOSTS`.
///
/// An entry that starts with a dot covers all names below it; any other entry covers itself, optionally with a port. `0.0.0.0`,
/// which a test server may give as its own host, stands for this machine where it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Takes the entries of a comma-separated list.
    pub fn new(list: &str) -> Self {
        let entries = list.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Self(entries.filter(|entry| !entry.is_empty()).collect())
    }

    /// Checks one address.
    ///
    /// # Errors
    /// What is wrong with it; nothing may be opened then.
    pub fn check(&self, address: &str) -> Result<ServerUrl, Refused> {
        let mut url = Url::parse(address).map_err(|err| Refused::NotAUrl(clip(address), err))?;
        let host = host(&url);
        if !self.lists(&url, &host) {
            return Err(Refused::Host(clip(&host)));
        }
        if matches!(url.host(), Some(Host::Ipv4(ip)) if ip.is_unspecified()) {
            url.set_host(Some("127.0.0.1")).map_err(|err| Refused::NotAUrl(clip(address), err))?;
        }
        match url.scheme() {
            "wss" => Ok(ServerUrl(url)),
            "ws" if is_loopback(&url) => Ok(ServerUrl(url)),
            "ws" => Err(Refused::Plain(clip(address))),
            _ => Err(Refused::Missing),
        }
    }

    /// Whether a file of Zoom's may be asked for at this address, with a token: by TLS (or on this machine), at a host of the list, or at
    /// the very domain that an entry with a dot is about. Zoom's files are at `zoom.us`, too.
    pub fn is_zooms(&self, url: &Url) -> bool {
        let host = host(url);
        let listed = self.lists(url, &host)
            || (is_bare(url) && self.0.iter().any(|entry| entry.strip_prefix('.') == Some(host.as_str())));
        listed && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
    }

    fn lists(&self, url: &Url, host: &str) -> bool {
        let port = url.port_or_known_default();
        let listed = self.0.iter().any(|entry| {
            if entry.starts_with('.') {
                host.ends_with(entry.as_str()) && host.len() > entry.len()
            } else {
                *entry == host || port.is_some_and(|port| *entry == format!("{host}:{port}"))
            }
        });
        listed && is_bare(url)
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

/// Whether it names nobody in whose name to ask.
fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// The region that a server's name has in it: three letters before a digit, as in `zoomiad2xx.zoom.us` or `rtms-sjc1.zoom.us`. Zoom
/// documents neither the form nor the codes; what does not look like it has none.
pub fn region(host: &str) -> Option<String> {
    let name = host.split('.').next().filter(|name| name.len() < host.len())?.to_ascii_lowercase();
    name.split('-').find_map(|part| {
        let part = ["zoom", "rtms"].iter().fold(part, |part, prefix| part.strip_prefix(prefix).unwrap_or(part));
        let letters = part.bytes().take_while(u8::is_ascii_lowercase).count();
        let is_region = letters == 3 && part.as_bytes().get(3).is_some_and(u8::is_ascii_digit);
        is_region.then(|| part[..3].to_owned())
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The signaling address out of a webhook's `server_urls`: a string, several in one string, an object or an array.
pub fn signaling(server_urls: &Value) -> Option<String> {
    match server_urls {
        Value::Object(map) => ["signaling", "signal", "all"]
            .iter()
            .find_map(|key| map.get(*key).and_then(first_of))
            .or_else(|| map.values().find_map(first_of)),
        other => first_of(other),
    }
}

/// The address of one medium out of the `server_urls` of a signaling handshake: its own, else the one for all.
///
/// Screen share is `deskshare` by Zoom's enumeration; other spellings are taken since no example shows it.
pub fn media(server_urls: &Value, keys: &[&str]) -> Option<String> {
    match server_urls {
        Value::Object(map) => keys.iter().chain(&["all"]).find_map(|key| map.get(*key).and_then(first_of)),
        other => first_of(other),
    }
}

/// The first `wss://` address, else the first `ws://` one.
fn first_of(value: &Value) -> Option<String> {
    let mut candidates = Vec::new();
    match value {
        Value::String(text) => candidates.extend(text.split(',').map(str::trim)),
        Value::Array(items) => candidates.extend(items.iter().filter_map(Value::as_str).map(str::trim)),
        _ => {}
    }
    let by_scheme = |scheme: &str| candidates.iter().find(|url| url.starts_with(scheme)).map(|url| (*url).to_owned());
    by_scheme("wss://").or_else(|| by_scheme("ws://"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_server_urls_gives_the_signaling_address() {
        let expected = Some("wss://a.zoom.us:443".to_owned());
        for shape in [
            json!("wss://a.zoom.us:443"),
            json!("rtmp://x.zoom.us, wss://a.zoom.us:443 ,wss://b.zoom.us"),
            json!("ws://plain.zoom.us,wss://a.zoom.us:443"),
            json!({"all": "wss://b.zoom.us", "signaling": "wss://a.zoom.us:443"}),
            json!({"all": "wss://b.zoom.us", "signal": "wss://a.zoom.us:443"}),
            json!({"all": "wss://a.zoom.us:443", "audio": "wss://b.zoom.us"}),
            json!({"audio": "wss://a.zoom.us:443"}),
            json!(["http://x", "wss://a.zoom.us:443"]),
        ] {
            assert_eq!(signaling(&shape), expected, "{shape}");
        }
        for shape in [json!(null), json!(7), json!(""), json!({}), json!([]), json!({"all": 3})] {
            assert_eq!(signaling(&shape), None, "{shape}");
        }
    }

    #[test]
    fn a_medium_falls_back_to_all() {
        let urls = json!({"audio": "wss://a.zoom.us", "all": "wss://z.zoom.us"});
        assert_eq!(media(&urls, &["audio"]).as_deref(), Some("wss://a.zoom.us"));
        assert_eq!(media(&urls, &["deskshare", "share"]).as_deref(), Some("wss://z.zoom.us"));
        assert_eq!(media(&json!("wss://z.zoom.us"), &["video"]).as_deref(), Some("wss://z.zoom.us"));
        assert_eq!(media(&json!({"audio": "wss://a.zoom.us"}), &["video"]), None);
    }

    #[test]
    fn files_are_asked_for_at_zooms_hosts() {
        let hosts = AllowedHosts::new(".zoom.us,127.0.0.1:9092");
        let zooms = |url: &str| hosts.is_zooms(&Url::parse(url).unwrap());
        for good in ["https://zoom.us/rec/x", "https://us02web.zoom.us/x?y", "http://127.0.0.1:9092/x"] {
            assert!(zooms(good), "{good}");
        }
        for bad in [
            "http://zoom.us/x",
            "https://zoom.us.evil.test/x",
            "https://evilzoom.us/x",
            "https://zoom.us@evil.test/x",
            "https://user@zoom.us/x",
            "http://127.0.0.1:9093/x",
            "wss://zoom.us/x",
            "file:///etc/passwd",
        ] {
            assert!(!zooms(bad), "{bad}");
        }
    }

    #[test]
    fn a_region_is_three_letters_before_a_digit() {
        for (host, expected) in [
            ("zoomiad2xx.zoom.us", Some("iad")),
            ("rtms-sjc1.zoom.us", Some("sjc")),
            ("zoomrtms-fra3-b.zoom.us", Some("fra")),
            ("ZOOMSYD1.zoom.us", Some("syd")),
            ("rtms.zoom.us", None),
            ("zoom2.zoom.us", None),
            ("rtms.example.test", None),
            ("abc1", None),
            ("127.0.0.1", None),
            ("é-sin1.zoom.us", Some("sin")),
            ("", None),
        ] {
            assert_eq!(region(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn only_allowed_hosts_pass() {
        let hosts = AllowedHosts::new(".zoom.us, 127.0.0.1:9092 ,localhost");
        for good in ["wss://rtms.zoom.us", "wss://a.b.ZOOM.us:443/x", "ws://127.0.0.1:9092", "ws://localhost:1/s"] {
            assert!(hosts.check(good).is_ok(), "{good}");
        }
        let mock = AllowedHosts::new("0.0.0.0");
        assert_eq!(mock.check("ws://0.0.0.0:9092").unwrap().as_str(), "ws://127.0.0.1:9092/");
        assert!(mock.check("ws://127.0.0.1:9092").is_err(), "it is not listed");
        assert!(hosts.check("ws://0.0.0.0:9092").is_err());
        for bad in [
            "wss://zoom.us",
            "wss://zoom.us.evil.test",
            "wss://evilzoom.us",
            "wss://rtms.zoom.us@evil.test",
            "wss://user:pw@rtms.zoom.us",
            "ws://rtms.zoom.us",
            "ws://127.0.0.1:9093",
            "https://rtms.zoom.us",
            "file:///etc/passwd",
            "wss://",
            "nonsense",
        ] {
            assert!(hosts.check(bad).is_err(), "{bad}");
        }
    }
}
