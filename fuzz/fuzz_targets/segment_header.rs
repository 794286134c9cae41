#![no_main]
//! See `sallyport_audit::fuzzing::segment_header`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport_audit::fuzzing::segment_header(bytes));
