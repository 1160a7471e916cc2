//! A directory as a static web site: what a bucket is with static hosting. A page in it may post what it has found.
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// Serves a directory for as long as the process runs, and returns its address, without a slash at the end.
pub(crate) fn host(directory: &Path) -> String {
    host_and_hear(directory, |_| {})
}

/// The same; what is posted to it, wherever, is handed to `hear`.
pub(crate) fn host_and_hear(directory: &Path, hear: impl Fn(Vec<u8>) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let (directory, hear) = (directory.clone(), hear.clone());
            // A browser that closes a connection is no failure.
            std::thread::spawn(move || serve(socket, &directory, &hear).ok());
        }
    });
    address
}

fn serve(mut socket: TcpStream, directory: &Path, hear: &dyn Fn(Vec<u8>)) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (mut range, mut posted) = (None, 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            range = header.strip_prefix("range: bytes=").map(str::to_owned).or(range);
            posted = header.strip_prefix("content-length: ").and_then(|n| n.parse().ok()).unwrap_or(posted);
        }
        if line.starts_with("POST ") {
            let mut body = vec![0; posted];
            reader.read_exact(&mut body)?;
            hear(body);
            write!(socket, "HTTP/1.1 204 No Content\r\n\r\n")?;
            continue;
        }
        let path = file(directory, line.split(' ').nth(1).unwrap_or_default());
        let Ok(mut file) = std::fs::File::open(&path) else {
            write!(socket, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        };
        let length = file.metadata()?.len();
        let (from, to) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or_default();
        let from = from.parse().unwrap_or(0).min(length);
        let to = to.parse::<u64>().map_or(length, |to| (to + 1).min(length));
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html",
            Some("mp4") => "video/mp4",
            Some("m4a") => "audio/mp4",
            Some("jpg") => "image/jpeg",
            _ => "application/octet-stream",
        };
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let end = to.max(1) - 1;
        let more = range.map(|_| format!("content-range: bytes {from}-{end}/{length}\r\n")).unwrap_or_default();
        write!(
            socket,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\naccept-ranges: bytes\r\n{more}\r\n",
            to - from
        )?;
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(to - from), &mut socket)?;
    }
}

fn file(directory: &Path, target: &str) -> PathBuf {
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let escaped = (byte == b'%').then(|| [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')]);
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
    }
    directory.join(String::from_utf8(bytes).unwrap_or_default())
}
