//! Puts a key that waits in the place of a role's key, in the token.
//!
//! The new key takes the label first; of two keys with one label the newer counts (ids sort by time), so a crash
//! in between leaves the new one in use. Then the old one is destroyed, and a second attempt finishes that.

use std::sync::Arc;

use crate::error::KeyError;
use crate::role::{Role, Term};

use super::objects::{self, Found};
use super::session::TokenSession;
use super::template;

impl TokenSession {
    pub(super) fn put_in_place(&mut self, role: Role, wanted: &str) -> Result<(), KeyError> {
        let waits = match self.info(role, Term::Next) {
            Ok(found) => found.id == wanted,
            Err(KeyError::KeyMissing { .. }) => false,
            Err(error) => return Err(error),
        };
        if !waits && self.info(role, Term::Present)?.id != wanted {
            return Err(KeyError::NoSuccessor { role });
        }
        let in_token = if waits { Term::Next } else { Term::Present };
        if role.algorithm().is_post_quantum() && !self.holds(role, in_token)? {
            if waits {
                self.seeds.promote(role)?;
            }
            return Ok(());
        }
        let module = Arc::clone(&self.module);
        let lease = module.lease_of(self.generation)?;
        let fail = |error| KeyError::operation("put a new key in place in the token", error);
        let session = lease.pkcs11.open_rw_session(self.slot).map_err(fail)?;
        let rename = |found: &Found| {
            let public = session.find_objects(&template::search_public(&found.id))?;
            for handle in std::iter::once(found.handle).chain(public) {
                session.update_attributes(handle, &[template::label(role, Term::Present)])?;
            }
            Ok(())
        };
        // Said before and after: whoever looks in between finds the new key by the old label or by the new one, and
        // nobody goes on to use what they found earlier.
        self.known.succeeded();
        for found in objects::find_all(&session, role, Term::Next)? {
            rename(&found).map_err(fail)?;
        }
        self.known.succeeded();
        let mut keys = objects::find_all(&session, role, Term::Present)?;
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        keys.pop();
        for old in keys {
            let public = session.find_objects(&template::search_public(&old.id)).map_err(fail)?;
            for handle in public.into_iter().chain([old.handle]) {
                session.destroy_object(handle).map_err(fail)?;
            }
        }
        if role.algorithm().is_post_quantum() {
            self.seeds.yield_to_token(role)?;
        }
        Ok(())
    }
}
