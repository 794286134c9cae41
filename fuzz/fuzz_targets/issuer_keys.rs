#![no_main]
//! See `sallyport::access::fuzzing::keys`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::keys(bytes));
