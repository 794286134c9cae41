#![no_main]
//! See `sallyport::tunnel::fuzzing::answer`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::answer(bytes));
