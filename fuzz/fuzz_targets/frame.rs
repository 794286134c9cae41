#![no_main]
//! See `sallyport::tunnel::fuzzing::frame`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::frame(bytes));
