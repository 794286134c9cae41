#![no_main]
//! See `sallyport::access::fuzzing::gateway_token`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::gateway_token(bytes));
