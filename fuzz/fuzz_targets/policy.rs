#![no_main]
//! See `sallyport::access::fuzzing::policy`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::policy(bytes));
