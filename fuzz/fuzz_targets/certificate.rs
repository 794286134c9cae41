#![no_main]
//! See `sallyport::tunnel::fuzzing::certificate`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::certificate(bytes));
