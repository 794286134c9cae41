//! A chat's incoming webhook: `{"text": …}`, as Slack, Mattermost, Rocket.Chat and others take it.
//!
//! The address is the secret, so it is in a file, and is never shown. What people typed is escaped: nobody can have a whole
//! channel called, or dress a foreign address as another, by the reason that they give.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::webhook::post;
use super::{NotifyError, secret};
use crate::access::Subject;
use crate::gateway::config::{ChatSettings, ServerUrl};
use crate::gateway::server::Server;
use crate::notify::{Message, Unsent, Way};

/// See the module.
pub(super) struct Chat {
    name: String,
    server: Server,
}

impl Chat {
    pub(super) fn open(name: &str, settings: &ChatSettings) -> Result<Self, NotifyError> {
        let text = secret::read(name, &settings.url_file)?;
        // The fault's own words would quote the address.
        let url = ServerUrl::parse(&text).map_err(|_| NotifyError::Secret {
            way: name.to_owned(),
            path: settings.url_file.clone(),
            why: "doesn't hold one address such as https://chat.example.com/hooks/…".to_owned(),
        })?;
        let server = Server::new(url, settings.root_file.as_deref())
            .map_err(|source| NotifyError::Dial { way: name.to_owned(), source: Box::new(source) })?;
        Ok(Self { name: name.to_owned(), server })
    }
}

/// Slack's three escapes; beside them stars and the like only change how a word looks.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn body(message: &Message) -> Bytes {
    let text = format!("*{}*\n{}", escaped(&message.title), escaped(&message.body));
    Bytes::from(json!({ "text": text }).to_string())
}

impl Way for Chat {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "chat"
    }

    fn is_personal(&self) -> bool {
        false
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        _to: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<(), Unsent>> {
        post(&self.server, Vec::new(), body(message)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_can_neither_call_a_channel_nor_dress_a_link() {
        let text = escaped("<!channel> see <https://evil.example|the console> & pay");
        assert_eq!(text, "&lt;!channel&gt; see &lt;https://evil.example|the console&gt; &amp; pay");
    }
}
