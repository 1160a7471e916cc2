#![no_main]
fuzz::target!(render);
