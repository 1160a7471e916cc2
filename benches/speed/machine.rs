//! What the figures were measured on.

use std::process::Command;

/// Cores, processor, versions, and how busy others keep it.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let ffmpeg = first_line("ffmpeg", "-version").unwrap_or_default();
    let ffmpeg = ffmpeg.split(' ').nth(2).unwrap_or("missing").to_owned();
    let node = first_line("node", "--version").unwrap_or_else(|| "not installed".into());
    format!("{cores} cores, {model}, ffmpeg {ffmpeg}, Node {node}, load {load} before")
}

/// The first line that a program prints.
pub(crate) fn first_line(program: &str, arg: &str) -> Option<String> {
    let output = Command::new(program).arg(arg).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}
