#![no_main]
//! See `sallyport_hsm::worker::fuzzing::frame`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport_hsm::worker::fuzzing::frame(bytes));
