//! What the configuration says to the edge, in the edge's own words.

use super::config::Config;
use super::parts::GatewayError;
use crate::edge::{Bounds, HouseRules, TunnelRules};
use crate::traces::Traces;
use crate::tunnel::client::{TlsRoots, app_tls_config};

/// Who hears of requests, if the configuration names somebody.
pub(super) fn traces(config: &Config) -> Result<Traces, GatewayError> {
    let Some(address) = &config.log.traces_to else { return Ok(Traces::default()) };
    let failed = |error: &dyn std::fmt::Display| GatewayError::Stopped(format!("log.traces_to: {error}"));
    let tls = app_tls_config(&TlsRoots::System).map_err(|error| failed(&error))?;
    Traces::to(address, "sallyportd", tls.as_ref().clone()).map_err(|error| failed(&error))
}

pub(super) fn house_rules(config: &Config) -> HouseRules {
    let (recording, foreign_header) = (config.tunnels.recording, config.tunnels.foreign_header);
    let usual = TunnelRules { recording, foreign_header, ..TunnelRules::default() };
    let single = config.tunnels.blocks.iter().map(|block| {
        let recording = block.recording.unwrap_or(recording);
        let foreign_header = block.foreign_header.unwrap_or(foreign_header);
        (block.name.clone(), TunnelRules { recording, foreign_header, ..block.rules.clone() })
    });
    HouseRules::new(single, usual)
}

pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        tls_handshake: config.limits.tls_handshake,
        header: config.limits.header,
        keep_alive: config.limits.keep_alive,
        header_bytes: config.limits.header_bytes,
        request: config.limits.request,
        queue: config.tunnels.queue,
        tunnels_per_user: config.tunnels.max_per_user,
        suites: config.tunnels.suites,
        heartbeat: config.tunnels.heartbeat,
        heartbeat_timeout: config.tunnels.heartbeat_timeout,
        // A name that is kept no longer is nobody's to come back to.
        resume: config.limits.resume.min(config.tunnels.reconnect_grace),
        pass_through: config.tunnels.pass_through,
        breaker: config.tunnels.breaker,
        browser_session: config.identity.session,
        console_at_home: config.identity.console_at_home,
    }
}
