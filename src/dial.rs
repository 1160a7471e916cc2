//! Opens WebSockets, with the certificates of the system checked by rustls. What is said on them is left to others.

use crate::errors::{clip, with_sources};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

/// How long opening a socket may take, TLS included.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// An open socket.
pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens sockets.
#[derive(Clone)]
pub struct Dialer {
    tls: Connector,
}

/// There is no root certificate on this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "no root certificates were found, so no server can be trusted: install ca-certificates or set SSL_CERT_FILE ({0})"
)]
pub struct NoRoots(String);

/// Why a socket could not be opened.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The HTTP status, if the server answered with one that is no upgrade.
    pub(crate) status: Option<u16>,
    /// What came back; has no address in it.
    pub(crate) because: String,
}

impl Dialer {
    /// Reads the system's root certificates (or those that `SSL_CERT_FILE` names).
    ///
    /// # Errors
    /// When there are none: no server could be trusted.
    pub fn new() -> Result<Self, NoRoots> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(NoRoots(problems.join("; ")));
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: Connector::Rustls(Arc::new(config)) })
    }

    /// Opens a socket whose messages have at most `limit` bytes, reading `at_once` bytes at a time. Follows no redirect.
    pub(crate) async fn open(&self, url: &str, limit: usize, at_once: usize) -> Result<Socket, Refused> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit))
            .read_buffer_size(at_once);
        let connect = tokio_tungstenite::connect_async_tls_with_config(url, Some(config), true, Some(self.tls.clone()));
        match tokio::time::timeout(DIAL_TIMEOUT, connect).await {
            Ok(Ok((socket, _response))) => Ok(socket),
            Ok(Err(err)) => {
                let status = if let Error::Http(response) = &err { Some(response.status().as_u16()) } else { None };
                Err(Refused { status, because: clip(&with_sources(&err)) })
            }
            Err(_) => {
                Err(Refused { status: None, because: format!("no connection within {} s", DIAL_TIMEOUT.as_secs()) })
            }
        }
    }
}
