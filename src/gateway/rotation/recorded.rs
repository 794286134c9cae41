//! Rotations that a record decides: whoever finds a key waiting asks the ledger whether it was named.

use sallyport_audit::index::search::Order;
use sallyport_audit::ledger::Search;
use sallyport_audit::selection::Selection;
use sallyport_audit::{Kind, Ledger, Outcome, Record};
use sallyport_hsm::{KeyInfo, Keys, Role};
use tracing::{info, warn};

use super::{blocking, name_of, retired};
use crate::access::TokenKey;
use crate::gateway::parts::GatewayError;
use crate::gateway::setup::SetupError;

/// Roles whose rotation a record decides, and the detail of that record that names the new key.
const DECIDED: [(Role, &str, &str); 3] = [
    (Role::Identity, "identity", "new"),
    (Role::IdentityPq, "identity", "new_pq"),
    (Role::TokenSigning, "token-signing", "new"),
];

/// Finishes rotations that were recorded and then broken off. To be done before anybody uses these keys.
pub(in crate::gateway) async fn finish_recorded(keys: &Keys, ledger: &Ledger) -> Result<(), GatewayError> {
    for (role, told_as, detail) in DECIDED {
        let waiting = {
            let keys = keys.clone();
            blocking(move || keys.successor(role).map_err(GatewayError::Keys)).await.map_err(plain)?
        };
        let Some(new) = waiting else { continue };
        let named = {
            let (keys, ledger, new) = (keys.clone(), ledger.clone(), new.clone());
            blocking(move || is_named(&keys, &ledger, &new, told_as, detail)).await.map_err(plain)?
        };
        if !named {
            info!(%role, "a key waits to follow, and nothing was decided yet; the old one stays");
            continue;
        }
        warn!(%role, "a rotation was broken off after it was recorded; it is finished now");
        let keys = keys.clone();
        let old = blocking(move || {
            let old = keys.inventory()?.into_iter().find(|key| key.role == role);
            keys.promote(&new)?;
            Ok::<_, GatewayError>(old)
        })
        .await
        .map_err(plain)?;
        if let Some(old) = old {
            ledger.append(retired(&old)).await?;
        }
    }
    Ok(())
}

fn plain(error: SetupError) -> GatewayError {
    match error {
        SetupError::Gateway(error) => error,
        SetupError::Keys(error) => GatewayError::Keys(error),
        other => GatewayError::Stopped(other.to_string()),
    }
}

/// Whether the ledger says that this key has taken the place of the one before it.
fn is_named(
    keys: &Keys,
    ledger: &Ledger,
    new: &KeyInfo,
    told_as: &str,
    detail: &str,
) -> Result<bool, GatewayError> {
    // Tokens are checked by the key itself, so their record has it whole.
    let name = if new.role == Role::TokenSigning {
        let point = keys.waiting(new.role)?;
        TokenKey::from_point(point.public().as_bytes()).map(|key| key.to_string())
    } else {
        Some(name_of(new))
    };
    let text = |record: &Record, key: &str| record.details.get(key)?.as_str().map(str::to_owned);
    let selection = Selection { kinds: vec![Kind::KeyRotated], ..Selection::default() };
    let mut search = Search { selection, order: Order::NewestFirst, limit: 256, ..Search::default() };
    loop {
        let page =
            ledger.reader().search(&search).map_err(|error| GatewayError::Stopped(error.to_string()))?;
        let names = |record: &Record| {
            record.result == Outcome::Success
                && text(record, "role").as_deref() == Some(told_as)
                && name.is_some()
                && text(record, detail) == name
        };
        if page.entries.iter().any(|entry| names(&entry.record)) {
            return Ok(true);
        }
        match page.next {
            Some(next) => search.selection.to = Some(next),
            None => return Ok(false),
        }
    }
}
