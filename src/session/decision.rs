//! How a decision is told in a record: who, what, under which policy, by which rules, and why. Allowed or denied alike.

use sallyport_audit::Draft;

use crate::access::{Explanation, RuleRef};

/// Puts `explanation` into `draft`.
pub fn explain(draft: Draft, explanation: &Explanation) -> Draft {
    let rules: Vec<String> = explanation.rules.iter().map(RuleRef::for_record).collect();
    let workflows: Vec<String> = explanation.workflows.iter().map(ToString::to_string).collect();
    let draft = draft
        .subject(explanation.subject.to_string())
        .action(explanation.action.to_string())
        .object(explanation.object.to_string())
        .policy(explanation.policy.to_string())
        .detail("tenant", explanation.tenant.to_string())
        .detail("rules", rules)
        .detail("code", explanation.code)
        // A sentence for people, which may name the visitor: personal.
        .reason(explanation.why.as_str());
    let draft = if workflows.is_empty() { draft } else { draft.detail("workflows", workflows) };
    match explanation.grant {
        Some(grant) => draft.grant(grant.to_string()),
        None => draft,
    }
}
