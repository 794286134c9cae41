#![no_main]
//! See `sallyport::tunnel::fuzzing::credential`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::credential(bytes));
