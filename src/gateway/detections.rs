//! Starts what looks for trouble in the records: the rules that are built in, or the operator's.

use std::sync::Arc;

use sallyport_audit::Ledger;
use sallyport_audit::detection::{BUILT_IN, Detecting, Rules};
use sallyport_audit::sink::{Feed, FileCursor, SinkName};

use super::config::Config;
use super::parts::GatewayError;

/// The name of its position.
const POSITION: &str = "detections";

/// Nothing if the operator wants none. Rules that cannot be used are an error of the configuration.
pub(super) async fn start(config: &Config, ledger: &Ledger) -> Result<Option<Detecting>, GatewayError> {
    if !config.detections.on {
        return Ok(None);
    }
    let read = |source| GatewayError::File { what: "read", path: rules_path(config), source };
    let text = match &config.detections.rules_file {
        Some(path) => std::fs::read_to_string(path).map_err(read)?,
        None => BUILT_IN.to_owned(),
    };
    let rules = Rules::parse(&text)?;
    // Apart from the sinks' own: a sink may be called as it likes.
    let folder = config.state_directory.join("detections");
    std::fs::create_dir_all(&folder).map_err(|source| GatewayError::File {
        what: "make",
        path: folder.clone(),
        source,
    })?;
    let reader = ledger.reader();
    let name = SinkName::parse(POSITION).map_err(|error| GatewayError::Stopped(error.to_string()))?;
    let cursor = FileCursor::new(&folder, name, &Feed::origin(&reader)).over(Feed::epochs(&reader));
    Ok(Some(Detecting::start(&rules, Arc::new(cursor), Arc::new(reader), Arc::new(ledger.clone())).await?))
}

fn rules_path(config: &Config) -> std::path::PathBuf {
    config.detections.rules_file.clone().unwrap_or_default()
}
