//! Statements of a noun, made of its declaration by the compiler: in the program each is a constant text, as if somebody had
//! written it (T-API-07). The noun's table is `t` in them, that of its parent `p`.

use crate::noun::{By, Form, Noun, Origin};

/// Room of a statement. One that needs more does not compile.
const ROOM: usize = 4_096;

/// A statement that is being made.
pub struct Text {
    bytes: [u8; ROOM],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    const fn add(&mut self, text: &str) {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
    }

    /// Writes the name of a parameter, `$n`.
    const fn parameter(&mut self, n: usize) {
        assert!(n < 100, "a hundred parameters and more");
        self.add("$");
        if n >= 10 {
            self.bytes[self.len] = b'0' + (n / 10) as u8;
            self.len += 1;
        }
        self.bytes[self.len] = b'0' + (n % 10) as u8;
        self.len += 1;
    }

    /// The text of the statement.
    pub const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("whole texts were added"),
        }
    }
}

/// One page: the filters in their order, each NULL when absent; then the value (when the sort has one) and the id of the last
/// row seen; then how many rows. The page is cut before the parent is joined: PostgreSQL cannot estimate the conditions of
/// row-level security, and would join every row of the table before it sorts.
pub const fn list(noun: &Noun, column: &str, descending: bool) -> Text {
    let mut out = Text::new();
    columns(&mut out, noun);
    out.add(" FROM (SELECT * FROM ");
    out.add(noun.many);
    out.add(" t WHERE ");
    let mut n = 1;
    while n <= noun.filters.len() {
        out.add("(");
        out.parameter(n);
        out.add("::text IS NULL OR t.");
        out.add(noun.filters[n - 1].column);
        out.add(" = ");
        out.parameter(n);
        out.add(") AND ");
        n += 1;
    }
    let (beyond, way) = if descending { (" < ", " DESC") } else { (" > ", " ASC") };
    let by_id = matches!(by(noun, column), By::Id);
    let id = if by_id { n } else { n + 1 };
    out.add("(");
    out.parameter(id);
    out.add("::text IS NULL OR ");
    if by_id {
        out.add("t.id");
        out.add(beyond);
        out.parameter(id);
    } else {
        out.add("(t.");
        out.add(column);
        out.add(", t.id)");
        out.add(beyond);
        out.add("(");
        if matches!(by(noun, column), By::Time) {
            out.add("ts(");
            out.parameter(n);
            out.add("::text::bigint)");
        } else {
            // Ids and names.
            out.parameter(n);
            out.add("::text");
        }
        out.add(", ");
        out.parameter(id);
        out.add(")");
    }
    out.add(")");
    ordered(&mut out, noun, column, way);
    out.add(" LIMIT ");
    out.parameter(id + 1);
    out.add(") t");
    join(&mut out, noun);
    ordered(&mut out, noun, column, way);
    out
}

const fn ordered(out: &mut Text, noun: &Noun, column: &str, way: &str) {
    out.add(" ORDER BY ");
    if !matches!(by(noun, column), By::Id) {
        out.add("t.");
        out.add(column);
        out.add(way);
        out.add(", ");
    }
    out.add("t.id");
    out.add(way);
}

const fn by(noun: &Noun, column: &str) -> By {
    let mut i = 0;
    while i < noun.sorts.len() {
        if crate::noun::same(noun.sorts[i].column, column) {
            return noun.sorts[i].by;
        }
        i += 1;
    }
    panic!("a sort that is not declared")
}

/// One, by its id.
pub const fn get(noun: &Noun, locked: bool) -> Text {
    let mut out = Text::new();
    select(&mut out, noun, noun.many);
    out.add(" WHERE t.id = $1");
    if locked {
        out.add(" FOR UPDATE OF t");
    }
    out
}

/// A new row: `$1` its id, then its parent when it has one, then what is written in the order of the declaration.
pub const fn insert(noun: &Noun) -> Text {
    let mut out = Text::new();
    out.add("WITH t AS (INSERT INTO ");
    out.add(noun.many);
    out.add(" (id");
    if let Some(parent) = &noun.parent {
        out.add(", ");
        out.add(parent.id);
    }
    let mut i = 0;
    while i < noun.columns.len() {
        if matches!(noun.columns[i].origin, Origin::Written) {
            out.add(", ");
            out.add(noun.columns[i].name);
        }
        i += 1;
    }
    out.add(if noun.parent.is_some() { ") VALUES ($1, $2" } else { ") VALUES ($1" });
    let mut n = before_written(noun);
    i = 0;
    while i < noun.columns.len() {
        if matches!(noun.columns[i].origin, Origin::Written) {
            n += 1;
            out.add(", ");
            // Of sealed bytes NULL keeps what is there, which in a new row is none, and empty ones forget it.
            let (before, after) = match noun.columns[i].form {
                Form::Sealed => ("nullif(", ", ''::bytea)"),
                Form::Time => ("ts(", ")"),
                Form::Plain | Form::Amount => ("", ""),
            };
            out.add(before);
            out.parameter(n);
            out.add(after);
        }
        i += 1;
    }
    out.add(") RETURNING *) ");
    select(&mut out, noun, "t");
    out
}

/// Replaces what is written: parameters as in [`insert`].
pub const fn update(noun: &Noun) -> Text {
    let mut out = Text::new();
    out.add("WITH t AS (UPDATE ");
    out.add(noun.many);
    out.add(" SET ");
    let (mut i, mut n) = (0, before_written(noun));
    while i < noun.columns.len() {
        if matches!(noun.columns[i].origin, Origin::Written) {
            n += 1;
            out.add(noun.columns[i].name);
            out.add(" = ");
            if matches!(noun.columns[i].form, Form::Sealed) {
                out.add("nullif(coalesce(");
                out.parameter(n);
                out.add(", ");
                out.add(noun.columns[i].name);
                out.add("), ''::bytea)");
            } else {
                let time = matches!(noun.columns[i].form, Form::Time);
                out.add(if time { "ts(" } else { "" });
                out.parameter(n);
                out.add(if time { ")" } else { "" });
            }
            out.add(", ");
        }
        i += 1;
    }
    out.add("updated_at = now(), version = version + 1 WHERE id = $1");
    if let Some(parent) = &noun.parent {
        out.add(" AND ");
        out.add(parent.id);
        out.add(" = $2");
    }
    out.add(" RETURNING *) ");
    select(&mut out, noun, "t");
    out
}

/// How many parameters stand before those that are written.
const fn before_written(noun: &Noun) -> usize {
    if noun.parent.is_some() { 2 } else { 1 }
}

/// Gone, by its id.
pub const fn delete(noun: &Noun) -> Text {
    let mut out = Text::new();
    out.add("DELETE FROM ");
    out.add(noun.many);
    out.add(" WHERE id = $1");
    out
}

/// How many there are, of one parent when there are parents.
pub const fn count(noun: &Noun) -> Text {
    let mut out = Text::new();
    out.add("SELECT count(*) FROM ");
    out.add(noun.many);
    if let Some(parent) = &noun.parent {
        out.add(" WHERE ");
        out.add(parent.id);
        out.add(" = $1");
    }
    out
}

/// Every column of the row, from the table or from the part of the statement that wrote it.
const fn select(out: &mut Text, noun: &Noun, from: &str) {
    columns(out, noun);
    out.add(" FROM ");
    out.add(from);
    if !crate::noun::same(from, "t") {
        out.add(" t");
    }
    join(out, noun);
}

const fn columns(out: &mut Text, noun: &Noun) {
    out.add("SELECT ");
    let mut i = 0;
    while i < noun.columns.len() {
        let column = &noun.columns[i];
        if i > 0 {
            out.add(", ");
        }
        let (before, after) = match column.form {
            Form::Plain => ("", ""),
            Form::Time => ("us(", ")"),
            Form::Amount => ("amount_text(", ", "),
            Form::Sealed => ("", " IS NOT NULL"),
        };
        out.add(before);
        out.add(if matches!(column.origin, Origin::Parent) { "p." } else { "t." });
        out.add(column.name);
        out.add(after);
        if matches!(column.form, Form::Amount) {
            out.add(if noun.currency_of_parent() { "p." } else { "t." });
            out.add(noun.currency);
            out.add(")");
        }
        out.add(" AS ");
        out.add(column.name);
        i += 1;
    }
}

const fn join(out: &mut Text, noun: &Noun) {
    if let Some(parent) = &noun.parent
        && noun.needs_parent()
    {
        out.add(" JOIN ");
        out.add(parent.many);
        out.add(" p ON p.id = t.");
        out.add(parent.id);
    }
}

#[cfg(test)]
mod tests {
    use crate::noun::exclusion::ExclusionRow;
    use crate::noun::partition::PartitionRow;
    use crate::noun::trunk::TrunkRow;
    use crate::store::nouns::NounRow;

    #[test]
    fn statements_read_as_somebody_would_write_them() {
        let s = TrunkRow::STATEMENTS;
        let [descending, ascending] = s.lists[1];
        assert!(
            descending.starts_with("SELECT t.id AS id, t.customer_id AS customer_id, us(t.created_at) AS")
        );
        for part in [
            "amount_text(t.own_daily_spend, p.currency) AS own_daily_spend",
            " FROM (SELECT * FROM trunks t WHERE ($1::text IS NULL OR t.customer_id = $1) AND ",
            "($7::text IS NULL OR (t.updated_at, t.id) < (ts($6::text::bigint), $7)) ORDER BY ",
        ] {
            assert!(descending.contains(part), "{part}: {descending}");
        }
        let end = " ORDER BY t.updated_at DESC, t.id DESC LIMIT $8) t JOIN customers p ON p.id = t.customer_id \
                   ORDER BY t.updated_at DESC, t.id DESC";
        assert!(descending.ends_with(end), "{descending}");
        assert!(ascending.contains("(t.updated_at, t.id) > (ts($6::text::bigint), $7)"), "{ascending}");
        assert!(ascending.ends_with(" ORDER BY t.updated_at ASC, t.id ASC"), "{ascending}");
        let by_id = "($6::text IS NULL OR t.id < $6) ORDER BY t.id DESC LIMIT $7) t JOIN ";
        assert!(s.lists[0][0].contains(by_id), "{}", s.lists[0][0]);
        assert!(s.lists[2][1].contains("(t.customer_id, t.id) > ($6::text, $7)"), "{}", s.lists[2][1]);
        assert!(s.lock.ends_with(" WHERE t.id = $1 FOR UPDATE OF t"), "{}", s.lock);
        let begin = "WITH t AS (INSERT INTO trunks (id, customer_id, ban_id, name, ";
        assert!(
            s.insert.starts_with(begin) && s.insert.contains(", $39, $40) RETURNING *) SELECT t.id"),
            "{}",
            s.insert
        );
        assert!(
            s.update
                .contains("rounding_level = $40, updated_at = now(), version = version + 1 WHERE id = $1")
        );
        assert!(s.update.ends_with(" FROM t JOIN customers p ON p.id = t.customer_id"), "{}", s.update);
    }

    #[test]
    fn statements_of_a_noun_without_a_parent_name_none() {
        let s = PartitionRow::STATEMENTS;
        assert!(
            s.get.contains("amount_text(t.margin_per_min, t.margin_currency) AS margin_per_min"),
            "{}",
            s.get
        );
        assert!(s.get.ends_with(" FROM partitions t WHERE t.id = $1"), "{}", s.get);
        let begin = "WITH t AS (INSERT INTO partitions (id, name, strategy, ";
        assert!(s.insert.starts_with(begin) && s.insert.contains(") VALUES ($1, $2, "), "{}", s.insert);
        assert!(s.update.contains("UPDATE partitions SET name = $2, "), "{}", s.update);
        assert!(s.update.contains("version = version + 1 WHERE id = $1 RETURNING *) SELECT"), "{}", s.update);
        assert!(s.update.ends_with(" FROM t"), "{}", s.update);
        assert_eq!(s.count, "SELECT count(*) FROM partitions");
        let by_name =
            "($2::text IS NULL OR (t.name, t.id) > ($1::text, $2))".replace("$2", "$3").replace("$1", "$2");
        assert!(s.lists[2][1].contains(&by_name), "{}", s.lists[2][1]);
        let s = ExclusionRow::STATEMENTS;
        assert!(s.insert.contains(", ts($6), ts($7)) RETURNING"), "{}", s.insert);
        assert!(s.update.contains("starts_at = ts($6), ends_at = ts($7), "), "{}", s.update);
    }
}
