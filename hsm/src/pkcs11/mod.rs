//! Keys in a PKCS#11 token (OASIS PKCS #11 v2.40 and 3.x), through the `cryptoki` binding.
//!
//! What every file here relies on, learned from real modules:
//! - `C_Initialize` happens once per process, with `CKF_OS_LOCKING_OK`: without it SoftHSM turns its own locks
//!   off. `C_Finalize` ends every session in the process, and new sessions reuse the old numbers ([`module`]).
//! - Login is per process and token; closing the last session logs out. So one session stays open ([`token`]).
//! - A slot's number changes; a token is found by its label.
//! - Handles go stale (logout, another process, spuriously under churn); one is then found again ([`session`]).
//! - Flags that are left out of a template get the vendor's default, so none is left out ([`template`]).

mod abilities;
mod init;
mod module;
mod objects;
mod session;
mod succession;
mod template;
mod token;

pub use init::{find_softhsm, init_token};
pub(crate) use token::Token;
