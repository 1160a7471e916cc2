#![no_main]
fuzz::target!(sound);
