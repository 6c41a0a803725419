//! What follows from the marks of columns: what an audience is answered, what its document publishes, and what an audit line holds.
//! It stands behind the views, so that a view that shows too much shows nothing of it.

use serde_json::Value;

use super::{Column, Mark, Noun};
use crate::app::caller::Audience;

impl Column {
    /// Whether answers to this audience have it.
    pub fn shown_to(&self, audience: Audience) -> bool {
        match self.mark {
            Mark::Everybody => true,
            Mark::Operators => audience == Audience::Operator,
            Mark::Secret => false,
        }
    }
}

impl Noun {
    /// Takes from an answer what this audience does not see.
    pub fn answered(&self, audience: Audience, mut answer: Value) -> Value {
        if let Value::Object(fields) = &mut answer {
            for column in self.columns.iter().filter(|c| !c.shown_to(audience)) {
                fields.remove(column.field);
            }
        }
        answer
    }

    /// Takes from an audit line what this audience does not see. That a secret is set is no secret.
    pub fn answered_log(&self, audience: Audience, mut line: Value) -> Value {
        if let Value::Object(fields) = &mut line {
            let hidden = |c: &&Column| c.mark == Mark::Operators && !c.shown_to(audience);
            for column in self.columns.iter().filter(hidden) {
                fields.remove(column.field);
            }
        }
        line
    }

    /// Takes the same from the schema of those answers.
    pub fn published(&self, audience: Audience, schema: &mut Value) {
        for column in self.columns.iter().filter(|c| !c.shown_to(audience)) {
            if let Some(Value::Object(fields)) = schema.get_mut("properties") {
                fields.remove(column.field);
            }
            if let Some(Value::Array(required)) = schema.get_mut("required") {
                required.retain(|name| name != column.field);
            }
        }
    }

    /// The audit line of a change: what was answered, and of each secret whether it is set.
    pub fn audited(&self, mut answer: Value, is_set: impl Fn(&str) -> bool) -> Value {
        if let Value::Object(fields) = &mut answer {
            for column in self.columns.iter().filter(|c| c.mark == Mark::Secret) {
                fields.insert(column.field.into(), is_set(column.name).into());
            }
        }
        answer
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::nouns::NounRow;
    use crate::store::types::{Sealed, Time};

    fn body() -> Value {
        json!({ "name": "n", "cost": 7, "pin": "1234" })
    }

    fn seen(_: Audience) -> Value {
        body()
    }

    crate::noun! {
        /// A noun with each mark, which no API has.
        LOCKER: locker in lockers, of customers by customer_id;
        for Everybody, called "locker", at "lockers", below its parent "lockers", scopes of "trunks";
        row LockerRow; values LockerValues;
        verbs { Read "A locker"; }
        examples body, body, seen;
        given { id: String, customer_id: String, created_at: Time, version: i32, }
        of the parent {}
        written { name: String, cost: i32 as Operators, pin_sealed: Sealed as Secret (pin), }
        sorted { created_at by Id for Everybody, }
        filtered {}
        listed {}
    }

    #[test]
    fn an_answer_has_no_secret_and_a_customers_answer_nothing_of_operators() {
        assert_eq!(LOCKER.answered(Audience::Customer, body()), json!({ "name": "n" }));
        assert_eq!(LOCKER.answered(Audience::Operator, body()), json!({ "name": "n", "cost": 7 }));
    }

    #[test]
    fn an_audit_line_has_nothing_of_operators_for_a_customer() {
        let line = json!({ "name": "n", "cost": 7, "pin": true });
        assert_eq!(
            LOCKER.answered_log(Audience::Customer, line.clone()),
            json!({ "name": "n", "pin": true })
        );
        assert_eq!(LOCKER.answered_log(Audience::Operator, line.clone()), line);
    }

    #[test]
    fn the_schema_of_an_audience_has_what_is_answered_to_it() {
        let published = |audience| {
            let mut schema =
                json!({ "properties": body(), "required": ["name", "cost", "pin"], "type": "object" });
            LOCKER.published(audience, &mut schema);
            schema
        };
        let own = json!({ "properties": { "name": "n" }, "required": ["name"], "type": "object" });
        assert_eq!(published(Audience::Customer), own);
        let all = json!({ "properties": { "name": "n", "cost": 7 }, "required": ["name", "cost"], "type": "object" });
        assert_eq!(published(Audience::Operator), all);
    }

    #[test]
    fn an_audit_line_says_of_a_secret_whether_it_is_set_and_not_more() {
        for set in [true, false] {
            let row = LockerRow {
                id: "i".into(),
                customer_id: "c".into(),
                created_at: Time(warp_model::Wall(0)),
                version: 1,
                name: "n".into(),
                cost: 7,
                pin_sealed: Sealed(set),
            };
            assert_eq!((row.id(), row.customer_id.as_str()), ("i", "c"));
            let line = LOCKER.audited(body(), |column| row.is_set(column));
            assert_eq!(line, json!({ "name": "n", "cost": 7, "pin": set }));
        }
    }

    #[test]
    fn statements_read_of_a_secret_only_whether_it_is_set() {
        let s = LockerRow::STATEMENTS;
        assert_eq!(
            s.get,
            "SELECT t.id AS id, t.customer_id AS customer_id, us(t.created_at) AS created_at, t.version AS version, \
             t.name AS name, t.cost AS cost, t.pin_sealed IS NOT NULL AS pin_sealed FROM lockers t WHERE t.id = $1"
        );
        assert!(s.insert.contains("VALUES ($1, $2, $3, $4, nullif($5, ''::bytea))"), "{}", s.insert);
        let kept = "pin_sealed = nullif(coalesce($5, pin_sealed), ''::bytea), ";
        assert!(s.update.contains(kept), "{}", s.update);
    }
}
