//! How a vendor's sheets are read: what uploads said of them, remembered. The owner is the vendor who sells by the deck; a
//! deck that no vendor, or more than one, sells by owns its options itself.

use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type as Kind};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use warp_model::DeckId;
use warp_policy::deck::sheet::SheetOptions;

use super::get;
use crate::app::Ctx;
use crate::app::fault::Fault;
use crate::app::input::Input;
use crate::store::Tx;
use crate::store::decks as store;

/// Options in an upload's query or a body.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct SheetOptionsInput(pub SheetOptions);

/// Remembered options.
#[derive(Clone, Debug, serde::Serialize, ToSchema)]
pub struct RememberedOptions {
    /// Whose: `vnd_…`, or `deck_…` where not exactly one vendor sells by the deck.
    pub owner: String,
    /// How its sheets are read; what an upload says is laid over them.
    pub options: SheetOptionsInput,
}

/// What is remembered, for our own use.
pub(super) struct Remembered {
    pub(super) owner: String,
    pub(super) options: SheetOptions,
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

/// What is remembered.
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
    ];

    fn from_json(value: &Value) -> Result<Self, Fault> {
        crate::app::input::object(value)?;
        let read = serde_json::from_value::<SheetOptions>(value.clone());
        let options = read.map_err(|e| Fault::field("options", "invalid", e.to_string()))?;
        let long = options
            .mapping
            .keys()
            .chain(&options.ignore)
            .chain(&options.sheet)
            .any(|t| t.chars().count() > 256);
        if long || options.mapping.len() > 256 || options.ignore.len() > 256 {
            return Err(Fault::field("options", "out_of_range", "at most 256 names of 256 letters"));
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
        let fields = "code, full_code, area_code, country_code, npa, nxx, block, rate, interstate, intrastate, indeterminate, \
            effective, expires, increment_initial, increment_next, increments, setup_fee, status, blocked, offered, \
            currency, unit, info, remark";
        ObjectBuilder::new()
            .description(Some("What an upload says of a sheet, where the sheet alone does not say it. All of it is optional."))
            .property(
                "mapping",
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Kind::Object))
                    .description(Some(format!("What columns hold, by their names in the sheet: {fields}."))),
            )
            .property(
                "ignore",
                ArrayBuilder::new()
                    .items(text("A name or a whole text."))
                    .description(Some("Columns, and lines above the header or below the rows, that are not read.")),
            )
            .property("terms", text("Increments where the sheet says nothing, for example 60/6."))
            .property(
                "date_order",
                choice("Order of dates with slashes or dashes that can be read two ways; such a date is refused without it.", &["day_first", "month_first"]),
            )
            .property("zone", text("Zone of dates and times without one: UTC (the default) or an offset such as +01:00."))
            .property("currency", text("The sheet's currency, where a sign such as $ may mean several. It must be the deck's."))
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
            .property("sheet", text("Which sheet of a workbook; needed when several are visible."))
            .property("cap", text("Highest price per minute and fee that is believed, for example 5; 100 when absent."))
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl ToSchema for SheetOptionsInput {
    fn name() -> std::borrow::Cow<'static, str> {
        "SheetOptions".into()
    }
}
