#![no_main]
//! See `sallyport::access::fuzzing::token`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::token(bytes));
