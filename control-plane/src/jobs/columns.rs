//! The columns of exported call records: those of the API's list, amounts split into value and currency. Data only.

use std::borrow::Cow;

use crate::store::calls::CallRow;
use crate::store::types::{Amount, Time};

/// A column of a file.
pub struct Column {
    /// Its name, as the API calls the field.
    pub name: &'static str,
    /// What its values are.
    pub form: Form,
    /// Only exports of operators have it: whom we buy from, and for how much.
    pub operators: bool,
    /// Its value in a row.
    pub of: for<'r> fn(&'r CallRow) -> Cell<'r>,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text as the API has it.
    Text,
    /// A whole number with a sign.
    Int,
    /// A time, in microseconds since 1970, UTC.
    Time,
    /// An amount, in nano-units of the currency that the next column names.
    Money,
    /// Either true or false.
    Flag,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'r> {
    /// There is no value here.
    Empty,
    /// Text as the API has it.
    Text(Cow<'r, str>),
    /// A whole number with a sign.
    Int(i64),
    /// Microseconds since 1970, in UTC.
    Time(i64),
    /// Nano-units of its currency.
    Money(i64),
    /// Either true or false.
    Flag(bool),
}

impl<'r> Cell<'r> {
    fn text(text: &'r str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
    fn maybe(text: &'r Option<String>) -> Self {
        text.as_deref().map_or(Self::Empty, Self::text)
    }
    fn time(time: &Time) -> Self {
        Self::Time(time.0.0)
    }
    fn int(number: Option<i64>) -> Self {
        number.map_or(Self::Empty, Self::Int)
    }
    fn money(amount: &Option<Amount>) -> Self {
        amount.as_ref().map_or(Self::Empty, |a| Self::Money(a.0.amount.0))
    }
    fn currency(amount: &Option<Amount>) -> Self {
        amount.as_ref().map_or(Self::Empty, |a| Self::Text(a.0.currency.as_str().to_owned().into()))
    }
}

macro_rules! columns {
    ($($name:literal $form:ident $($operators:ident)?: |$row:ident| $of:expr;)*) => {
        &[$(Column {
            name: $name,
            form: Form::$form,
            operators: columns!(@mark $($operators)?),
            of: |$row| $of,
        }),*]
    };
    (@mark) => { false };
    (@mark operators) => { true };
}

/// Every column, in the order of a file.
pub static COLUMNS: &[Column] = columns! {
    "id" Text: |r| Cell::text(&r.id);
    "customer_id" Text: |r| Cell::maybe(&r.customer_id);
    "trunk_id" Text: |r| Cell::maybe(&r.trunk_id);
    "direction" Text: |r| Cell::text(&r.direction);
    "number_id" Text: |r| Cell::maybe(&r.number_id);
    "caller" Text: |r| Cell::text(&r.caller);
    "called" Text: |r| Cell::text(&r.called);
    "caller_e164" Text: |r| Cell::maybe(&r.caller_e164);
    "called_e164" Text: |r| Cell::maybe(&r.called_e164);
    "jurisdiction" Text: |r| Cell::maybe(&r.jurisdiction);
    "setup_at" Time: |r| Cell::time(&r.setup_at);
    "answer_at" Time: |r| r.answer_at.as_ref().map_or(Cell::Empty, Cell::time);
    "end_at" Time: |r| Cell::time(&r.end_at);
    "pdd_ms" Int: |r| Cell::int(r.pdd_ms);
    "duration_ms" Int: |r| Cell::Int(r.duration_ms);
    "sip_code" Int: |r| Cell::Int(r.sip_code.into());
    "q850" Int: |r| Cell::int(r.q850.map(i64::from));
    "release_side" Text: |r| Cell::text(&r.release_side);
    "internal_code" Text: |r| Cell::text(&r.internal_code);
    "outcome" Text: |r| Cell::text(&r.outcome);
    "recovered" Flag: |r| Cell::Flag(r.recovered);
    "route_rank" Int: |r| Cell::int(r.route_rank.map(i64::from));
    "vendor_id" Text operators: |r| Cell::maybe(&r.vendor_id);
    "vendor_trunk_id" Text operators: |r| Cell::maybe(&r.vendor_trunk_id);
    "price" Money: |r| Cell::money(&r.price);
    "price_currency" Text: |r| Cell::currency(&r.price);
    "cost" Money operators: |r| Cell::money(&r.cost);
    "cost_currency" Text operators: |r| Cell::currency(&r.cost);
    "margin" Money operators: |r| Cell::money(&r.margin);
    "margin_currency" Text operators: |r| Cell::currency(&r.margin);
    "price_version" Int: |r| Cell::Int(r.price_version.into());
    "billable_s" Int: |r| Cell::int(r.billable_s);
    "snapshot_id" Text: |r| Cell::text(&r.snapshot_id);
    "rating_status" Text: |r| Cell::text(&r.rating_status);
    "posted_at" Time: |r| Cell::time(&r.posted_at);
};

/// The columns of a file, for an operator or for a customer.
pub fn of(operator: bool) -> Vec<&'static Column> {
    COLUMNS.iter().filter(|c| operator || !c.operators).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_file_has_no_column_of_the_buying_side() {
        let names: Vec<&str> = of(false).iter().map(|c| c.name).collect();
        for name in ["vendor_id", "vendor_trunk_id", "cost", "cost_currency", "margin", "margin_currency"] {
            assert!(!names.contains(&name), "{name}");
            assert!(of(true).iter().any(|c| c.name == name), "{name}");
        }
        assert_eq!(of(true).len(), names.len() + 6);
    }

    #[test]
    fn each_amount_stands_before_its_currency() {
        for (column, next) in COLUMNS.iter().zip(COLUMNS.iter().skip(1)) {
            if column.form == Form::Money {
                assert_eq!(next.name, format!("{}_currency", column.name));
            }
        }
    }
}
