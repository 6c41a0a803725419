//! What the nouns of the API are, each declared once (RFC 0013): its columns, what lists of it are sorted and filtered by, and
//! who sees what. Data only, without HTTP and SQL: `store` makes rows and statements of it, `app` lists and cursors, `api`
//! parameters and their published forms.

pub mod ban;
pub mod call_block;
pub mod customer;
pub mod exchange_rate;
pub mod exclusion;
pub mod job;
pub mod marks;
pub mod message;
pub mod message_price;
pub mod message_route;
pub mod operator;
pub mod opt_out;
pub mod partition;
pub mod route_override;
pub mod schedule;
pub mod smpp_account;
pub mod trunk;
pub mod user;
pub mod vendor;
pub mod vendor_bind;
pub mod vendor_trunk;
pub mod webhook;

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::Kind as IdKind;

use crate::app::caller::Audience;
use crate::app::fault::Problem;
use crate::app::input::{CurrencyCode, DialCode, Digits, Field, Ref, Slug, Text};
use crate::app::permission::Permission;
use crate::store::types::{Amount, Json, Sealed, SealedChange, Time};

/// The declaration of a noun; made by [`noun!`](crate::noun).
#[derive(Debug)]
pub struct Noun {
    /// The name of one of them: `vendor_trunk`.
    pub one: &'static str,
    /// The same in a sentence: `vendor trunk`.
    pub called: &'static str,
    /// Whose APIs have it.
    pub who: Who,
    /// The name of its table: `vendor_trunks`.
    pub many: &'static str,
    /// What it belongs to; `None` when it stands by itself.
    pub parent: Option<Parent>,
    /// The column with the currency of its amounts; its own one, or its parent's.
    pub currency: &'static str,
    /// Every column of its row.
    pub columns: &'static [Column],
    /// Where it is found in the APIs.
    pub paths: Paths,
    /// The permission to read it.
    pub reads: Permission,
    /// The permission to write it.
    pub writes: Permission,
    /// What can be done with it.
    pub verbs: &'static [Doing],
    /// What is published as examples, and what tests make one of.
    pub examples: Examples,
    /// What lists are sorted by; the first one when nobody says. What only operators may sort by stands last.
    pub sorts: &'static [Sort],
    /// The words of the parameter `sort`: of each sort the one with a minus and the one without.
    pub sort_words: &'static [&'static str],
    /// What lists are filtered by.
    pub filters: &'static [Filter],
    /// The fields that people look for in a list, besides the id, in their order.
    pub listed: &'static [&'static str],
}

/// Every noun that is declared, but for messages: nobody makes one in PostgreSQL.
pub static ALL: &[&Noun] = &[
    &customer::CUSTOMER,
    &ban::BAN,
    &trunk::TRUNK,
    &user::USER,
    &operator::OPERATOR,
    &vendor::VENDOR,
    &vendor_trunk::VENDOR_TRUNK,
    &partition::PARTITION,
    &exclusion::EXCLUSION,
    &route_override::OVERRIDE,
    &call_block::BLOCK,
    &exchange_rate::EXCHANGE_RATE,
    &webhook::WEBHOOK,
    &job::JOB,
    &schedule::SCHEDULE,
    &smpp_account::SMPP_ACCOUNT,
    &vendor_bind::VENDOR_BIND,
    &message_route::MESSAGE_ROUTE,
    &message_price::MESSAGE_PRICE,
    &opt_out::OPT_OUT,
];

/// What a noun belongs to.
#[derive(Debug)]
pub struct Parent {
    /// The name of its table.
    pub many: &'static str,
    /// The column that names it, and that part of the path.
    pub id: &'static str,
    /// Objects may also be the carrier's own and belong to none: what making such a one is called. They are made at the operators' list.
    pub or_carrier: Option<&'static str>,
}

/// The paths of a noun.
#[derive(Debug)]
pub struct Paths {
    /// A customer's list of its own; of an operators' noun, where it would be.
    pub own_list: &'static str,
    /// The path of one of them.
    pub own: &'static str,
    /// The operators' list of all.
    pub all_list: &'static str,
    /// The path of one of them.
    pub all: &'static str,
    /// Where operators make one: below what it belongs to, else at the list.
    pub made_at: &'static str,
    /// The name of its id in paths.
    pub id: &'static str,
}

impl Paths {
    /// The list of this audience.
    pub fn list(&self, audience: Audience) -> &'static str {
        if audience == Audience::Customer { self.own_list } else { self.all_list }
    }

    /// One object, for this audience.
    pub fn one(&self, audience: Audience) -> &'static str {
        if audience == Audience::Customer { self.own } else { self.all }
    }
}

/// What can be done with an object by the verbs of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET of the whole list.
    List,
    /// POST: a customer to its list, operators below the parent or, when there is none, to theirs.
    Create,
    /// GET of one of them.
    Read,
    /// PATCH of one of them.
    Change,
    /// PUT of one of them.
    Replace,
    /// DELETE of one of them.
    Delete,
}

/// A verb, and what it does in one line for each audience.
#[derive(Debug)]
pub struct Doing {
    /// Which verb it is.
    pub verb: Verb,
    /// What it does for customers; empty when only operators can do it.
    pub own: &'static str,
    /// What it does for operators.
    pub all: &'static str,
}

impl Doing {
    /// Whether this audience can do it.
    pub fn is_for(&self, audience: Audience) -> bool {
        audience == Audience::Operator || !self.own.is_empty()
    }

    /// What it does, for this audience.
    pub fn summary(&self, audience: Audience) -> &'static str {
        if audience == Audience::Customer { self.own } else { self.all }
    }
}

/// Bodies that a reader can copy. A test sends them and compares what comes back.
#[derive(Debug)]
pub struct Examples {
    /// An object that is made.
    pub made: fn() -> Value,
    /// A change of that object.
    pub changed: fn() -> Value,
    /// What is answered once it is made. Ids and times are not those that a platform gives.
    pub seen: fn(Audience) -> Value,
}

/// One noun is one name.
impl PartialEq for Noun {
    fn eq(&self, other: &Self) -> bool {
        self.one == other.one
    }
}

impl Eq for Noun {}

/// Most sorts of a noun: each wants an index once its table is large.
pub const SORTS_MOST: usize = 3;

/// A column of a row.
#[derive(Debug)]
pub struct Column {
    /// Its name, in the table and in the row.
    pub name: &'static str,
    /// How its value travels.
    pub form: Form,
    /// Who writes its value.
    pub origin: Origin,
    /// The name of its field in the APIs.
    pub field: &'static str,
    /// Who may see it.
    pub mark: Mark,
}

/// Who may see a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Both audiences, in what the view shows of it.
    Everybody,
    /// Operators only. A customer's answers and their schema do not have it.
    Operators,
    /// Nobody. No answer has it, and the audit log says whether it is set.
    Secret,
}

/// Who writes a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The platform: ids, times, versions.
    Given,
    /// A use case, from what was asked for.
    Written,
    /// It is a column of what the noun belongs to.
    Parent,
}

/// How the value of a column travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is stored.
    Plain,
    /// A time, as microseconds.
    Time,
    /// Nano-units, as a text with the currency of what the noun belongs to.
    Amount,
    /// Sealed bytes. Only whether they are there is read.
    Sealed,
}

/// A type that a column of a row can have.
pub trait Kept {
    /// How its values travel.
    const FORM: Form;
    /// What is written to it.
    type Written;
    /// Of a secret, whether it is set.
    fn is_set(&self) -> bool {
        false
    }
}

impl Kept for Sealed {
    const FORM: Form = Form::Sealed;
    type Written = SealedChange;
    fn is_set(&self) -> bool {
        self.0
    }
}

macro_rules! kept {
    ($($ty:ty => $form:ident, $written:ty;)*) => {
        $(impl Kept for $ty {
            const FORM: Form = Form::$form;
            type Written = $written;
        })*
    };
}

kept! {
    String => Plain, String;
    Vec<String> => Plain, Vec<String>;
    i32 => Plain, i32;
    Json => Plain, serde_json::Value;
    bool => Plain, bool;
    Time => Time, i64;
    Amount => Amount, i64;
}

impl<T: Kept> Kept for Option<T> {
    const FORM: Form = T::FORM;
    type Written = Option<T::Written>;
}

/// Whose a sort or a filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Both customers and operators.
    Everybody,
    /// Operators only. To a customer it does not exist.
    Operators,
}

impl Who {
    /// Whether keys of this audience have it.
    pub fn has(self, audience: Audience) -> bool {
        self == Self::Everybody || audience == Audience::Operator
    }
}

/// What a list can be sorted by.
#[derive(Debug)]
pub struct Sort {
    /// The column, and the word of the parameter `sort`.
    pub column: &'static str,
    /// How its values are compared.
    pub by: By,
    /// Who may sort by it.
    pub who: Who,
}

/// How the values of a sort are compared. Rows of one value stand in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By the id alone, which carries the time that the object was made at.
    Id,
    /// As times, with microseconds.
    Time,
    /// As ids of another noun.
    OtherId,
    /// As names, in the order of the database's own rules for texts.
    Text,
}

/// What a list can be filtered by.
#[derive(Debug)]
pub struct Filter {
    /// The name of the query parameter.
    pub name: &'static str,
    /// The column that must have the value.
    pub column: &'static str,
    /// Who may filter by it.
    pub who: Who,
    /// What it does, as a sentence for people.
    pub what: &'static str,
    /// The published form of its values.
    pub form: fn() -> RefOr<Schema>,
    /// The value as it stands in the column, or a problem.
    pub read: fn(&str, &str, &mut Vec<Problem>) -> Option<String>,
}

/// A form of values that a column can be compared with.
pub trait Filtering: Field {
    /// As it stands in the column.
    fn stored(self) -> String;

    /// Reads the value of a query.
    fn of(text: &str, name: &str, problems: &mut Vec<Problem>) -> Option<String> {
        Self::read(Some(&Value::from(text)), name, problems).map(Self::stored)
    }
}

impl<K: IdKind> Filtering for Ref<K> {
    fn stored(self) -> String {
        self.0.to_string()
    }
}

impl<const MIN: usize, const MAX: usize> Filtering for Text<MIN, MAX> {
    fn stored(self) -> String {
        self.0
    }
}

impl Filtering for Slug {
    fn stored(self) -> String {
        self.0
    }
}

impl Filtering for Digits {
    fn stored(self) -> String {
        self.0
    }
}

impl Filtering for CurrencyCode {
    fn stored(self) -> String {
        self.0.to_string()
    }
}

impl Filtering for DialCode {
    fn stored(self) -> String {
        self.0
    }
}

impl Noun {
    /// The words of `sort` that keys of this audience may use.
    pub fn sort_words(&self, audience: Audience) -> &'static [&'static str] {
        let theirs = self.sorts.iter().filter(|s| s.who.has(audience)).count();
        self.sort_words.get(..2 * theirs).unwrap_or_default()
    }

    /// The filters that keys of this audience may use.
    pub fn filters_of(&self, audience: Audience) -> impl Iterator<Item = &'static Filter> {
        self.filters.iter().filter(move |f| f.who.has(audience))
    }

    /// What this audience can do with it.
    pub fn verbs_of(&self, audience: Audience) -> impl Iterator<Item = &'static Doing> {
        let has = self.who.has(audience);
        self.verbs.iter().filter(move |doing| has && doing.is_for(audience))
    }

    /// The declaration again, when it is one that can be carried out; else it does not compile.
    pub const fn checked(self) -> Self {
        assert!(!self.sorts.is_empty() && self.sorts.len() <= SORTS_MOST, "one to three sorts");
        assert!(matches!(self.sorts[0].by, By::Id), "a list that nobody sorts is in the order of ids");
        let mut i = 0;
        while i < self.sorts.len() {
            assert!(self.has_column(self.sorts[i].column), "a sort is a column of the table");
            let order = i == 0
                || matches!(self.sorts[i].who, Who::Operators)
                || matches!(self.sorts[i - 1].who, Who::Everybody);
            assert!(order, "what only operators may sort by stands last");
            i += 1;
        }
        i = 0;
        while i < self.filters.len() {
            assert!(self.has_column(self.filters[i].column), "a filter is a column of the table");
            i += 1;
        }
        i = 0;
        while i < self.columns.len() {
            let sealed = matches!(self.columns[i].form, Form::Sealed);
            let secret = matches!(self.columns[i].mark, Mark::Secret);
            assert!(sealed == secret, "what is secret is sealed, and what is sealed is secret");
            if matches!(self.columns[i].form, Form::Amount) {
                assert!(self.has_currency(), "amounts have a currency: a column of the row");
            }
            i += 1;
        }
        assert!(self.parent.is_some() || !self.needs_parent(), "a noun without a parent has nothing of it");
        self
    }

    const fn has_currency(&self) -> bool {
        self.has_column(self.currency) || self.currency_of_parent()
    }

    /// Whether amounts are in a currency of the parent.
    pub(crate) const fn currency_of_parent(&self) -> bool {
        let mut i = 0;
        while i < self.columns.len() {
            if matches!(self.columns[i].origin, Origin::Parent) && same(self.columns[i].name, self.currency) {
                return true;
            }
            i += 1;
        }
        false
    }

    /// Whether lists that this audience may ask for have cursors with a name in them, which are long.
    pub fn has_long_cursors(&self, audience: Audience) -> bool {
        self.sorts.iter().any(|s| s.by == By::Text && s.who.has(audience))
    }

    /// Whether rows need what the noun belongs to.
    pub(crate) const fn needs_parent(&self) -> bool {
        let mut i = 0;
        while i < self.columns.len() {
            if matches!(self.columns[i].origin, Origin::Parent) {
                return true;
            }
            i += 1;
        }
        false
    }

    const fn has_column(&self, name: &str) -> bool {
        let mut i = 0;
        while i < self.columns.len() {
            if !matches!(self.columns[i].origin, Origin::Parent) && same(self.columns[i].name, name) {
                return true;
            }
            i += 1;
        }
        false
    }
}

/// Whether two texts are the same, for the compiler.
pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// A column that names what an object belongs to.
pub trait Named {
    /// The id; `None`: it belongs to none.
    fn name(&self) -> Option<&str>;
}

impl Named for String {
    fn name(&self) -> Option<&str> {
        Some(self)
    }
}

impl Named for Option<String> {
    fn name(&self) -> Option<&str> {
        self.as_deref()
    }
}

/// A value of a row that its list is sorted by, as a cursor carries it: letters, digits and `_`.
pub trait InCursor {
    /// As the cursor has it.
    fn in_cursor(&self, by: By) -> String;
}

impl InCursor for Time {
    fn in_cursor(&self, _: By) -> String {
        self.0.0.to_string()
    }
}

impl InCursor for String {
    fn in_cursor(&self, by: By) -> String {
        // A name may have anything in it.
        if by == By::Text { warp_model::hex::encode(self.as_bytes()) } else { self.clone() }
    }
}

/// Declares a noun. It makes the row, the values that are written (bound in the order in which they are declared), the statements
/// and the [`Noun`] that lists, cursors and parameters are made of.
#[macro_export]
macro_rules! noun {
    (
        $(#[$top:meta])* $noun:ident: $one:ident in $many:ident $(, of $parents:ident by $parent_id:ident $(or the carrier $carriers:literal)?)?;
        for $who:ident, called $called:literal, at $at:literal $(, below its parent $below:literal)?, scopes of $scopes:literal
            $(, amounts in $currency:ident)?;
        row $row:ident; values $values:ident;
        verbs { $($verb:ident $own:literal $(, $all:literal)?;)* }
        examples $made:path, $changed:path, $seen:path;
        given { $($(#[$gmeta:meta])* $given:ident: $gty:ty $(as $gmark:ident $(($gfield:ident))?)?,)* }
        of the parent { $($(#[$pmeta:meta])* $of:ident: $pty:ty $(as $pmark:ident $(($pfield:ident))?)?,)* }
        written { $($(#[$wmeta:meta])* $written:ident: $wty:ty $(as $wmark:ident $(($wfield:ident))?)?,)* }
        sorted { $($sort:ident by $by:ident for $swho:ident,)* }
        filtered { $($filter:ident on $column:ident as $form:ty, for $fwho:ident: $what:literal,)* }
        listed { $($listed:ident),* }
    ) => {
        $crate::row! {
            #[doc = concat!("A row of `", stringify!($many), "`.")]
            pub struct $row {
                $($(#[$gmeta])* $given: $gty,)* $($(#[$pmeta])* $of: $pty,)* $($(#[$wmeta])* $written: $wty,)*
            }
        }

        #[doc = concat!("What use cases write of a row of `", stringify!($many), "`.")]
        pub struct $values { $(
            #[doc = concat!("The column `", stringify!($written), "`.")]
            pub $written: <$wty as $crate::noun::Kept>::Written,
        )* }

        impl $crate::store::nouns::Values for $values {
            fn bind(self, query: $crate::store::Query<'static>) -> $crate::store::Query<'static> {
                query$(.bind(self.$written))*
            }
        }

        $(#[$top])*
        pub static $noun: $crate::noun::Noun = $crate::noun::Noun {
            one: stringify!($one),
            called: $called,
            who: $crate::noun::Who::$who,
            many: stringify!($many),
            parent: $crate::noun!(@parent $($parents, $parent_id $(, $carriers)?)?),
            currency: $crate::noun!(@currency $($currency)?),
            paths: $crate::noun::Paths {
                own_list: concat!("/api/v1/", $at),
                own: concat!("/api/v1/", $at, "/{", stringify!($one), "_id}"),
                all_list: concat!("/api/v1/admin/", $at),
                all: concat!("/api/v1/admin/", $at, "/{", stringify!($one), "_id}"),
                made_at: $crate::noun!(@made_at $at $(, $parents, $parent_id, $below)?),
                id: concat!(stringify!($one), "_id"),
            },
            reads: $crate::app::permission::Permission::named(concat!($scopes, ":read")),
            writes: $crate::app::permission::Permission::named(concat!($scopes, ":write")),
            verbs: &[$($crate::noun::Doing {
                verb: $crate::noun::Verb::$verb,
                own: $own,
                all: $crate::noun!(@last $own $(, $all)?),
            },)*],
            examples: $crate::noun::Examples { made: $made, changed: $changed, seen: $seen },
            columns: &[
                $($crate::noun!(@column $given, $gty, Given $(, $gmark $(, $gfield)?)?),)*
                $($crate::noun!(@column $of, $pty, Parent $(, $pmark $(, $pfield)?)?),)*
                $($crate::noun!(@column $written, $wty, Written $(, $wmark $(, $wfield)?)?),)*
            ],
            sorts: &[$($crate::noun::Sort {
                column: stringify!($sort),
                by: $crate::noun::By::$by,
                who: $crate::noun::Who::$swho,
            },)*],
            sort_words: &[$(concat!("-", stringify!($sort)), stringify!($sort),)*],
            filters: &[$($crate::noun::Filter {
                name: stringify!($filter),
                column: stringify!($column),
                who: $crate::noun::Who::$fwho,
                what: $what,
                form: <$form as $crate::app::input::Field>::field_schema,
                read: <$form as $crate::noun::Filtering>::of,
            },)*],
            listed: &[$(stringify!($listed)),*],
        }
        .checked();

        impl $crate::store::nouns::NounRow for $row {
            type Values = $values;
            const NOUN: &'static $crate::noun::Noun = &$noun;
            const STATEMENTS: $crate::store::nouns::Statements = {
                use $crate::store::nouns::statements as make;
                $crate::store::nouns::Statements {
                    lists: &[$([
                        $crate::noun!(@text make::list(&$noun, stringify!($sort), true)),
                        $crate::noun!(@text make::list(&$noun, stringify!($sort), false)),
                    ],)*],
                    get: $crate::noun!(@text make::get(&$noun, false)),
                    lock: $crate::noun!(@text make::get(&$noun, true)),
                    insert: $crate::noun!(@text make::insert(&$noun)),
                    update: $crate::noun!(@text make::update(&$noun)),
                    delete: $crate::noun!(@text make::delete(&$noun)),
                    count: $crate::noun!(@text make::count(&$noun)),
                }
            };

            fn id(&self) -> &str {
                &self.id
            }

            fn version(&self) -> i32 {
                self.version
            }

            fn parent(&self) -> Option<&str> {
                let parents: &[Option<&str>] = &[$($crate::noun::Named::name(&self.$parent_id))?];
                parents.first().copied().flatten()
            }

            fn sorted_by(&self, column: &str) -> Option<String> {
                $(if column == stringify!($sort) {
                    return Some($crate::noun::InCursor::in_cursor(&self.$sort, $crate::noun::By::$by));
                })*
                None
            }

            fn is_set(&self, column: &str) -> bool {
                $((column == stringify!($written) && $crate::noun::Kept::is_set(&self.$written)) ||)* false
            }
        }
    };
    (@parent) => { None };
    (@parent $parents:ident, $parent_id:ident) => {
        Some($crate::noun::Parent { many: stringify!($parents), id: stringify!($parent_id), or_carrier: None })
    };
    (@parent $parents:ident, $parent_id:ident, $carriers:literal) => {
        Some($crate::noun::Parent {
            many: stringify!($parents),
            id: stringify!($parent_id),
            or_carrier: Some($carriers),
        })
    };
    (@currency) => { "currency" };
    (@currency $currency:ident) => { stringify!($currency) };
    (@made_at $at:literal) => { concat!("/api/v1/admin/", $at) };
    (@made_at $at:literal, $parents:ident, $parent_id:ident, $below:literal) => {
        concat!("/api/v1/admin/", stringify!($parents), "/{", stringify!($parent_id), "}/", $below)
    };
    (@last $own:literal) => { $own };
    (@last $own:literal, $all:literal) => { $all };
    (@column $name:ident, $ty:ty, $origin:ident) => {
        $crate::noun!(@column $name, $ty, $origin, Everybody, $name)
    };
    (@column $name:ident, $ty:ty, $origin:ident, $mark:ident) => {
        $crate::noun!(@column $name, $ty, $origin, $mark, $name)
    };
    (@column $name:ident, $ty:ty, $origin:ident, $mark:ident, $field:ident) => {
        $crate::noun::Column {
            name: stringify!($name),
            form: <$ty as $crate::noun::Kept>::FORM,
            origin: $crate::noun::Origin::$origin,
            field: stringify!($field),
            mark: $crate::noun::Mark::$mark,
        }
    };
    // A statement is made by the compiler, and stands in the program as its text.
    (@text $made:expr) => {{
        static TEXT: $crate::store::nouns::statements::Text = $made;
        TEXT.as_str()
    }};
}
