#![no_main]
//! See `sallyport::access::fuzzing::approvals`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::access::fuzzing::approvals(bytes));
