//! An exchange rate: what one unit of a currency is worth in another one.

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::input::CurrencyCode;
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Exchange rates, for margins and for the order of vendors. Prices are never converted.
    EXCHANGE_RATE: exchange_rate in exchange_rates;
    for Operators, called "exchange rate", at "exchange-rates", scopes of "routing", amounts in worth_currency;
    row ExchangeRateRow; values ExchangeRateValues;
    verbs {
        List "Exchange rates";
        Create "Say what a currency is worth in another one";
        Read "An exchange rate";
        Change "Change an exchange rate; live within 1 s";
        Replace "Replace an exchange rate; live within 1 s";
        Delete "Forget an exchange rate";
    }
    examples made, changed, seen;
    given {
        id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        currency: String,
        worth: Amount,
        worth_currency: String,
        reason: String,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        currency on currency as CurrencyCode, for Operators: "Only what this currency is worth (ISO 4217).",
    }
    listed { currency, worth, reason }
}

fn made() -> Value {
    json!({
        "currency": "EUR",
        "worth": { "amount": "1.0842", "currency": "USD" },
        "reason": "rate of the central bank, 30 November"
    })
}

fn changed() -> Value {
    json!({ "worth": { "amount": "1.0911", "currency": "USD" }, "reason": "rate of the central bank, 1 December" })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "fxr_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "currency": "EUR",
        "worth": { "amount": "1.0842", "currency": "USD" },
        "reason": "rate of the central bank, 30 November",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
