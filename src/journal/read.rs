//! Reading journals back: their chunks, and the lines of a chunk.

use super::Error;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// One file of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 1.
    pub number: u32,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is still being written, or was when its writer died.
    pub open: bool,
}

impl Chunk {
    /// The path of a chunk in the journal directory `dir`.
    pub fn path(dir: &Path, number: u32, open: bool) -> PathBuf {
        dir.join(format!("{number:08}.ndjson{}", if open { ".open" } else { "" }))
    }

    /// Reads the chunk into memory; at most a little over [`super::CHUNK_BYTES`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        fs::read(&self.path).map_err(Error::new("reading", &self.path))
    }

    /// Opens the chunk to read it piece by piece.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn pieces(&self) -> Result<Pieces, Error> {
        let file = File::open(&self.path).map_err(Error::new("opening", &self.path))?;
        Ok(Pieces { file: BufReader::new(file), path: self.path.clone() })
    }
}

/// A chunk that is read piece by piece.
#[derive(Debug)]
pub struct Pieces {
    file: BufReader<File>,
    path: PathBuf,
}

impl Pieces {
    /// The next whole lines, of `bytes` bytes or a little more; what follows the last line feed comes as it is. `None` at
    /// the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut piece = Vec::new();
        let read = self.file.by_ref().take(bytes).read_to_end(&mut piece);
        let rest = read.and_then(|_| match piece.last() {
            None | Some(b'\n') => Ok(0),
            Some(_) => self.file.read_until(b'\n', &mut piece),
        });
        rest.map_err(Error::new("reading", &self.path))?;
        Ok((!piece.is_empty()).then_some(piece))
    }
}

/// The chunks of a journal, in order.
///
/// If a chunk is there both open and closed, the closed one counts.
///
/// # Errors
/// When the directory cannot be read.
pub fn chunks(dir: &Path) -> Result<Vec<Chunk>, Error> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::new("listing", dir))? {
        let path = entry.map_err(Error::new("listing", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let (stem, open) = match (name.strip_suffix(".ndjson"), name.strip_suffix(".ndjson.open")) {
            (Some(stem), _) => (stem, false),
            (_, Some(stem)) => (stem, true),
            _ => continue,
        };
        if let Ok(number) = stem.parse() {
            chunks.push(Chunk { number, path, open });
        }
    }
    chunks.sort_by_key(|chunk| (chunk.number, chunk.open));
    chunks.dedup_by_key(|chunk| chunk.number);
    Ok(chunks)
}

/// What a line carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A message that was JSON when it was received.
    Json(&'a [u8]),
    /// A message that was not, in base64.
    Raw(Cow<'a, str>),
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was received, in Unix ms.
    pub t: i64,
    /// The connection's label.
    pub conn: Cow<'a, str>,
    /// The message.
    pub body: Body<'a>,
}

/// A line that is no journal line.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}: {source}")]
pub struct BadLine {
    /// Where it starts in its chunk.
    pub offset: usize,
    #[source]
    source: serde_json::Error,
}

/// The lines of a chunk's bytes.
///
/// A last line without its line feed is torn: it is passed over if the chunk is open, and reported if it was closed.
pub fn lines(bytes: &[u8], open: bool) -> impl Iterator<Item = Result<Line<'_>, BadLine>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
            let at = offset;
            let line = match memchr::memchr(b'\n', rest) {
                Some(end) => &rest[..end],
                None if open => return None,
                None => rest,
            };
            offset += line.len() + 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(parse(line).map_err(|source| BadLine { offset: at, source }));
            }
        }
    })
}

fn parse(line: &[u8]) -> Result<Line<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        t: i64,
        #[serde(borrow)]
        c: Cow<'a, str>,
        #[serde(borrow)]
        m: Option<&'a RawValue>,
        #[serde(borrow)]
        raw: Option<Cow<'a, str>>,
    }
    if let Some(line) = as_written(line) {
        return Ok(line);
    }
    let wire: Wire<'_> = serde_json::from_slice(line)?;
    let body = match (wire.m, wire.raw) {
        (Some(message), _) => Body::Json(message.get().as_bytes()),
        (None, Some(raw)) => Body::Raw(raw),
        (None, None) => return Err(serde::de::Error::missing_field("m")),
    };
    Ok(Line { t: wire.t, conn: wire.c, body })
}

/// Takes apart a line exactly as the writer writes it, without a pass over the message.
///
/// Anything else is left to the JSON parser; so is the message itself, to whoever reads it.
fn as_written(line: &[u8]) -> Option<Line<'_>> {
    let rest = line.strip_prefix(br#"{"t":"#)?;
    let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
    let t = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = rest[digits..].strip_prefix(br#","c":""#)?;
    let label = rest.iter().position(|b| !b.is_ascii_lowercase())?;
    let conn = std::str::from_utf8(&rest[..label]).ok()?;
    let message = rest[label..].strip_prefix(br#"","m":"#)?.strip_suffix(b"}")?;
    (message.first() == Some(&b'{') && message.last() == Some(&b'}')).then_some(Line {
        t,
        conn: Cow::Borrowed(conn),
        body: Body::Json(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_written_and_lines_edited_by_hand_read_the_same() {
        let text = br#"{"t":5,"c":"audio","m":{"a":1}}
 { "c" : "audio", "m": {"a":1}, "t": 5 }

{"t":6,"c":"audio","raw":"AAEC"}
"#;
        let lines: Vec<_> = lines(text, false).map(Result::unwrap).collect();
        assert_eq!(lines[0], Line { t: 5, conn: "audio".into(), body: Body::Json(br#"{"a":1}"#) });
        assert_eq!(lines[1], lines[0]);
        assert_eq!(lines[2].body, Body::Raw("AAEC".into()));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_does_not_parse_is_reported_and_the_rest_is_read() {
        let text = b"{\"t\":1,\"c\":\"x\",\"m\":{}}\nnonsense\n{\"t\":2,\"c\":\"x\",\"m\":{}}\n{\"t\":3,\"c\"";
        let read = |open| lines(text, open).map(|line| line.map(|l| l.t).map_err(|e| e.offset)).collect::<Vec<_>>();
        assert_eq!(read(true), [Ok(1), Err(23), Ok(2)]);
        assert_eq!(read(false), [Ok(1), Err(23), Ok(2), Err(55)]);
    }
}
