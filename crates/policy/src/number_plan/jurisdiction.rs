//! Interstate or intrastate (`ref/telecom-domain` §2), with the rule that decided, because disputes are about the rule.

use serde::{Deserialize, Serialize};
use warp_model::E164;

use super::dial::{DialRules, Dialled};
use super::{DestinationClass, NpaClass, NumberPlan, State};

/// Which of the three US prices applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jurisdiction {
    /// Caller and called in different states.
    Interstate,
    /// Both numbers are in one state.
    Intrastate,
    /// It cannot be told. Never the cheaper price.
    Indeterminate,
}

impl Jurisdiction {
    /// Stable name, as in `CallRecord::jurisdiction`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interstate => "interstate",
            Self::Intrastate => "intrastate",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// Column in a price row: 0 inter, 1 intra, 2 indeterminate.
    pub(crate) fn column(self) -> usize {
        self as usize
    }
}

/// The rule that decided the jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JurisdictionRule {
    /// Both numbers are in the same state: intrastate.
    SameState,
    /// The numbers are in different states: interstate.
    DifferentState,
    /// No caller number: indeterminate.
    CallerMissing,
    /// The caller number is not valid: indeterminate.
    CallerInvalid,
    /// The caller number is toll-free: indeterminate.
    CallerTollFree,
    /// The caller number belongs to no place: indeterminate.
    CallerNonGeographic,
    /// The caller is abroad: indeterminate.
    CallerForeign,
    /// The called side's state is not known: indeterminate.
    CalledUnknown,
    /// Called toll-free: one price, the indeterminate one.
    CalledTollFree,
    /// Canada, territories, A–Z: one price, no jurisdiction.
    NotApplicable,
    /// The vendor's point of interconnection is in the called state: intrastate for that vendor.
    InterconnectionSameState,
    /// The vendor's point of interconnection is in another state: interstate for that vendor.
    InterconnectionDifferentState,
}

/// What kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerClass {
    /// A place in the 50 states, DC or a territory.
    Domestic,
    /// A toll-free number of the North American plan (8YY).
    DomesticTollFree,
    /// Another country, Canada included.
    International,
    /// 5YY, 900 and the like.
    NonGeographic,
    /// Not a number that anybody can have, the called number itself, or one digit repeated.
    Invalid,
    /// No caller was given.
    Missing,
}

/// A caller number, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The number, when it is a valid one.
    pub number: Option<E164>,
    /// The class of the caller.
    pub class: CallerClass,
    /// State or territory, when it has one.
    pub state: Option<State>,
}

impl NumberPlan {
    /// Judges a caller number (ANI). `called` is given because one's own number is not a valid caller.
    pub fn caller(&self, user: &[u8], called: Option<E164>) -> Caller {
        let judged = |number, class, state| Caller { number, class, state };
        if user.len() > super::dial::MAX_USER_BYTES {
            return judged(None, CallerClass::Invalid, None);
        }
        let text = user.split(|b| *b == b';').next().unwrap_or(&[]);
        if text.is_empty()
            || text.eq_ignore_ascii_case(b"anonymous")
            || text.eq_ignore_ascii_case(b"restricted")
            || text.eq_ignore_ascii_case(b"unavailable")
            || text.eq_ignore_ascii_case(b"unknown")
        {
            return judged(None, CallerClass::Missing, None);
        }
        let mut digits = text.iter().filter(|b| b.is_ascii_digit());
        let first = digits.next();
        let repeated = digits.all(|d| Some(d) == first);
        let Ok(Dialled::Number { number, .. }) = self.dialled(text, &CALLER_RULES) else {
            return judged(None, CallerClass::Invalid, None);
        };
        if repeated || Some(number) == called || one_digit(number) {
            return judged(None, CallerClass::Invalid, None);
        }
        let Some(npa) = self.npa_of(number) else {
            return judged(Some(number), CallerClass::International, None);
        };
        match npa.class {
            NpaClass::Geographic if npa.us => judged(Some(number), CallerClass::Domestic, npa.state),
            NpaClass::UsTerritory => judged(Some(number), CallerClass::Domestic, npa.state),
            NpaClass::Geographic | NpaClass::NanpCountry => {
                judged(Some(number), CallerClass::International, None)
            }
            NpaClass::TollFree => judged(Some(number), CallerClass::DomesticTollFree, None),
            NpaClass::Premium | NpaClass::Personal | NpaClass::Special => {
                judged(Some(number), CallerClass::NonGeographic, None)
            }
            NpaClass::Unassigned => judged(None, CallerClass::Invalid, None),
        }
    }

    /// The jurisdiction of a call, and the rule. `routed` is the routing number when the call was dipped, else the dialled
    /// number; `class` is the class of the dialled number.
    pub fn jurisdiction(
        &self,
        caller: &Caller,
        routed: E164,
        class: DestinationClass,
    ) -> (Option<Jurisdiction>, JurisdictionRule) {
        use JurisdictionRule as Rule;
        match class {
            DestinationClass::TollFree => {
                return (Some(Jurisdiction::Indeterminate), Rule::CalledTollFree);
            }
            DestinationClass::Domestic => {}
            _ => return (None, Rule::NotApplicable),
        }
        let indeterminate = |rule| (Some(Jurisdiction::Indeterminate), rule);
        match caller.class {
            CallerClass::Missing => return indeterminate(Rule::CallerMissing),
            CallerClass::Invalid => return indeterminate(Rule::CallerInvalid),
            CallerClass::DomesticTollFree => return indeterminate(Rule::CallerTollFree),
            CallerClass::NonGeographic => return indeterminate(Rule::CallerNonGeographic),
            CallerClass::International => return indeterminate(Rule::CallerForeign),
            CallerClass::Domestic => {}
        }
        match (caller.state, self.term_state(routed)) {
            (_, None) => indeterminate(Rule::CalledUnknown),
            (None, _) => indeterminate(Rule::CallerNonGeographic),
            (Some(a), Some(b)) if a == b => (Some(Jurisdiction::Intrastate), Rule::SameState),
            _ => (Some(Jurisdiction::Interstate), Rule::DifferentState),
        }
    }

    /// The called state of a number in the 50 states or DC.
    pub fn term_state(&self, routed: E164) -> Option<State> {
        self.npa_of(routed).filter(|n| n.us).and_then(|n| n.state)
    }

    /// The jurisdiction for a vendor with a point-of-interconnection policy: its state against the called state.
    pub fn jurisdiction_at(
        &self,
        interconnection: State,
        routed: E164,
        class: DestinationClass,
    ) -> (Option<Jurisdiction>, JurisdictionRule) {
        use JurisdictionRule as Rule;
        match class {
            DestinationClass::TollFree => (Some(Jurisdiction::Indeterminate), Rule::CalledTollFree),
            DestinationClass::Domestic => match self.term_state(routed) {
                None => (Some(Jurisdiction::Indeterminate), Rule::CalledUnknown),
                Some(s) if s == interconnection => {
                    (Some(Jurisdiction::Intrastate), Rule::InterconnectionSameState)
                }
                Some(_) => (Some(Jurisdiction::Interstate), Rule::InterconnectionDifferentState),
            },
            _ => (None, Rule::NotApplicable),
        }
    }
}

/// How caller numbers are read: as a US trunk would write them.
static CALLER_RULES: DialRules = DialRules {
    strip: Vec::new(),
    strip_required: false,
    nanp_home: true,
    international: Vec::new(),
    bare_e164: true,
    trust_rn: false,
};

/// Ten national digits that are all the same.
fn one_digit(number: E164) -> bool {
    number.nanp().is_some_and(|n| n % 1_111_111_111 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(caller: &str, called: &str) -> (Option<Jurisdiction>, JurisdictionRule) {
        let plan = NumberPlan::seed();
        let called: E164 = called.parse().unwrap();
        let caller = plan.caller(caller.as_bytes(), Some(called));
        plan.jurisdiction(&caller, called, plan.class(called).unwrap())
    }

    #[test]
    fn each_rule_of_section_2() {
        use Jurisdiction::*;
        use JurisdictionRule::*;
        let sf = "+14155550123";
        assert_eq!(decided("+12135550100", sf), (Some(Intrastate), SameState));
        assert_eq!(decided("12025550100", sf), (Some(Interstate), DifferentState));
        assert_eq!(decided("", sf), (Some(Indeterminate), CallerMissing));
        assert_eq!(decided("anonymous", sf), (Some(Indeterminate), CallerMissing));
        for bad in ["1234", "2215550100", "4155550123", "0000000000", "2222222222", "+1999555010", "bob"] {
            assert_eq!(decided(bad, sf), (Some(Indeterminate), CallerInvalid), "{bad}");
        }
        assert_eq!(decided("8005550100", sf), (Some(Indeterminate), CallerTollFree));
        assert_eq!(decided("5005550100", sf), (Some(Indeterminate), CallerNonGeographic));
        assert_eq!(decided("+442071234567", sf), (Some(Indeterminate), CallerForeign));
        assert_eq!(decided("+12045550100", sf), (Some(Indeterminate), CallerForeign));
        assert_eq!(decided("+12025550100", "+18005550123"), (Some(Indeterminate), CalledTollFree));
        for abroad in ["+12045550123", "+17875550123", "+18765550123", "+442071234567"] {
            assert_eq!(decided("+12025550100", abroad), (None, NotApplicable));
        }
        // A territory has a place: interstate.
        assert_eq!(decided("+17875550100", sf), (Some(Interstate), DifferentState));
    }

    #[test]
    fn point_of_interconnection() {
        let plan = NumberPlan::seed();
        let called: E164 = "+14155550123".parse().unwrap();
        let ca = State::parse("CA").unwrap();
        let ny = State::parse("NY").unwrap();
        let class = DestinationClass::Domestic;
        assert_eq!(plan.jurisdiction_at(ca, called, class).0, Some(Jurisdiction::Intrastate));
        assert_eq!(plan.jurisdiction_at(ny, called, class).0, Some(Jurisdiction::Interstate));
    }
}
