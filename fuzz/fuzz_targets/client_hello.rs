#![no_main]
//! See `sallyport::tunnel::fuzzing::client_hello`.

/// A certificate that decodes: version, two empty texts, keys, dates and signature of zeros.
const CERTIFICATE: [u8; 1 + 2 + 2 + 32 + 1952 + 16 + 64] = {
    let mut bytes = [0; 1 + 2 + 2 + 32 + 1952 + 16 + 64];
    bytes[0] = 1;
    bytes
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sallyport::tunnel::fuzzing::client_hello(bytes, &CERTIFICATE));
