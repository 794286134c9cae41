#![no_main]
//! See `sallyport::tunnel::fuzzing::client_hello`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::client_hello(bytes));
