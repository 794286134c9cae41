#![no_main]
//! See `sallyport::access::fuzzing::conditions`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::conditions(bytes));
