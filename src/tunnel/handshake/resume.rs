//! Coming back: what both ends keep of a finished handshake so that the next one needs no signature.
//!
//! A ticket is a random name; the secret behind it comes out of the earlier handshake at both ends and never travels. A
//! hello that names a ticket ends with a *binder*, which only a holder of the secret can make. The key exchange is done
//! anew all the same, so whoever learns the secret later reads nothing that was said under it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};

use super::schedule::{Key, expand, hash_of};
use super::{HandshakeError, Suite};

/// Names what both ends keep.
pub type TicketId = [u8; 16];

/// Bytes of a binder.
pub(crate) const BINDER: usize = 32;

const HELLO_LABEL: &[u8] = b"sallyport/1 transcript resume\0";
const BINDER_LABEL: &[u8] = b"sallyport/1 resume binder\0";

/// What a client keeps.
pub struct Ticket {
    /// Its name.
    pub id: TicketId,
    /// The suite of the handshake that made it; the next one must use the same.
    pub suite: Suite,
    /// Known to the two ends alone.
    pub(crate) secret: Key,
}

/// What shows that whoever sends `hello`, which goes on after this beginning with the binder, knows the secret.
pub(crate) fn binder(secret: &Key, hello: &[u8]) -> Result<[u8; BINDER], HandshakeError> {
    let prk = Prk::new_less_safe(HKDF_SHA256, secret.as_slice());
    Ok(*expand::<BINDER>(&prk, &[BINDER_LABEL, &hash_of(&[HELLO_LABEL, hello])])?)
}

/// Whether `shown` is the binder of this hello under this secret.
pub(crate) fn fits(shown: &[u8; BINDER], secret: &Key, hello: &[u8]) -> bool {
    binder(secret, hello).is_ok_and(|own| verify_slices_are_equal(shown, &own).is_ok())
}
