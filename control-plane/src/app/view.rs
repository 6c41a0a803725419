//! What a use case answers. [`view!`](crate::view) declares an answer once: the struct, how it is made from a row, and its
//! published schema. It is another type than the row: what is stored and what is shown change for different reasons.

use std::fmt;
use std::marker::PhantomData;

use serde::{Serialize, Serializer};
use utoipa::PartialSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type as SchemaKind};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::store::types::{Amount, Json, Time};

/// A closed list of words; made by [`choice!`](crate::choice).
pub trait Words {
    /// All words of the list.
    const WORDS: &'static [&'static str];
}

/// One word of a closed list as it stands in a row. It is shown as it is stored; the schema names the whole list.
pub struct Word<T> {
    text: String,
    list: PhantomData<fn() -> T>,
}

impl<T> Word<T> {
    /// The word as it stands in JSON and in rows.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T> From<String> for Word<T> {
    fn from(text: String) -> Self {
        Self { text, list: PhantomData }
    }
}

impl<T> Clone for Word<T> {
    fn clone(&self) -> Self {
        Self::from(self.text.clone())
    }
}

impl<T> fmt::Debug for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<T> PartialEq for Word<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> PartialEq<&str> for Word<T> {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

impl<T> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

/// How a column becomes a field of an answer.
pub trait Seen<C> {
    /// Takes the column's value.
    fn seen(column: C) -> Self;
}

impl<T> Seen<T> for T {
    fn seen(column: T) -> Self {
        column
    }
}

impl<T> Seen<String> for Word<T> {
    fn seen(column: String) -> Self {
        column.into()
    }
}

impl<T> Seen<Option<String>> for Option<Word<T>> {
    fn seen(column: Option<String>) -> Self {
        column.map(Word::from)
    }
}

impl<T> Seen<Vec<String>> for Vec<Word<T>> {
    fn seen(column: Vec<String>) -> Self {
        column.into_iter().map(Word::from).collect()
    }
}

impl<T> Seen<Json> for Shaped<T> {
    fn seen(column: Json) -> Self {
        Shaped::from(column.0)
    }
}

impl<T> Seen<Option<Json>> for Option<Shaped<T>> {
    fn seen(column: Option<Json>) -> Self {
        column.map(|json| Shaped::from(json.0))
    }
}

/// The published schema of a field's type.
pub trait Shape {
    /// The schema of the type itself.
    fn shape() -> RefOr<Schema>;
    /// Named schemas that it refers to.
    fn named(_: &mut Vec<(String, RefOr<Schema>)>) {}
    /// Whether the field is always there.
    const ALWAYS: bool = true;
    /// Whether this value is shown.
    fn is_there(&self) -> bool {
        true
    }
}

/// A field that is there only for some readers, or only sometimes.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Sometimes<T>(pub Option<T>);

impl<T: Shape> Shape for Sometimes<T> {
    fn shape() -> RefOr<Schema> {
        T::shape()
    }
    fn named(out: &mut Vec<(String, RefOr<Schema>)>) {
        T::named(out);
    }
    const ALWAYS: bool = false;
    fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

/// JSON whose published shape is that of `T`; it is shown as it is stored.
pub struct Shaped<T> {
    json: serde_json::Value,
    shape: PhantomData<fn() -> T>,
}

impl<T> From<serde_json::Value> for Shaped<T> {
    fn from(json: serde_json::Value) -> Self {
        Self { json, shape: PhantomData }
    }
}

impl<T> Shaped<T> {
    /// The JSON as it is stored.
    pub fn value(&self) -> &serde_json::Value {
        &self.json
    }
}

impl<T> Clone for Shaped<T> {
    fn clone(&self) -> Self {
        Self::from(self.json.clone())
    }
}

impl<T> fmt::Debug for Shaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json)
    }
}

impl<T> Serialize for Shaped<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(s)
    }
}

impl<T: Shape> Shape for Shaped<T> {
    fn shape() -> RefOr<Schema> {
        T::shape()
    }
    fn named(out: &mut Vec<(String, RefOr<Schema>)>) {
        T::named(out);
    }
}

macro_rules! simple {
    ($($ty:ty => $kind:ident $(min $min:literal)?;)*) => {$(
        impl Shape for $ty {
            fn shape() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(SchemaType::Type(SchemaKind::$kind)) $(.minimum(Some($min)))? .into()
            }
        }
    )*};
}

simple! {
    String => String;
    &'static str => String;
    bool => Boolean;
    i32 => Integer;
    i64 => Integer;
    u16 => Integer min 0;
    u32 => Integer min 0;
    u64 => Integer min 0;
    usize => Integer min 0;
}

impl Shape for Time {
    fn shape() -> RefOr<Schema> {
        <Time as PartialSchema>::schema()
    }
}

impl Shape for Amount {
    fn shape() -> RefOr<Schema> {
        Ref::from_schema_name("Money").into()
    }
    fn named(out: &mut Vec<(String, RefOr<Schema>)>) {
        out.push(("Money".into(), <Amount as PartialSchema>::schema()));
    }
}

/// A value of any shape, as it was stored.
impl Shape for Json {
    fn shape() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
    }
}

impl<T: Words> Shape for Word<T> {
    fn shape() -> RefOr<Schema> {
        super::input::words_schema(T::WORDS)
    }
}

impl<T: Shape> Shape for Option<T> {
    fn shape() -> RefOr<Schema> {
        let null = ObjectBuilder::new().schema_type(SchemaType::Type(SchemaKind::Null));
        match T::shape() {
            RefOr::T(Schema::Object(mut o)) => {
                if let SchemaType::Type(kind) = o.schema_type.clone() {
                    o.schema_type = SchemaType::Array(vec![kind, SchemaKind::Null]);
                }
                // Without null in its list an enum refuses it, nullable or not.
                if let Some(values) = &mut o.enum_values {
                    values.push(serde_json::Value::Null);
                }
                RefOr::T(Schema::Object(o))
            }
            other => RefOr::T(Schema::OneOf(OneOfBuilder::new().item(null).item(other).build())),
        }
    }
    fn named(out: &mut Vec<(String, RefOr<Schema>)>) {
        T::named(out);
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn shape() -> RefOr<Schema> {
        ArrayBuilder::new().items(T::shape()).into()
    }
    fn named(out: &mut Vec<(String, RefOr<Schema>)>) {
        T::named(out);
    }
}

/// The name of a field as it stands in JSON: a field that has the name of a keyword is written `r#type`.
pub fn plain(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// Declares an answer; `from Row` when each field is a column of the same name, `with` further fields that are not.
#[macro_export]
macro_rules! view {
    ($(#[doc = $top:literal])* pub struct $name:ident from $row:ty { $($(#[doc = $doc:literal])* pub $field:ident: $ty:ty,)* }
        with { $($(#[doc = $also:literal])* pub $more:ident: $kind:ty,)* }) => {
        $crate::view! {
            $(#[doc = $top])*
            pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* $($(#[doc = $also])* pub $more: $kind,)* }
        }

        impl $name {
            /// From its row and what is not in the row.
            fn of(row: $row, $($more: $kind),*) -> Self {
                Self { $($field: $crate::app::view::Seen::seen(row.$field),)* $($more,)* }
            }
        }
    };
    ($(#[doc = $top:literal])* pub struct $name:ident from $row:ty { $($(#[doc = $doc:literal])* pub $field:ident: $ty:ty,)* }) => {
        $crate::view! { $(#[doc = $top])* pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* } }

        impl From<$row> for $name {
            fn from(row: $row) -> Self {
                Self { $($field: $crate::app::view::Seen::seen(row.$field),)* }
            }
        }
    };
    ($(#[doc = $top:literal])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $ty:ty,)* }) => {
        $(#[doc = $top])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = s.serialize_map(None)?;
                $(if $crate::app::view::Shape::is_there(&self.$field) {
                    map.serialize_entry($crate::app::view::plain(stringify!($field)), &self.$field)?;
                })*
                map.end()
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let mut object = utoipa::openapi::schema::ObjectBuilder::new()
                    .description(Some(concat!($($top),*).trim_ascii()));
                $(
                    let name = $crate::app::view::plain(stringify!($field));
                    object = object.property(name, $crate::app::input::described(
                        <$ty as $crate::app::view::Shape>::shape(), concat!($($doc),*).trim_ascii()));
                    if <$ty as $crate::app::view::Shape>::ALWAYS {
                        object = object.required(name);
                    }
                )*
                object.into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(out: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
                $(<$ty as $crate::app::view::Shape>::named(out);)*
            }
        }

        impl $crate::app::view::Shape for $name {
            fn shape() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::Ref::from_schema_name(stringify!($name)).into()
            }
            fn named(out: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
                out.push((stringify!($name).into(), <Self as utoipa::PartialSchema>::schema()));
                $(<$ty as $crate::app::view::Shape>::named(out);)*
            }
        }
    };
}
