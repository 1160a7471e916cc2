//! moto (https://github.com/getmoto/moto), an S3 server that knows who may do what, in a process of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Moto {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Moto {
    /// With one bucket. None where it is not installed: scripts/test installs it where there is Python.
    pub(crate) async fn start(bucket: &str) -> Option<Self> {
        let program = std::env::var_os("MOTO_SERVER").filter(|program| !program.is_empty())?;
        let address = super::ports::free();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let moto = Self { child: child.expect("MOTO_SERVER names a program"), address };
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let create = reqwest::Client::new().put(format!("http://{address}/{bucket}"));
        let created = create.header("host", "127.0.0.1").send().await.expect("moto answers");
        assert!(created.status().is_success(), "{created:?}");
        Some(moto)
    }
}
