//! Seeding in process: what the demo world and the load profiles make at their first start.
//!
//! Each function takes the same JSON as the API's body and makes the object unless one of that name is there already, so
//! that a second start changes nothing. Callers end with `App::publish_now`.

use serde_json::{Value, json};
use warp_model::{CustomerId, DeckId, Id, Secret, TrunkId, VendorId, VendorTrunkId};

use super::customers::Customers;
use super::fault::{Fault, Kind};
use super::input::Input;
use super::listing::Listing;
use super::paging::{Cursor, Order, PAGE_MOST, Page, Paging};
use super::resource::{self, Resource};
use super::routing::{PartitionId, Partitions};
use super::trunks::Trunks;
use super::vendor_trunks::VendorTrunks;
use super::vendors::Vendors;
use super::{Change, Ctx, Expected, decks, keys, trunks};
use crate::App;
use crate::store::nouns::{self, NounRow as _};

/// Makes objects as the program itself.
pub struct Seed<'a> {
    ctx: Ctx<'a>,
}

impl<'a> Seed<'a> {
    /// In the name of the program.
    pub fn new(app: &'a App) -> Self {
        Self { ctx: Ctx::system(app, "seed") }
    }

    /// The use cases' context, for what is not offered here.
    pub fn ctx(&self) -> &Ctx<'a> {
        &self.ctx
    }

    /// A deck with `csv` as its version in force; kind is `us` or `az`.
    pub async fn deck(&self, name: &str, kind: &str, csv: String) -> Result<DeckId, Fault> {
        let known =
            find(async |p| decks::list(&self.ctx, &p).await, |d: &decks::Deck| d.name == name).await?;
        let deck = match known {
            Some(deck) => deck,
            None => decks::create(&self.ctx, read(&json!({ "name": name, "kind": kind }))?).await?,
        };
        let id = id(&deck.id)?;
        if deck.active_version.is_none() {
            let sheet = decks::Sheet {
                source_name: format!("{name}.csv"),
                bytes: csv,
                mode: decks::UploadMode::Full,
                options: Default::default(),
            };
            decks::upload(&self.ctx, id, sheet, true, false).await?;
        }
        Ok(id)
    }

    /// A vendor; `body` as POST /admin/vendors, found again by its slug.
    pub async fn vendor(&self, body: Value) -> Result<VendorId, Fault> {
        self.known_or_made::<Vendors>((), &[("slug", text(&body, "slug"))], &body).await
    }

    /// A vendor's trunk; `body` as POST /admin/vendors/{id}/trunks. One that is there gets the body's values: addresses
    /// of a demo world are chosen anew at each start.
    pub async fn vendor_trunk(&self, vendor: VendorId, body: Value) -> Result<VendorTrunkId, Fault> {
        let filters = [("name", text(&body, "name")), ("vendor", vendor.to_string())];
        match self.known::<VendorTrunks>(&filters).await? {
            Some(trunk) => {
                let change = Change::Patch(&body);
                resource::update::<VendorTrunks>(&self.ctx, trunk, change, &Expected::Any).await?;
                Ok(trunk)
            }
            None => Ok(resource::create::<VendorTrunks>(&self.ctx, vendor, read(&body)?).await?.0),
        }
    }

    /// A partition; `body` as POST /admin/partitions.
    pub async fn partition(&self, body: Value) -> Result<PartitionId, Fault> {
        self.known_or_made::<Partitions>((), &[("name", text(&body, "name"))], &body).await
    }

    /// A customer; `body` as POST /admin/customers.
    pub async fn customer(&self, body: Value) -> Result<CustomerId, Fault> {
        self.known_or_made::<Customers>((), &[("name", text(&body, "name"))], &body).await
    }

    /// A trunk with its addresses (`198.51.100.7` or a network) and digest users (name, password); `body` as POST
    /// /admin/customers/{id}/trunks. Addresses and users of a trunk that is there are made to be these.
    pub async fn trunk(
        &self,
        customer: CustomerId,
        body: Value,
        addresses: &[&str],
        users: &[(&str, &str)],
    ) -> Result<TrunkId, Fault> {
        let filters = [("name", text(&body, "name")), ("customer", customer.to_string())];
        let trunk = self.known_or_made::<Trunks>(customer, &filters, &body).await?;
        let all = Paging { after: None, limit: trunks::IPS_PER_TRUNK, order: Order::OldestFirst };
        for ip in trunks::list_ips(&self.ctx, trunk, None, &all).await?.items {
            trunks::remove_ip(&self.ctx, trunk, &ip.address).await?;
        }
        for address in addresses {
            trunks::add_ip(&self.ctx, trunk, read(&json!({ "address": address }))?).await?;
        }
        let all = Paging { after: None, limit: trunks::CREDENTIALS_PER_TRUNK, order: Order::OldestFirst };
        for user in trunks::list_credentials(&self.ctx, trunk, &all).await?.items {
            trunks::remove_credential(&self.ctx, trunk, &user.username).await?;
        }
        for (username, password) in users {
            let body = json!({ "username": username, "password": password });
            trunks::add_credential(&self.ctx, trunk, read(&body)?).await?;
        }
        Ok(trunk)
    }

    /// The object that passes these filters, which one at most does.
    async fn known<R: Resource>(&self, filters: &[(&str, String)]) -> Result<Option<Id<R::Kind>>, Fault> {
        let paging = Paging { after: None, limit: 1, order: Order::NewestFirst };
        let noun = resource::noun::<R>();
        let mut listing = Listing::all(noun, &paging);
        for (filter, value) in filters {
            listing = listing.only(noun, filter, value.clone())?;
        }
        let mut tx = self.ctx.begin().await?;
        let rows: Vec<R::Row> = nouns::list(&mut tx, &listing).await?;
        rows.first().map(|row| id(row.id())).transpose()
    }

    async fn known_or_made<R: Resource>(
        &self,
        parent: R::Parent,
        filters: &[(&str, String)],
        body: &Value,
    ) -> Result<Id<R::Kind>, Fault> {
        match self.known::<R>(filters).await? {
            Some(known) => Ok(known),
            None => Ok(resource::create::<R>(&self.ctx, parent, read(body)?).await?.0),
        }
    }

    /// A new key of a customer, or (`None`) of operators. Keys are kept as hashes: an old one cannot be shown again, so
    /// callers keep the secret or make a new one.
    pub async fn key(&self, customer: Option<CustomerId>, name: &str) -> Result<Secret<String>, Fault> {
        let made = keys::create(&self.ctx, customer, keys::ApiKeyInput::everything(name)).await?;
        Ok(Secret::new(made.secret))
    }
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or("").to_owned()
}

fn read<I: Input>(body: &Value) -> Result<I, Fault> {
    I::from_json(body)
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::new(Kind::Internal, "an id cannot be read"))
}

/// The first object of all pages that matches.
async fn find<T>(
    list: impl AsyncFn(Paging) -> Result<Page<T>, Fault>,
    wanted: impl Fn(&T) -> bool,
) -> Result<Option<T>, Fault> {
    let mut paging = Paging { after: None, limit: PAGE_MOST, order: Order::NewestFirst };
    loop {
        let page = list(paging.clone()).await?;
        let next = page.next;
        if let Some(found) = page.items.into_iter().find(|t| wanted(t)) {
            return Ok(Some(found));
        }
        match next {
            Some(cursor) => paging.after = Some(Cursor::Id.read(&cursor)?),
            None => return Ok(None),
        }
    }
}
