//! What a provider can really do, found out by doing it.
//!
//! A token's list of mechanisms says less than it seems to (a mechanism may be listed and refuse, or work otherwise
//! than its name says). So each thing that the gateway needs, or would rather leave to the token, is tried with a
//! key that lives only as long as the attempt, and what the token made is checked with other code where there is some.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// What was tried.
    pub name: Cow<'static, str>,
    /// What the gateway would use it for.
    pub used_for: Cow<'static, str>,
    /// Whether the gateway cannot do without it.
    pub needed: bool,
    /// Whether the token's list of mechanisms has it; `None` where there is no such list.
    pub listed: Option<bool>,
    /// Whether it worked.
    pub works: bool,
    /// What the provider said when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}
