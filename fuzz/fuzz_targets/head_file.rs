#![no_main]
//! See `sallyport_audit::fuzzing::head_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport_audit::fuzzing::head_file(bytes));
