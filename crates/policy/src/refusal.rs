//! Why a call is refused: a closed list, with what the caller is told (PRODUCT §6, `ref/telecom-domain` §8).

use serde::{Deserialize, Serialize};

/// Why policy refuses a call. The code goes into `CallRecord::internal_code` and into metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The dialled text is no number under the trunk's dial rules.
    InvalidNumber,
    /// Fewer digits than the plan needs.
    IncompleteNumber,
    /// An area code that nobody has been assigned.
    UnassignedNumber,
    /// A service code (411, 611 …) that is not routed here.
    ServiceCode,
    /// An emergency call, and no emergency route is configured.
    NoEmergencyRoute,
    /// The trunk or its customer is switched off.
    TrunkDisabled,
    /// The trunk may not call this class of destination (premium and satellite are denied by default).
    DestinationBlocked,
    /// A block holds the call, for its destination or its caller; never a call for help.
    CallBlocked,
    /// The customer's price per minute is above the trunk's limit.
    MaxRate,
    /// The contract demands a valid caller number.
    InvalidCaller,
    /// No vendor of the partition offers the destination.
    NoRoute,
    /// Vendors offer it, and each one was excluded: down or full.
    NoRouteAvailable,
    /// Vendors offer it, none of them at the margin.
    NoRouteAtMargin,
    /// It cannot be priced: no sell rate, or the sum does not fit. Raises an alarm (T-SIP-07).
    RatingFailed,
    /// All channels of the trunk are in use.
    TrunkChannels,
    /// All channels of the customer are in use.
    CustomerChannels,
    /// The trunk's calls per second are used up.
    TrunkCps,
    /// The customer's calls per second are used up.
    CustomerCps,
    /// The day's spend limit would be passed (T-SIP-06).
    DailySpend,
    /// A vendor's call to a number that nobody here has.
    NumberNotHere,
    /// The number is somebody's, and there is nowhere to deliver its calls: no destination, or one that takes no calls.
    NoDestination,
    /// Every target of the number was tried, or has no room.
    TargetsExhausted,
    /// The billing account has no money for the first increment, or none on this node.
    NoCredit,
}

impl Refusal {
    /// Every refusal, for metric labels and documentation.
    pub const ALL: [Refusal; 23] = [
        Self::InvalidNumber,
        Self::IncompleteNumber,
        Self::UnassignedNumber,
        Self::ServiceCode,
        Self::NoEmergencyRoute,
        Self::TrunkDisabled,
        Self::DestinationBlocked,
        Self::CallBlocked,
        Self::MaxRate,
        Self::InvalidCaller,
        Self::NoRoute,
        Self::NoRouteAvailable,
        Self::NoRouteAtMargin,
        Self::RatingFailed,
        Self::TrunkChannels,
        Self::CustomerChannels,
        Self::TrunkCps,
        Self::CustomerCps,
        Self::DailySpend,
        Self::NumberNotHere,
        Self::NoDestination,
        Self::TargetsExhausted,
        Self::NoCredit,
    ];

    /// The word for it that never changes, as it stands in records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidNumber => "invalid_number",
            Self::IncompleteNumber => "incomplete_number",
            Self::UnassignedNumber => "unassigned_number",
            Self::ServiceCode => "service_code",
            Self::NoEmergencyRoute => "no_emergency_route",
            Self::TrunkDisabled => "trunk_disabled",
            Self::DestinationBlocked => "destination_blocked",
            Self::CallBlocked => "call_blocked",
            Self::MaxRate => "max_rate",
            Self::InvalidCaller => "invalid_caller",
            Self::NoRoute => "no_route",
            Self::NoRouteAvailable => "no_route_available",
            Self::NoRouteAtMargin => "no_route_at_margin",
            Self::RatingFailed => "rating_failed",
            Self::TrunkChannels => "trunk_channels",
            Self::CustomerChannels => "customer_channels",
            Self::TrunkCps => "trunk_cps",
            Self::CustomerCps => "customer_cps",
            Self::DailySpend => "daily_spend",
            Self::NumberNotHere => "number_not_here",
            Self::NoDestination => "no_destination",
            Self::TargetsExhausted => "targets_exhausted",
            Self::NoCredit => "no_credit",
        }
    }

    /// SIP status towards the caller: 404 unroutable, 403 forbidden by contract, 402 not paid, 480 nobody there to take it, 503 for everything
    /// that may pass later.
    pub fn sip_status(self) -> u16 {
        match self {
            Self::InvalidNumber
            | Self::UnassignedNumber
            | Self::ServiceCode
            | Self::NoRoute
            | Self::NumberNotHere => 404,
            // Of one number only: a vendor that hears 503 may take all calls elsewhere.
            Self::NoDestination | Self::TargetsExhausted => 480,
            Self::IncompleteNumber => 484,
            Self::TrunkDisabled
            | Self::DestinationBlocked
            | Self::CallBlocked
            | Self::MaxRate
            | Self::InvalidCaller
            | Self::DailySpend => 403,
            Self::NoCredit => 402,
            Self::NoEmergencyRoute
            | Self::NoRouteAvailable
            | Self::NoRouteAtMargin
            | Self::RatingFailed
            | Self::TrunkChannels
            | Self::CustomerChannels
            | Self::TrunkCps
            | Self::CustomerCps => 503,
        }
    }

    /// Q.850 cause for the Reason header and the CDR.
    pub fn q850(self) -> u8 {
        match self {
            Self::InvalidNumber | Self::IncompleteNumber => 28,
            Self::UnassignedNumber | Self::NumberNotHere => 1,
            Self::NoDestination => 20,
            Self::TargetsExhausted => 27,
            Self::ServiceCode | Self::NoRoute => 3,
            Self::TrunkDisabled
            | Self::DestinationBlocked
            | Self::CallBlocked
            | Self::MaxRate
            | Self::InvalidCaller
            | Self::DailySpend
            | Self::NoCredit => 21,
            Self::NoEmergencyRoute | Self::NoRouteAvailable | Self::NoRouteAtMargin => 34,
            Self::RatingFailed => 41,
            Self::TrunkChannels | Self::CustomerChannels | Self::TrunkCps | Self::CustomerCps => 42,
        }
    }

    /// What it means, as the end of a sentence for whoever asks why.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::InvalidNumber => "what was dialled is no number by the dial rules of the trunk",
            Self::IncompleteNumber => "the number has too few digits",
            Self::UnassignedNumber => "nobody has been assigned such a number",
            Self::ServiceCode => "it is a service code, which is not carried",
            Self::NoEmergencyRoute => "no emergency route is configured",
            Self::TrunkDisabled => "the trunk or its customer is switched off",
            Self::DestinationBlocked => "the trunk may not call this class of destinations",
            Self::CallBlocked => "calls from or to such numbers are blocked",
            Self::MaxRate => {
                "the customer's price is above the highest that the trunk or the customer allows"
            }
            Self::InvalidCaller => "the caller is no valid number, and the trunk must give one",
            Self::NoRoute => "no vendor has a price for it: not in their decks, blocked there, or ended",
            Self::NoRouteAvailable => "vendors have a price for it, and each one is down, full or excluded",
            Self::NoRouteAtMargin => "vendors have a price for it, none that leaves the margin",
            Self::RatingFailed => "a side of it has no price, or its sum cannot be made",
            Self::TrunkChannels => "all channels of the trunk are in use",
            Self::CustomerChannels => "all channels of the customer are in use",
            Self::TrunkCps => "the trunk's calls per second are used up",
            Self::CustomerCps => "the customer's calls per second are used up",
            Self::DailySpend => "it would pass the day's spend limit",
            Self::NumberNotHere => "nobody here has this number",
            Self::NoDestination => "the number has no destination that takes calls",
            Self::TargetsExhausted => "no target of the number took the call",
            Self::NoCredit => "the billing account has no money for it",
        }
    }

    /// Reason phrase towards the caller.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidNumber => "Not a number",
            Self::IncompleteNumber => "Address Incomplete",
            Self::UnassignedNumber => "Unassigned Number",
            Self::ServiceCode => "Service Code Not Routed",
            Self::NoEmergencyRoute => "No Emergency Route",
            Self::TrunkDisabled => "Trunk Disabled",
            Self::DestinationBlocked => "Destination Not Allowed",
            Self::CallBlocked => "Call Blocked",
            Self::MaxRate => "Rate Above Limit",
            Self::InvalidCaller => "Invalid Caller Number",
            Self::NoRoute => "No Route",
            Self::NoRouteAvailable => "No Route Available",
            Self::NoRouteAtMargin => "No Route At Margin",
            Self::RatingFailed => "Not Rateable",
            Self::TrunkChannels | Self::CustomerChannels => "Channel Limit",
            Self::TrunkCps | Self::CustomerCps => "Call Rate Limit",
            Self::DailySpend => "Spend Limit",
            Self::NumberNotHere => "Unassigned Number",
            Self::NoDestination | Self::TargetsExhausted => "Temporarily Unavailable",
            Self::NoCredit => "Payment Required",
        }
    }

    /// True when all of the sender's calls had better wait a second: the answer then carries `Retry-After: 1`. Not for what is about one
    /// destination: the header has a peer send nothing at all for so long (RFC 3261 §21.5.4).
    pub fn retry_after(self) -> bool {
        matches!(self, Self::TrunkChannels | Self::CustomerChannels | Self::TrunkCps | Self::CustomerCps)
    }
}

/// Which price a call lacked that was refused as [`Refusal::RatingFailed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// The decks of the customer have none, for a call that it makes.
    Customer,
    /// The inbound decks of the customer have none, for a call to its number.
    CustomersInbound,
    /// The inbound decks of the vendor have none, for a call that it brings.
    VendorsInbound,
    /// Both sides have one, and a sum of them cannot be made.
    Sum,
}

impl Unpriced {
    /// Of a call of this direction whose two sides had a price or not. A call that is made has no vendor before it has a price.
    pub fn of(inbound: bool, sold: bool, bought: bool) -> Unpriced {
        match (inbound, sold, bought) {
            (false, false, _) => Self::Customer,
            (true, false, _) => Self::CustomersInbound,
            (true, true, false) => Self::VendorsInbound,
            _ => Self::Sum,
        }
    }

    /// Whose price is missing, as the end of a sentence for operators.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Customer => "the customer's decks have no price for it",
            Self::CustomersInbound => "the customer's inbound decks have no price for it",
            Self::VendorsInbound => "the vendor's inbound decks have no price for it",
            Self::Sum => "the sum of its prices cannot be made",
        }
    }

    /// The same for the customer, who is not told from whom the carrier buys.
    pub fn to_customers(self) -> &'static str {
        match self {
            Self::VendorsInbound => "the carrier has no price for its own side of it",
            other => other.meaning(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_serde_agrees() {
        let mut seen = std::collections::BTreeSet::new();
        for r in Refusal::ALL {
            assert!(seen.insert(r.code()));
            assert_eq!(serde_json::to_string(&r).unwrap(), format!("\"{}\"", r.code()));
        }
    }
}
