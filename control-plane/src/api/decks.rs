//! `/api/v1/admin/rate-decks`: decks, their versions, checks of sheets and how a vendor's sheets are read.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::error::{ApiError, Code};
use crate::App;
use crate::app::decks;
use crate::app::fault::Fault;
use crate::app::input::{DialCode, Field, Input, Plain};
use crate::app::paging::Cursor;
use crate::app::permission::Permission;

macro_rules! path {
    ($rest:literal) => {
        concat!("/api/v1/admin/rate-decks", $rest)
    };
}

const MODE: (&str, &[&str], &str) = (
    "mode",
    &["full", "partial"],
    "`full`: the sheet is the whole deck (when absent). `partial`: it is laid over the version in force.",
);
const OPTIONS: (&str, &str) =
    ("options", "SheetOptions as JSON: what the upload says of the sheet, over what is remembered.");

pub(super) fn endpoints() -> Vec<Endpoint> {
    let scope = |permission| Access::Scope(Audience::Operator, permission);
    let (read, write) = (scope(Permission::DecksRead), scope(Permission::DecksWrite));
    vec![
        endpoint(Method::GET, path!(""), read, "Rate decks", list).lists::<decks::Deck>(),
        endpoint(Method::POST, path!(""), write, "Make a rate deck", new)
            .takes::<decks::DeckInput>()
            .gives::<decks::Deck>(201),
        endpoint(Method::GET, path!("/{deck_id}"), read, "A rate deck", get).gives::<decks::Deck>(200),
        endpoint(Method::DELETE, path!("/{deck_id}"), write, "Delete an unused rate deck", delete),
        endpoint(Method::GET, path!("/{deck_id}/versions"), read, "Versions, newest first", versions)
            .lists::<decks::DeckVersion>()
            .by(Cursor::Number),
        endpoint(
            Method::POST,
            path!("/{deck_id}/versions"),
            write,
            "Upload a rate sheet (CSV or XLSX) as a new version; places that are not understood are all listed",
            upload,
        )
        .takes_csv(decks::DECK_BYTES)
        .gives::<decks::DeckVersion>(201)
        .query("source_name", Plain::field_schema, "What the file is called.")
        .query_of(MODE.0, MODE.1, MODE.2)
        .query_of("activate", &["true", "false"], "`true` puts the version into force at once.")
        .query_of("remember", &["true", "false"], "`false` does not keep the options for the next sheet of this vendor.")
        .query_json::<decks::SheetOptionsInput>(OPTIONS.0, OPTIONS.1),
        endpoint(Method::GET, path!("/{deck_id}/versions/{number}"), read, "A version of a rate deck", version)
            .gives::<decks::DeckVersion>(200),
        endpoint(
            Method::GET,
            path!("/{deck_id}/versions/{number}/prices"),
            read,
            "The rows of a version: what each dial code costs, by code and then by date",
            prices,
        )
        .lists::<decks::DeckPrice>()
        .by(Cursor::Number)
        .query("code", DialCode::field_schema, "Only rows whose dial code begins with these digits."),
        endpoint(
            Method::POST,
            path!("/{deck_id}/check"),
            read,
            "What a rate sheet would change, and what of it is not understood; nothing is stored",
            check,
        )
        .takes_csv(decks::DECK_BYTES)
        .gives::<decks::DeckReport>(200)
        .query_of(MODE.0, MODE.1, MODE.2)
        .query_json::<decks::SheetOptionsInput>(OPTIONS.0, OPTIONS.1),
        endpoint(
            Method::POST,
            path!("/{deck_id}/versions/{number}/activate"),
            write,
            "Put a version into force",
            activate,
        )
        .gives::<decks::Deck>(200),
        endpoint(
            Method::GET,
            path!("/{deck_id}/sheet-options"),
            read,
            "How the sheets of this deck's vendor are read",
            options_get,
        )
        .gives::<decks::RememberedOptions>(200),
        endpoint(
            Method::PUT,
            path!("/{deck_id}/sheet-options"),
            write,
            "Set how the sheets of this deck's vendor are read",
            options_put,
        )
        .takes::<decks::SheetOptionsInput>()
        .gives::<decks::RememberedOptions>(200),
    ]
}

async fn list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(decks::list(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn new(app: Arc<App>, r: Request) -> Answer {
    let made = decks::create(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&decks::get(&r.ctx(&app)?, r.id("deck_id", "deck")?).await?)
}

async fn delete(app: Arc<App>, r: Request) -> Answer {
    decks::delete(&r.ctx(&app)?, r.id("deck_id", "deck")?).await?;
    Reply::done()
}

async fn versions(app: Arc<App>, r: Request) -> Answer {
    Reply::page(decks::versions(&r.ctx(&app)?, r.id("deck_id", "deck")?, &r.paging()?).await?)
}

async fn version(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&decks::version(&r.ctx(&app)?, r.id("deck_id", "deck")?, number(&r)?).await?)
}

async fn prices(app: Arc<App>, r: Request) -> Answer {
    let (ctx, id) = (r.ctx(&app)?, r.id("deck_id", "deck")?);
    Reply::page(decks::prices(&ctx, id, number(&r)?, r.query("code"), &r.paging()?).await?)
}

/// The number of a version in the path.
fn number(r: &Request) -> Result<i32, Fault> {
    r.part("number").and_then(|t| t.parse().ok()).ok_or_else(|| Fault::not_found("deck version"))
}

/// The body and what the query says of it.
fn sheet(r: &Request) -> Result<decks::Sheet<axum::body::Bytes>, ApiError> {
    let mode = decks::UploadMode::parse(r.query("mode").unwrap_or("full"));
    let options = match r.query("options") {
        None => decks::SheetOptionsInput::default(),
        Some(text) => {
            let json = serde_json::from_str(text)
                .map_err(|_| ApiError::new(Code::InvalidQuery, "options must be a JSON object"))?;
            decks::SheetOptionsInput::from_json(&json)?
        }
    };
    Ok(decks::Sheet {
        source_name: r.query("source_name").unwrap_or("upload.csv").to_owned(),
        bytes: r.body.clone(),
        mode: mode.unwrap_or(decks::UploadMode::Full),
        options: options.0,
    })
}

async fn upload(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let id = r.id("deck_id", "deck")?;
    let (activate, remember) = (r.query("activate") == Some("true"), r.query("remember") != Some("false"));
    let made = decks::upload(&ctx, id, sheet(&r)?, activate, remember).await?;
    Reply::created(r.below(&made.number.to_string()), &made)
}

async fn check(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("deck_id", "deck")?;
    Reply::ok(&decks::check(&r.ctx(&app)?, id, sheet(&r)?).await?)
}

async fn activate(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&decks::activate(&r.ctx(&app)?, r.id("deck_id", "deck")?, number(&r)?).await?)
}

async fn options_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&decks::options(&r.ctx(&app)?, r.id("deck_id", "deck")?).await?)
}

async fn options_put(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("deck_id", "deck")?;
    Reply::ok(&decks::set_options(&r.ctx(&app)?, id, r.input()?).await?)
}
