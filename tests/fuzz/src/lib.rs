//! Fuzz targets for everything that parses or places what comes from outside. `scripts/fuzz` builds and runs them.
//!
//! Each module of [`targets`] has `run`, which takes any bytes and panics if an invariant does not hold, and `seeds`,
//! from which the search starts. Where a target needs structure, it reads its input as decisions: [`input::Input`].

pub mod input;
pub mod targets {
    pub mod container;
    pub mod h264;
    pub mod journal;
    pub mod link;
    pub mod message;
    pub mod pictures;
    pub mod render;
    pub mod sound;
}

// Target `render` takes in parts of the renderer as source; to them, this crate is the product.
pub use rtms_recorder::{container, ffmpeg, ids, journal, media, output, protocol, store, timeline};

pub use libfuzzer_sys;

use std::path::Path;
use std::sync::LazyLock;

/// Whether a target is to say what it does: `scripts/fuzz --reproduce` asks for it.
pub static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_TRACE").is_some());

/// Prints a line if [`TRACE`] is on.
#[macro_export]
macro_rules! trace {
    ($($args:tt)*) => {
        if *$crate::TRACE {
            eprintln!($($args)*);
        }
    };
}

/// Makes a binary out of the target of this name.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::write_seeds(&$crate::targets::$name::seeds()),
            |data: &[u8]| $crate::targets::$name::run(data)
        );
    };
}

/// If FUZZ_SEEDS names a directory, writes a target's seeds there and ends the process.
pub fn write_seeds(seeds: &[Vec<u8>]) {
    let Some(dir) = std::env::var_os("FUZZ_SEEDS") else { return };
    for (number, seed) in seeds.iter().enumerate() {
        let path = Path::new(&dir).join(format!("seed-{number:02}"));
        std::fs::write(&path, seed).unwrap_or_else(|err| panic!("writing {}: {err}", path.display()));
    }
    std::process::exit(0);
}
