//! How messages of calls are written towards a peer (RFC 0046): the fields that trunks and vendor trunks have in common.

use warp_policy::directory::HeaderRule as Rule;

use super::fault::Problem;
use super::input::{CodecName, HeaderRule, List};

crate::choice! {
    /// Where a peer is told who calls.
    pub enum IdentityForm {
        /// As a peer that we believe wrote it; of any other peer nothing.
        AsReceived = "as_received",
        /// In P-Asserted-Identity (RFC 3325).
        PAssertedIdentity = "p_asserted_identity",
        /// In Remote-Party-ID, as older switches read it.
        RemotePartyId = "remote_party_id",
        /// Nowhere but in From.
        None = "none",
    }
}

crate::choice! {
    /// How the caller's number is written towards a peer.
    pub enum CallerFormat {
        /// As the caller wrote it.
        AsReceived = "as_received",
        /// E.164 with a plus: `+14155550123`.
        PlusE164 = "plus_e164",
        /// E.164 without a plus: `14155550123`.
        E164 = "e164",
        /// National form inside the North American plan: `4155550123`.
        National = "national",
    }
}

crate::choice! {
    /// How a peer is told of diversions.
    pub enum DiversionForm {
        /// As they came to us.
        AsReceived = "as_received",
        /// As Diversion (RFC 5806); History-Info is converted (RFC 7544).
        Diversion = "diversion",
        /// As History-Info (RFC 7044); Diversion is converted (RFC 7544).
        HistoryInfo = "history_info",
        /// It hears of no diversion.
        None = "none",
    }
}

crate::choice! {
    /// What a peer is told of causes (Reason, RFC 3326).
    pub enum ReasonForm {
        /// What came from the other side.
        AsReceived = "as_received",
        /// A failure without a Q.850 cause gets the one of its status.
        Always = "always",
        /// It hears of no cause.
        None = "none",
    }
}

/// The fields as they stand in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderFields {
    pub(super) trusted: bool,
    pub(super) identity: String,
    pub(super) caller: String,
    pub(super) diversion: String,
    pub(super) reason: String,
    pub(super) rules: Vec<String>,
    pub(super) codecs: Vec<String>,
    /// Session timers, in seconds (RFC 0047).
    pub(super) expires: Option<i32>,
    pub(super) least: Option<i32>,
    /// Its calls are recorded (RFC 0054).
    pub(super) recording: bool,
}

/// The fields as an input has them.
pub(super) struct Asked<'i> {
    pub(super) trusted: Option<bool>,
    pub(super) identity: Option<IdentityForm>,
    pub(super) caller: Option<CallerFormat>,
    pub(super) diversion: Option<DiversionForm>,
    pub(super) reason: Option<ReasonForm>,
    pub(super) rules: Option<&'i List<HeaderRule, 8>>,
    pub(super) codecs: Option<&'i List<CodecName, 16>>,
    pub(super) expires: Option<i32>,
    pub(super) least: Option<i32>,
    pub(super) recording: Option<bool>,
}

/// The fields of an input.
macro_rules! headers_of {
    ($input:ident) => {
        $crate::app::headers::Asked {
            trusted: $input.identity_trusted,
            identity: $input.identity_form,
            caller: $input.caller_format,
            diversion: $input.diversion_form,
            reason: $input.reason_form,
            rules: $input.header_rules.as_ref(),
            codecs: $input.codecs.as_ref(),
            expires: $input.session_expires_s.map(|s| s.as_i32()),
            least: $input.session_min_s.map(|s| s.as_i32()),
            recording: $input.recording,
        }
    };
}
pub(super) use headers_of;

impl HeaderFields {
    /// Those of a row that nobody has set any of.
    pub(super) fn usual(trusted: bool) -> Self {
        let as_received = || IdentityForm::AsReceived.as_str().to_owned();
        Self {
            trusted,
            identity: as_received(),
            caller: as_received(),
            diversion: as_received(),
            reason: as_received(),
            rules: Vec::new(),
            codecs: Vec::new(),
            expires: None,
            least: None,
            recording: false,
        }
    }

    /// What is asked for, over something else. A rule that names a header that no rule may touch is a problem (T-SIP-03).
    pub(super) fn asked(asked: Asked<'_>, otherwise: Self, problems: &mut Vec<Problem>) -> Self {
        for (i, rule) in asked.rules.iter().flat_map(|list| &list.0).enumerate() {
            if rule.0.parse::<Rule>().is_ok_and(|rule| rule.is_protected()) {
                let message = "a rule cannot touch this header";
                problems.push(Problem::new(format!("header_rules[{i}]"), "protected", message));
            }
        }
        Self {
            trusted: asked.trusted.unwrap_or(otherwise.trusted),
            identity: asked.identity.map_or(otherwise.identity, |w| w.as_str().to_owned()),
            caller: asked.caller.map_or(otherwise.caller, |w| w.as_str().to_owned()),
            diversion: asked.diversion.map_or(otherwise.diversion, |w| w.as_str().to_owned()),
            reason: asked.reason.map_or(otherwise.reason, |w| w.as_str().to_owned()),
            rules: asked.rules.map_or(otherwise.rules, |l| l.0.iter().map(|r| r.0.clone()).collect()),
            codecs: asked.codecs.map_or(otherwise.codecs, |l| l.0.iter().map(|c| c.0.clone()).collect()),
            expires: asked.expires.or(otherwise.expires),
            least: asked.least.or(otherwise.least),
            recording: asked.recording.unwrap_or(otherwise.recording),
        }
    }

    /// The names of the fields that are not the same.
    pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let all = [
            ("identity_trusted", self.trusted != other.trusted),
            ("identity_form", self.identity != other.identity),
            ("caller_format", self.caller != other.caller),
            ("diversion_form", self.diversion != other.diversion),
            ("reason_form", self.reason != other.reason),
            ("header_rules", self.rules != other.rules),
            ("codecs", self.codecs != other.codecs),
            ("session_expires_s", self.expires != other.expires),
            ("session_min_s", self.least != other.least),
            ("recording", self.recording != other.recording),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}
