//! How fast the recorder is, as a table: each row a figure beside a rival that is run in the same minutes, as
//! machines and their neighbours differ. No row can fail; a target that is not met is said. `scripts/bench` builds and
//! runs it.
//!
//! The recorder is the release binary in a process of its own, with a spool and a bucket in temporary directories; the
//! simulator is another process, whose CPU is not the recorder's. Rows `capture` and `decode` call the library.

mod capture;
mod decode;
mod growth;
mod live;
mod machine;
mod meeting;
mod play;
mod process;
mod rival;
mod soak;
mod table;
mod webhook;

use rival::Rival;
use table::Table;

const ROWS: [(&str, &str); 9] = [
    ("cost", "1: CPU of a recorded hour"),
    ("live", "2: recordings at once in real time"),
    ("capture", "3: the same with capture alone"),
    ("end", "4: end of a meeting to verified objects"),
    ("memory", "5: memory of a recording"),
    ("decode", "6: decoding of messages"),
    ("webhook", "7: answers to webhooks under load"),
    ("growth", "8: cost and memory by streams and by length"),
    ("soak", "8: growth with time; takes 30 min, and runs only if named"),
];

/// What is to be measured.
#[derive(Debug, Default)]
pub(crate) struct Options {
    rows: Vec<&'static str>,
    /// Shorter meetings and fewer of them.
    quick: bool,
    /// How many streams at once, in place of the row's own steps.
    streams: Vec<usize>,
}

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|mistake| {
        eprintln!("bench: {mistake}");
        std::process::exit(64)
    });
    println!("{}\n", machine::describe());
    let mut table = Table::default();
    let mut rival = Rival::default();
    let wants = |row| options.rows.contains(&row);
    let meeting =
        ["cost", "end", "memory", "decode"].into_iter().any(wants).then(|| meeting::measure(&options, &mut rival));
    if let Some(meeting) = &meeting {
        table.extend(meeting.rows(&rival).into_iter().filter(|(row, _)| wants(*row)).map(|(_, row)| row));
    }
    if wants("live") {
        table.extend(live::measure(&options, &mut rival));
    }
    if wants("capture") {
        table.extend(capture::measure(&options));
    }
    if let Some(meeting) = meeting.as_ref().filter(|_| wants("decode")) {
        table.extend(decode::measure(meeting));
    }
    if wants("webhook") {
        table.extend(webhook::measure(&options));
    }
    if wants("growth") {
        table.extend(growth::measure(&options));
    }
    if wants("soak") {
        table.extend(soak::measure(&options));
    }
    println!("\n{table}");
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--streams" => {
                    let list = args.next().unwrap_or_default();
                    let counts: Result<_, _> = list.split(',').map(str::parse).collect();
                    options.streams =
                        counts.map_err(|_| format!("--streams {list}: numbers with commas are expected"))?;
                }
                name => {
                    let digit = name.parse::<usize>().ok();
                    let known = ROWS.iter().enumerate().find(|(i, (row, _))| *row == name || digit == Some(i + 1));
                    let names = ROWS.map(|(row, what)| format!("  {row:<8} {what}")).join("\n");
                    options.rows.push(known.ok_or_else(|| format!("{name:?} is no row; there are\n{names}"))?.1.0);
                }
            }
        }
        if options.rows.is_empty() {
            options.rows = ROWS.iter().map(|(row, _)| *row).filter(|row| *row != "soak").collect();
        }
        Ok(options)
    }
}

/// Says what is being done: some of it takes minutes.
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}
