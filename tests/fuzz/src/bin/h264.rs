#![no_main]
fuzz::target!(h264);
