//! How a vendor's sheets are read: what uploads said of them, remembered. The owner is the vendor who sells by the deck; a
//! deck that no vendor, or more than one, sells by owns its options itself.

use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type as Kind};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use warp_model::DeckId;
use warp_policy::deck::sheet::{Field, SheetOptions};

use super::get;
use crate::app::Ctx;
use crate::app::fault::Fault;
use crate::app::forms;
use crate::app::input::Input;
use crate::store::Tx;
use crate::store::decks as store;

/// Most names in one list of options, and most letters in one of them.
const NAMES: usize = 256;
/// The published form of two increments of 1 to 3,600 seconds.
const INCREMENTS: &str =
    "^([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)/([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)$";
/// That of a zone, up to 14 hours from UTC.
const ZONE: &str = "^(UTC|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))$";
/// That of a cap: above 0 and below a million.
const CAP: &str = r"^([1-9][0-9]{0,5}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9])$";

/// Options in an upload's query or a body.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct SheetOptionsInput(pub SheetOptions);

/// How the sheets of a deck's vendor are read.
#[derive(Clone, Debug, serde::Serialize, ToSchema)]
pub struct RememberedOptions {
    /// Whose they are: `vnd_…`, or `deck_…` where not exactly one vendor sells by the deck.
    pub owner: String,
    /// How its sheets are read. What an upload says is laid over them.
    pub options: SheetOptionsInput,
}

/// What is remembered, for our own use.
pub(super) struct Remembered {
    pub(super) owner: String,
    pub(super) options: SheetOptions,
}

impl Remembered {
    /// What an upload that says `said` takes from memory, in one line: nobody shall read in cents because of a sheet of last
    /// year without being told. `None`: nothing.
    pub(super) fn note(&self, said: &SheetOptions) -> Option<String> {
        let only_reset = SheetOptions { reset: said.reset.clone(), ..SheetOptions::default() };
        let mut taken = self.options.under(&only_reset);
        taken.mapping.retain(|column, _| !said.mapping.contains_key(column));
        taken.ignore.retain(|name| !said.ignore.contains(name));
        let (taken, said) = (serde_json::to_value(taken).ok()?, serde_json::to_value(said).ok()?);
        let mut all = Vec::new();
        for (name, value) in taken.as_object()? {
            let bare = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            match value {
                Value::Object(columns) => {
                    all.extend(
                        columns.iter().map(|(column, field)| format!("{column:?} is {}", bare(field))),
                    );
                }
                Value::Array(names) => all.push(format!(
                    "{name} {}",
                    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                )),
                _ if said.get(name).is_none() => all.push(format!("{name} = {}", bare(value))),
                _ => {}
            }
        }
        let whose = if self.owner.starts_with("vnd_") { "this vendor" } else { "this deck" };
        (!all.is_empty()).then(|| format!("remembered of earlier sheets of {whose}: {}", all.join("; ")))
    }
}

/// The options that apply to the deck's next sheet.
pub(super) async fn remembered(tx: &mut Tx, id: DeckId) -> Result<Remembered, Fault> {
    let owner = store::options_owner(tx, id).await?;
    let stored = store::options(tx, &owner).await?;
    let options = match stored {
        None => SheetOptions::default(),
        Some(json) => serde_json::from_value(json).map_err(|e| {
            tracing::error!(owner, error = %e, "stored options of sheets cannot be read");
            Fault::internal()
        })?,
    };
    Ok(Remembered { owner, options })
}

/// What is remembered of how the vendor's sheets are read.
pub async fn show(ctx: &Ctx<'_>, id: DeckId) -> Result<RememberedOptions, Fault> {
    get(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    let r = remembered(&mut tx, id).await?;
    Ok(RememberedOptions { owner: r.owner, options: SheetOptionsInput(r.options) })
}

/// Replaces what is remembered.
pub async fn replace(
    ctx: &Ctx<'_>,
    id: DeckId,
    input: SheetOptionsInput,
) -> Result<RememberedOptions, Fault> {
    get(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    let owner = store::options_owner(&mut tx, id).await?;
    // All of it is new, so there is nothing to reset.
    let input = SheetOptionsInput(SheetOptions::default().under(&input.0));
    let json = serde_json::to_value(&input.0).map_err(|_| Fault::internal())?;
    store::set_options(&mut tx, &owner, &json).await?;
    ctx.audit(&mut tx, None, "deck.options", &owner, Some(json)).await?;
    tx.commit().await?;
    Ok(RememberedOptions { owner, options: input })
}

impl Input for SheetOptionsInput {
    const FIELDS: &'static [&'static str] = &[
        "mapping",
        "ignore",
        "terms",
        "date_order",
        "zone",
        "currency",
        "price_unit",
        "decimal",
        "free_rows",
        "repeat_cells",
        "sheet",
        "cap",
        "reset",
    ];

    fn from_json(value: &Value) -> Result<Self, Fault> {
        let fields = crate::app::input::object(value)?;
        if let Some((name, _)) = fields.iter().find(|(_, v)| v.is_null()) {
            let name = format!("options.{}", crate::app::input::shown(name));
            return Err(Fault::field(name, "wrong_type", "must not be null; leave it out"));
        }
        let read = serde_json::from_value::<SheetOptions>(value.clone());
        let mut options = read.map_err(|e| Fault::field("options", "invalid", e.to_string()))?;
        // Names of columns are compared without such characters anyway, and PostgreSQL's JSON knows no zero character.
        let plain = |name: String| name.chars().filter(|c| !c.is_control()).collect();
        options.mapping = options.mapping.into_iter().map(|(name, field)| (plain(name), field)).collect();
        let odd = |t: &String| t.chars().count() > NAMES || t.chars().any(char::is_control);
        if options.ignore.iter().chain(&options.sheet).any(odd)
            || options.mapping.len() > NAMES
            || options.ignore.len() > NAMES
        {
            let message = format!("at most {NAMES} names of {NAMES} letters, without control characters");
            return Err(Fault::field("options", "out_of_range", message));
        }
        if options.currency.is_some_and(|c| !c.is_iso_4217()) {
            let message = "must be an ISO 4217 currency code such as USD";
            return Err(Fault::field("options.currency", "invalid", message));
        }
        if options.cap.is_some_and(|c| c.0 <= 0 || c.0 > warp_policy::deck::MAX_PRICE) {
            return Err(Fault::field(
                "options.cap",
                "out_of_range",
                "a cap is above 0 and at most one million",
            ));
        }
        Ok(Self(options))
    }
}

impl PartialSchema for SheetOptionsInput {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| {
            ObjectBuilder::new().schema_type(SchemaType::Type(Kind::String)).description(Some(about))
        };
        let choice = |about: &str, values: &[&str]| {
            text(about).enum_values(Some(values.iter().map(|v| v.to_string())))
        };
        let flag = |about: &str| {
            ObjectBuilder::new().schema_type(SchemaType::Type(Kind::Boolean)).description(Some(about))
        };
        let name = || text("A name or a whole text.").max_length(Some(NAMES)).pattern(Some(forms::PLAIN));
        let fields: Vec<&str> = Field::ALL.iter().map(|f| f.as_str()).collect();
        ObjectBuilder::new()
            .description(Some("What an upload says of a sheet, where the sheet alone does not say it. All of it is optional."))
            .property(
                "mapping",
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Kind::Object))
                    .additional_properties(Some(choice("What a column holds.", &fields)))
                    .max_properties(Some(NAMES))
                    .description(Some("What columns hold, by their names in the sheet.")),
            )
            .property(
                "ignore",
                ArrayBuilder::new()
                    .items(name())
                    .max_items(Some(NAMES))
                    .description(Some("Columns, and lines above the header or below the rows, that are not read.")),
            )
            .property(
                "terms",
                text("Increments where the sheet says nothing, in seconds, for example 60/6.").pattern(Some(INCREMENTS)),
            )
            .property(
                "date_order",
                choice("Order of dates with slashes or dashes that can be read two ways; such a date is refused without it.", &["day_first", "month_first"]),
            )
            .property(
                "zone",
                text("Zone of dates and times without one: UTC (the default) or an offset such as +01:00.").pattern(Some(ZONE)),
            )
            .property(
                "currency",
                choice(
                    "The sheet's currency, where a sign such as $ may mean several. It must be the deck's.",
                    warp_model::Currency::IN_USE,
                ),
            )
            .property(
                "price_unit",
                choice("What the numbers in price columns are.", &["per_minute", "cents_per_minute", "per_second"]),
            )
            .property("decimal", choice("Mark before decimal places; taken from the sheet when absent.", &["point", "comma"]))
            .property("free_rows", flag("A price of 0 is an offer; refused without it."))
            .property(
                "repeat_cells",
                flag("Cells left empty by merged cells mean the ones above; refused without it."),
            )
            .property(
                "sheet",
                name().description(Some("Which sheet of a workbook; needed when several are visible.")),
            )
            .property(
                "cap",
                text("Highest price per minute and fee that is believed, for example 5; 100 when absent.").pattern(Some(CAP)),
            )
            .property(
                "reset",
                ArrayBuilder::new()
                    .items(choice(
                        "The name of an option.",
                        Self::FIELDS.split_last().map(|(_, options)| options).unwrap_or_default(),
                    ))
                    .description(Some(
                        "Remembered options that count no more; what the upload says besides stands.",
                    )),
            )
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for SheetOptionsInput {
    fn name() -> std::borrow::Cow<'static, str> {
        "SheetOptions".into()
    }
}
