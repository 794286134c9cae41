#![no_main]
//! See `sallyport_audit::fuzzing::proof`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport_audit::fuzzing::proof(bytes));
