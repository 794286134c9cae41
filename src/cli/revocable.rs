//! Lists of what can be taken away again, as devices and passkeys are: showing one, and taking something away with a reason.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::table;

/// Shows the list at `path` of the API, as a table under these heads or as JSON.
pub(super) async fn list<T: DeserializeOwned + Serialize>(
    connection: &Connection,
    path: &str,
    heads: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let listed: Vec<T> = Api::new(&profile).list(path).await?;
    if connection.json {
        return print_json(&listed);
    }
    say(format_args!("{}", table(heads, listed.iter().map(row))));
    Ok(())
}

/// Takes away what the list at `path` has under this id. `why` is the call's body: a reason, at the least.
pub(super) async fn revoke(
    connection: &Connection,
    path: &str,
    id: &str,
    why: &Value,
) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let path = format!("{path}/{}/revoke", segment(id)?);
    let answer: Value = Api::new(&profile).post(&path, why).await?;
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!("{id}: revoked"));
    Ok(())
}

/// The body of such a call with nothing but a reason.
pub(super) fn because(reason: &str) -> Value {
    json!({ "reason": reason })
}
