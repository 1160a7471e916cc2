//! Real browsers without a window.
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A browser that is killed with all its helpers when the test is over.
pub(crate) struct Browser(pub(crate) Child);

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.0.wait().ok();
    }
}

/// The first of the names that is installed.
fn installed(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).find_map(|dir| names.iter().map(|name| dir.join(name)).find(|p| p.exists()));
    found.unwrap_or_else(|| {
        panic!("none of {names:?} is installed, and this test needs one: run scripts/setup --browsers")
    })
}

/// Chromium without a window, at an address.
pub(crate) fn chromium(home: &Path, url: &str) -> Command {
    let mut command = Command::new(installed(&["chromium", "chromium-browser", "google-chrome"]));
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    command.args(["--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--mute-audio"]);
    command.arg(format!("--user-data-dir={}", home.join("profile").display())).arg(url);
    command
}

/// Firefox without a window, at an address.
pub(crate) fn firefox(home: &Path, url: &str) -> Command {
    let profile = home.join("profile");
    std::fs::create_dir_all(&profile).expect("a directory");
    let settings = [
        ("browser.aboutwelcome.enabled", "false"),
        ("browser.shell.checkDefaultBrowser", "false"),
        ("datareporting.policy.dataSubmissionEnabled", "false"),
        ("datareporting.policy.dataSubmissionPolicyBypassNotification", "true"),
        ("app.normandy.enabled", "false"),
        ("app.update.enabled", "false"),
        ("termsofuse.bypassNotification", "true"),
        ("media.autoplay.default", "0"),
        ("media.gmp-manager.updateEnabled", "false"),
        ("network.captive-portal-service.enabled", "false"),
    ];
    let lines: String = settings.iter().map(|(key, value)| format!("user_pref(\"{key}\", {value});\n")).collect();
    std::fs::write(profile.join("user.js"), lines).expect("room on the disk");
    let mut command = Command::new(installed(&["firefox-esr", "firefox"]));
    command.args(["--headless", "--no-remote", "--new-instance", "--profile"]).arg(profile).arg(url);
    command
}

/// Starts it with a home of its own; what it says is in the file `log` there.
pub(crate) fn launch(home: &Path, mut command: Command) -> Browser {
    let log = std::fs::File::create(home.join("log")).expect("a file");
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a handle")).stderr(log).process_group(0);
    Browser(command.spawn().expect("the browser can be started"))
}
