//! Seeding in process: what the demo world and the load profiles make at their first start.
//!
//! Each function takes the same JSON as the API's body and makes the object unless one of that name is there already, so
//! that a second start changes nothing. Callers end with `App::publish_now`.

use serde_json::{Value, json};
use warp_model::{CustomerId, DeckId, Secret, TrunkId, VendorId, VendorTrunkId};

use super::fault::{Fault, Kind};
use super::input::Input;
use super::listing::Listing;
use super::paging::{Cursor, Order, PAGE_MOST, Page, Paging};
use super::routing::{self, PartitionId};
use super::{Change, Ctx, Expected, customers, decks, keys, trunks, vendors};
use crate::App;
use crate::noun::trunk::TRUNK;
use crate::noun::vendor_trunk::VENDOR_TRUNK;

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
        let slug = body["slug"].as_str().unwrap_or("").to_owned();
        let known =
            find(async |p| vendors::list(&self.ctx, &p).await, |v: &vendors::Vendor| v.slug == slug).await?;
        match known {
            Some(v) => id(&v.id),
            None => id(&vendors::create(&self.ctx, read(&body)?).await?.id),
        }
    }

    /// A vendor's trunk; `body` as POST /admin/vendors/{id}/trunks. One that is there gets the body's values: addresses
    /// of a demo world are chosen anew at each start.
    pub async fn vendor_trunk(&self, vendor: VendorId, body: Value) -> Result<VendorTrunkId, Fault> {
        let name = body["name"].as_str().unwrap_or("").to_owned();
        let of =
            |p: &Paging| Listing::all(&VENDOR_TRUNK, p).only(&VENDOR_TRUNK, "vendor", vendor.to_string());
        let list = async |p: Paging| vendors::list_trunks(&self.ctx, &of(&p)?).await;
        match find(list, |t: &vendors::VendorTrunk| t.name == name).await? {
            Some(t) => {
                let trunk = id(&t.id)?;
                vendors::update_trunk(&self.ctx, trunk, Change::Patch(&body), &Expected::Any).await?;
                Ok(trunk)
            }
            None => id(&vendors::create_trunk(&self.ctx, vendor, read(&body)?).await?.id),
        }
    }

    /// A partition; `body` as POST /admin/partitions.
    pub async fn partition(&self, body: Value) -> Result<PartitionId, Fault> {
        let name = body["name"].as_str().unwrap_or("").to_owned();
        let list = async |p: Paging| routing::list(&self.ctx, &p).await;
        match find(list, |x: &routing::Partition| x.name == name).await? {
            Some(p) => id(&p.id),
            None => id(&routing::create(&self.ctx, read(&body)?).await?.id),
        }
    }

    /// A customer; `body` as POST /admin/customers.
    pub async fn customer(&self, body: Value) -> Result<CustomerId, Fault> {
        let name = body["name"].as_str().unwrap_or("").to_owned();
        let list = async |p: Paging| customers::list(&self.ctx, &p).await;
        match find(list, |c: &customers::Customer| c.name == name).await? {
            Some(c) => id(&c.id),
            None => id(&customers::create(&self.ctx, read(&body)?).await?.id),
        }
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
        let name = body["name"].as_str().unwrap_or("").to_owned();
        let of = |p: &Paging| Listing::all(&TRUNK, p).only(&TRUNK, "customer", customer.to_string());
        let list = async |p: Paging| trunks::list(&self.ctx, &of(&p)?).await;
        let trunk = match find(list, |t: &trunks::Trunk| t.name == name).await? {
            Some(t) => id(&t.id)?,
            None => id(&trunks::create(&self.ctx, customer, read(&body)?).await?.id)?,
        };
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

    /// A new key of a customer, or (`None`) of operators. Keys are kept as hashes: an old one cannot be shown again, so
    /// callers keep the secret or make a new one.
    pub async fn key(&self, customer: Option<CustomerId>, name: &str) -> Result<Secret<String>, Fault> {
        let made = keys::create(&self.ctx, customer, keys::ApiKeyInput::everything(name)).await?;
        Ok(Secret::new(made.secret))
    }
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
