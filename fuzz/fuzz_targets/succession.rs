#![no_main]
//! See `sallyport::tunnel::fuzzing::succession`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::succession(bytes));
