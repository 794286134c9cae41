//! The key that signs people's tokens: what the old one signed stands until it ends.

use std::sync::Arc;

use sallyport_hsm::Role;

use super::{By, Rotation, blocking};
use crate::gateway::adapters::ProviderTokenKeys;
use crate::gateway::parts::GatewayError;
use crate::gateway::setup::SetupError;

impl Rotation {
    pub(super) async fn token_signing(&self, by: &By, tokens_kept: bool) -> Result<Vec<String>, SetupError> {
        let pair = self.prepare(Role::TokenSigning, by).await?;
        let keys = self.keys.clone();
        let next = blocking(move || {
            let key = keys.waiting(Role::TokenSigning)?;
            ProviderTokenKeys::with(key).map_err(GatewayError::Keys)
        })
        .await?;
        let replaced =
            self.access.replace_token_key(by.caller(), Arc::new(next), tokens_kept, by.reason()).await;
        let until = replaced.map_err(GatewayError::Access)?;
        let mut steps = vec![self.promote(&pair, by).await?];
        steps.push(if tokens_kept {
            format!("tokens of the key before it stand until they end, the last of them at {until:.0}")
        } else {
            "all tokens have ended; `sallyportd init --person user:NAME` gives a first one again, when its file in \
             tokens/ was removed and the gateway is stopped"
                .to_owned()
        });
        Ok(steps)
    }
}
