#![no_main]
//! See `sallyport::tunnel::fuzzing::gateway_hello`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::gateway_hello(bytes));
