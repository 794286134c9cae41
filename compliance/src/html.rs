//! The report as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.
//!
//! Records hold what visitors and publishers chose to call themselves, so everything is escaped by the template engine,
//! and the page forbids scripts in its own policy as well.

use askama::Template;

use crate::cryptography::Protection;
use crate::report::{Report, Standing};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
}

/// The page. The same report gives the same bytes.
pub fn html(report: &Report) -> Result<String, askama::Error> {
    Page { report }.render()
}

impl Page<'_> {
    fn evaluated(&self) -> usize {
        self.count(|state| matches!(state, Standing::Evidence))
    }

    fn excepted(&self) -> usize {
        self.count(|state| matches!(state, Standing::Exceptions { .. }))
    }

    fn unevaluated(&self) -> usize {
        self.count(|state| matches!(state, Standing::NotEvaluated { .. }))
    }

    fn count(&self, wanted: impl Fn(&Standing) -> bool) -> usize {
        self.report.controls.iter().filter(|control| wanted(&control.state)).count()
    }

    fn sides(&self) -> [(&'static str, &Protection); 2] {
        let cryptography = &self.report.cryptography;
        [("Sessions", &cryptography.sessions), ("Tunnel registrations", &cryptography.tunnels)]
    }

    fn span(first: Option<&u64>, last: Option<&u64>) -> String {
        match (first, last) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "none".to_owned(),
        }
    }
}
