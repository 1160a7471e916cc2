#![no_main]
fuzz::target!(pictures);
