//! The rules that decided, as a record has them.

use serde::{Deserialize, Serialize};

use crate::directory::{Applies, Directory, Level};
use crate::route::Decision;

/// A rule that decided about a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// The id of the rule.
    pub id: String,
    /// How specific it is: by trunk, by customer, by route, or for every call.
    pub level: Level,
    /// Why it was made, in words.
    pub reason: String,
}

fn record(id: &str, applies: &Applies, reason: &str) -> RuleRecord {
    RuleRecord { id: id.to_owned(), level: applies.level(), reason: reason.to_owned() }
}

pub(super) fn blocked_by(directory: &Directory, decision: &Decision) -> Option<RuleRecord> {
    let rule = directory.call_block(decision.blocked_by?)?;
    Some(record(&rule.id, &rule.applies, &rule.reason))
}

pub(super) fn overridden_by(directory: &Directory, decision: &Decision) -> Option<RuleRecord> {
    let rule = directory.override_at(decision.overridden_by?)?;
    Some(record(&rule.id, &rule.applies, &rule.reason))
}
