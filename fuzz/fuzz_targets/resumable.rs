#![no_main]
//! See `sallyport::tunnel::fuzzing::resumable`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::resumable(bytes));
