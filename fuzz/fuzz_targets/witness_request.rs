#![no_main]
//! See `sallyport_audit::fuzzing::witness_request`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport_audit::fuzzing::witness_request(bytes));
