//! The journal as one file to keep: a tar of its chunks, compressed with zstd. `tar --zstd -xf` gives back what `render` takes.

use super::Error;
use crate::journal::read;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Base64 of compressed media does not get much smaller by trying harder.
const LEVEL: i32 = 3;

/// Packs the chunks in `journal` into `out`. The same journal gives the same bytes. Blocks for seconds for each hour.
pub(super) fn pack(journal: &Path, out: &Path) -> Result<(), Error> {
    let file = File::create(out).map_err(Error::io("creating", out))?;
    let written = |err| Error::io("writing", out)(err);
    let mut encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL).map_err(written)?;
    encoder.include_checksum(true).map_err(written)?;
    let mut archive = tar::Builder::new(encoder);
    for chunk in read::chunks(journal)? {
        let mut file = File::open(&chunk.path).map_err(Error::io("opening", &chunk.path))?;
        let size = file.metadata().map_err(Error::io("examining", &chunk.path))?.len();
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(0);
        let name = format!("journal/{:08}.ndjson", chunk.number);
        archive.append_data(&mut header, name, &mut file).map_err(written)?;
    }
    let buffer = archive.into_inner().and_then(zstd::Encoder::finish).map_err(written)?;
    let mut file = buffer.into_inner().map_err(|err| written(err.into_error()))?;
    file.flush().map_err(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_unpacked_is_the_journal() {
        let tmp = tempfile::tempdir().unwrap();
        let journal = tmp.path().join("journal");
        std::fs::create_dir(&journal).unwrap();
        let chunks =
            [("00000001.ndjson", "{\"t\":1}\n".repeat(1000)), ("00000002.ndjson.open", "{\"t\":2}\n".to_owned())];
        for (name, text) in &chunks {
            std::fs::write(journal.join(name), text).unwrap();
        }
        let [one, two] = ["one", "two"].map(|name| tmp.path().join(name));
        pack(&journal, &one).unwrap();
        pack(&journal, &two).unwrap();
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes, std::fs::read(&two).unwrap());
        assert!(bytes.len() < 1000, "{}", bytes.len());

        let mut archive = tar::Archive::new(zstd::Decoder::new(&bytes[..]).unwrap());
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text));
        }
        let expected = [("journal/00000001.ndjson", &chunks[0].1), ("journal/00000002.ndjson", &chunks[1].1)];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.clone())));
    }
}
