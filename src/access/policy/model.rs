//! The casbin model, read by casbin and then held to what the guard relies on.
//!
//! A model can undo everything: an effect without deny-override, a matcher with `||`, `!` or `regexMatch`, one that
//! is true for empty texts. So the definitions must be the known ones, and the matcher may only join, by `&&`,
//! comparisons that narrow: nothing in it can widen what a rule says.

use casbin::{DefaultModel, Model};

use super::faults::PolicyFaults;

/// Name of the model file in the policy directory.
pub(super) const MODEL_FILE: &str = "model.conf";

const REQUEST: &[&str] = &["r_sub", "r_dom", "r_obj", "r_act"];
const POLICY: &[&str] = &["p_sub", "p_dom", "p_obj", "p_act", "p_eft", "p_approval"];
const ROLES: &str = "_, _, _";
const EFFECT: &str = "some(where (p_eft == allow)) && !some(where (p_eft == deny))";
/// Each must be there, and nothing else.
const TERMS: &[&str] =
    &["g(r_sub, p_sub, r_dom)", "objectMatch(r_obj, p_obj)", "r_act == p_act", "r_dom == p_dom"];

/// Reads the model and tells everything in it that the guard doesn't rely on.
pub(super) async fn parse(text: &str, faults: &mut PolicyFaults) -> Option<DefaultModel> {
    // casbin's reader loops over sections it knows and drops the rest; what it kept is checked below.
    let model = match DefaultModel::from_str(text).await {
        Ok(model) => model,
        Err(error) => {
            faults.about(MODEL_FILE, format!("casbin can't read it: {error}"));
            return None;
        }
    };
    let before = faults.count();
    let mut note = |what: String| faults.about(MODEL_FILE, what);
    let sections = model.get_model();
    for section in ["r", "p", "g", "e", "m"] {
        let definitions = sections.get(section).map_or(0, |section| section.iter().count());
        if definitions != 1 {
            note(format!("it must define `{section}` exactly once; it does so {definitions} times"));
        }
    }
    let definition = |key: &str| sections.get(key).and_then(|section| section.get(key));
    for (key, wanted) in [("r", REQUEST), ("p", POLICY)] {
        let tokens: Vec<&str> =
            definition(key).map(|d| d.tokens.iter().map(String::as_str).collect()).unwrap_or_default();
        if tokens != wanted {
            note(format!("`{key}` must be `{}`", wanted.join(", ").replace(&format!("{key}_"), "")));
        }
    }
    let value = |key: &str| definition(key).map(|d| d.value.as_str()).unwrap_or_default();
    if value("g") != ROLES {
        note(format!("`g` must be `{ROLES}`: who, role, tenant"));
    }
    if value("e") != EFFECT {
        note(format!("`e` must be `{}`: one deny outweighs every allow", EFFECT.replace("p_eft", "p.eft")));
    }
    let mut terms: Vec<&str> = value("m").split("&&").map(str::trim).collect();
    terms.sort_unstable();
    if terms != TERMS {
        note(format!(
            "`m` must join exactly these by `&&`: {}",
            TERMS.join(" , ").replace("r_", "r.").replace("p_", "p.")
        ));
    }
    (faults.count() == before).then_some(model)
}
