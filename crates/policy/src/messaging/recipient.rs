//! The number that a message of a customer is for (`ref/telecom-domain.md` §1): what a voice call to it would reach, by the same plan. What
//! is no number has no price, and nobody may be charged for it.
//!
//! A short code is no number of the plan: no price of a beginning of numbers is one of it, so that a message to one is refused. As a
//! sender it stands in [`senders`](super::senders).

use warp_model::E164;

use crate::number_plan::dial::{DialRules, Dialled};
use crate::{NumberPlan, Refusal};

/// Reads the address that a message is for: digits, perhaps with a plus before them. `international`: the address says that it has its
/// country code (SMPP 3.4 §5.2.5, TON 1); a plus says so too. Else ten digits that are a number of the North American plan are one.
///
/// Errors: [`Refusal::InvalidNumber`] (other characters, a short code, a service code, no such number), [`Refusal::IncompleteNumber`],
/// [`Refusal::UnassignedNumber`].
pub fn recipient(plan: &NumberPlan, address: &[u8], international: bool) -> Result<E164, Refusal> {
    let digits = address.strip_prefix(b"+").unwrap_or(address);
    if digits.len() > 15 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::InvalidNumber);
    }
    let mut whole = [b'+'; 16];
    let whole = match whole.get_mut(1..=digits.len()) {
        Some(place) => {
            place.copy_from_slice(digits);
            whole.get(..=digits.len()).unwrap_or_default()
        }
        None => return Err(Refusal::InvalidNumber),
    };
    let rules = DialRules { international: Vec::new(), ..DialRules::default() };
    let read = |text| match plan.dialled(text, &rules) {
        Ok(Dialled::Number { number, .. }) => Ok(number),
        Ok(Dialled::Emergency(_) | Dialled::Service(_)) => Err(Refusal::InvalidNumber),
        Err(why) => Err(why),
    };
    if international || digits.len() < address.len() {
        return read(whole);
    }
    match read(digits) {
        // Some countries have numbers of ten digits with their code.
        Err(_) if digits.len() == 10 => read(whole),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One meaning of a number, for calls and for messages: a beginning of one, a short code and a service code are none.
    #[test]
    fn what_is_a_number_for_a_call_is_one_for_a_message() {
        let plan = NumberPlan::seed();
        let of = |text: &str, international| {
            recipient(&plan, text.as_bytes(), international).map(|n| n.to_string())
        };
        for (text, international, number) in [
            ("+14155550123", false, "+14155550123"),
            ("14155550123", false, "+14155550123"),
            ("14155550123", true, "+14155550123"),
            ("442071234567", true, "+442071234567"),
            // National, where nothing says otherwise; abroad where it says so, or where there is no such number at home.
            ("4155550123", false, "+14155550123"),
            ("4155550123", true, "+4155550123"),
            ("+4155550123", false, "+4155550123"),
            ("3725551234", false, "+3725551234"),
            ("+6581234567", false, "+6581234567"),
        ] {
            assert_eq!(of(text, international).as_deref(), Ok(number), "{text} {international}");
        }
        for (text, why) in [
            ("+1415", Refusal::IncompleteNumber),
            ("1415", Refusal::IncompleteNumber),
            ("+44", Refusal::IncompleteNumber),
            ("22395", Refusal::IncompleteNumber),
            ("911", Refusal::InvalidNumber),
            ("+112", Refusal::InvalidNumber),
            ("411", Refusal::InvalidNumber),
            ("", Refusal::IncompleteNumber),
            ("+", Refusal::IncompleteNumber),
            ("ACME", Refusal::InvalidNumber),
            ("+1415-555-0123", Refusal::InvalidNumber),
            ("+11155550123", Refusal::InvalidNumber),
            ("+14151115555", Refusal::InvalidNumber),
            ("+1415555012345", Refusal::InvalidNumber),
            ("+0123456789", Refusal::InvalidNumber),
            ("+12005550123", Refusal::UnassignedNumber),
            ("1234567890123456", Refusal::InvalidNumber),
        ] {
            assert_eq!(of(text, false), Err(why), "{text}");
            assert!(of(text, true).is_err(), "{text}, international");
        }
    }
}
