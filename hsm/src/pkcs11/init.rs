//! Making a token: for a first start with SoftHSM, and for tests. Real tokens are made by their owners.

use std::path::{Path, PathBuf};

use cryptoki::session::UserType;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Fault, KeyError};

use super::module::Module;
use super::token::find_slot;

/// Where distributions put SoftHSM's module.
const SOFTHSM: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// SoftHSM's module, if it is installed where distributions put it.
pub fn find_softhsm() -> Option<PathBuf> {
    SOFTHSM.iter().map(PathBuf::from).find(|path| path.exists())
}

/// Initialises the first free slot of a module as a token, sets both PINs, and returns its serial number.
///
/// The label has 1 to 32 bytes; PINs have 4 to 255 bytes. Blocks while the token works.
pub fn init_token(
    module: &Path,
    label: &str,
    so_pin: &SecretString,
    user_pin: &SecretString,
) -> Result<String, KeyError> {
    if label.trim().is_empty() || label.len() > 32 || label.trim_end() != label {
        // Tokens pad labels with blanks, and the binding cuts them at 32 bytes without a word.
        return Err(KeyError::TokenRefused {
            reason: "its label must have 1 to 32 bytes and not end in a blank".into(),
        });
    }
    if [so_pin, user_pin].iter().any(|pin| !(4..=255).contains(&pin.expose_secret().len())) {
        return Err(KeyError::TokenRefused { reason: "PINs must have 4 to 255 bytes".into() });
    }
    let fail = |error: cryptoki::error::Error| KeyError::operation("initialise a token", error);
    let module = Module::load(module)?;
    let lease = module.lease()?;
    let pkcs11 = lease.pkcs11;
    match find_slot(pkcs11, label) {
        Ok(_) | Err(KeyError::TokenAmbiguous { .. }) => {
            return Err(KeyError::TokenExists { label: label.to_owned() });
        }
        Err(KeyError::TokenAbsent { .. }) => {}
        Err(error) => return Err(error),
    }
    let free = pkcs11
        .get_slots_with_token()
        .map_err(fail)?
        .into_iter()
        .find(|&slot| pkcs11.get_token_info(slot).is_ok_and(|info| !info.token_initialized()))
        .ok_or_else(|| KeyError::operation("initialise a token", Fault::new("there is no free slot")))?;
    pkcs11.init_token(free, so_pin, label).map_err(fail)?;
    // SoftHSM gives the slot another number now.
    let (slot, info) = find_slot(pkcs11, label)?;
    let session = pkcs11.open_rw_session(slot).map_err(fail)?;
    session.login(UserType::So, Some(so_pin)).map_err(fail)?;
    session.init_pin(user_pin).map_err(fail)?;
    session.logout().map_err(fail)?;
    session.close().map_err(fail)?;
    Ok(info.serial_number().to_owned())
}
