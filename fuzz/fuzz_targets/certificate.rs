#![no_main]
//! The identity certificate: whatever decodes must encode to the same bytes.

use sallyport::tunnel::IdentityCertificate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = IdentityCertificate::decode(bytes) {
        assert_eq!(certificate.encode().unwrap(), bytes);
        let _either = certificate.check_validity(0);
    }
});
