//! What inbound calls go by besides the numbers: what they are sold and bought for, where a vendor's calls come from, and where a trunk
//! takes its own.

use warp_model::id::DeckKind;
use warp_model::{Currency, CustomerId, TrunkId, VendorId, VendorTrunkId};

use super::customers::Customers;
use super::fault::{Fault, Problem};
use super::input::{HostName, List, Net, Ref, Socket};
use super::trunks::Trunks;
use super::vendor_trunks::{NumberFormat, VendorTransport, VendorTrunks, twice};
use super::vendors::Vendors;
use super::view::Word;
use super::{Ctx, check_decks, ids, none_wrong, resource, saved};
use crate::store::StoreError;
use crate::store::numbers::{self as rows, DeliverRow, TermsRow};

crate::choice! {
    /// By which number an inbound call is priced.
    pub enum PricedByName {
        /// By the number that was called: a price for a number, or for a group of numbers.
        Called = "called",
        /// By the caller's number; by the called one when the caller gave none.
        Caller = "caller",
    }
}

crate::view! {
    /// What inbound calls are priced by.
    pub struct InboundTerms {
        /// The price lists, in order. Empty: no inbound call is priced, and none is carried.
        pub deck_ids: Vec<String>,
        /// The number that is looked up in them.
        pub priced_by: Word<PricedByName>,
    }
}

crate::input! {
    /// What inbound calls are priced by.
    pub struct InboundTermsInput {
        /// The price lists, in order. Empty: no inbound call is priced, and none is carried.
        pub deck_ids: List<Ref<DeckKind>, 16>,
        /// The number that is looked up in them; `called` when absent.
        pub priced_by: Option<PricedByName>,
    }
}

crate::view! {
    /// Where the calls of a vendor trunk come from.
    pub struct InboundNetworks {
        /// Addresses and networks. Calls from there are for our numbers.
        pub networks: Vec<String>,
    }
}

crate::input! {
    /// Where the calls of a vendor trunk come from.
    pub struct InboundNetworksInput {
        /// Addresses and networks, each of one vendor trunk only.
        pub networks: List<Net, 64>,
    }
}

crate::view! {
    /// Where a trunk takes calls to numbers of its customer.
    pub struct InboundTargets {
        /// Names that are looked up in DNS (RFC 3263), in order. They come before `addresses`.
        pub hosts: Vec<String>,
        /// Addresses that its INVITEs go to, in order. Neither these nor `hosts`: the trunk takes no calls.
        pub addresses: Vec<String>,
        /// The transport that they go by.
        pub transport: Word<VendorTransport>,
        /// How the called number is written.
        pub number_format: Word<NumberFormat>,
    }
}

crate::input! {
    /// Where a trunk takes calls to numbers of its customer.
    pub struct InboundTargetsInput {
        /// Names that are looked up in DNS (RFC 3263), in order; they come before `addresses`.
        pub hosts: List<HostName, 4>,
        /// Addresses that its INVITEs go to, in order. Neither these nor `hosts`: the trunk takes no calls.
        pub addresses: List<Socket, 16>,
        /// The transport that they go by; `udp` when absent.
        pub transport: Option<VendorTransport>,
        /// How the called number is written; `plus_e164` when absent.
        pub number_format: Option<NumberFormat>,
    }
}

impl InboundTerms {
    fn of(row: Option<TermsRow>) -> Self {
        match row {
            Some(row) => Self { deck_ids: row.deck_ids, priced_by: row.priced_by.into() },
            None => Self { deck_ids: Vec::new(), priced_by: PricedByName::Called.as_str().to_owned().into() },
        }
    }
}

impl InboundTargets {
    fn of(row: Option<DeliverRow>) -> Self {
        match row {
            Some(row) => Self {
                hosts: row.hosts,
                addresses: row.addresses,
                transport: row.transport.into(),
                number_format: row.number_format.into(),
            },
            None => Self {
                hosts: Vec::new(),
                addresses: Vec::new(),
                transport: VendorTransport::Udp.as_str().to_owned().into(),
                number_format: NumberFormat::PlusE164.as_str().to_owned().into(),
            },
        }
    }
}

/// What a customer's inbound calls are sold by.
pub async fn customer_terms(ctx: &Ctx<'_>, id: CustomerId) -> Result<InboundTerms, Fault> {
    resource::get::<Customers>(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    Ok(InboundTerms::of(rows::customer_terms(&mut tx, id).await?))
}

/// Says what a customer's inbound calls are sold by. Errors: a deck that does not exist, or that is in another currency.
pub async fn set_customer_terms(
    ctx: &Ctx<'_>,
    id: CustomerId,
    input: InboundTermsInput,
) -> Result<InboundTerms, Fault> {
    let currency: Currency =
        resource::get::<Customers>(ctx, id).await?.currency.parse().unwrap_or(Currency::USD);
    let (decks, by) = (ids(&input.deck_ids), input.priced_by.unwrap_or(PricedByName::Called).as_str());
    let mut tx = ctx.begin().await?;
    let mut problems = Vec::new();
    check_decks(&mut tx, &decks, Some(currency), "deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    rows::set_customer_terms(&mut tx, id, &decks, by).await?;
    let answer = InboundTerms { deck_ids: decks, priced_by: by.to_owned().into() };
    saved(ctx, tx, Some(id), ("customer.inbound", &id.to_string()), answer).await
}

/// What a vendor charges by for the calls that it brings.
pub async fn vendor_terms(ctx: &Ctx<'_>, id: VendorId) -> Result<InboundTerms, Fault> {
    resource::get::<Vendors>(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    Ok(InboundTerms::of(rows::vendor_terms(&mut tx, id).await?))
}

/// Says what a vendor charges by. Errors: a deck that does not exist, or decks of several currencies.
pub async fn set_vendor_terms(
    ctx: &Ctx<'_>,
    id: VendorId,
    input: InboundTermsInput,
) -> Result<InboundTerms, Fault> {
    resource::get::<Vendors>(ctx, id).await?;
    let (decks, by) = (ids(&input.deck_ids), input.priced_by.unwrap_or(PricedByName::Called).as_str());
    let mut tx = ctx.begin().await?;
    let mut problems = Vec::new();
    check_decks(&mut tx, &decks, None, "deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    rows::set_vendor_terms(&mut tx, id, &decks, by).await?;
    let answer = InboundTerms { deck_ids: decks, priced_by: by.to_owned().into() };
    saved(ctx, tx, None, ("vendor.inbound", &id.to_string()), answer).await
}

/// Where the calls of a vendor trunk come from.
pub async fn networks(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<InboundNetworks, Fault> {
    resource::get::<VendorTrunks>(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    Ok(InboundNetworks { networks: rows::networks(&mut tx, id).await? })
}

/// Says where the calls of a vendor trunk come from. Errors: a network of another vendor trunk.
pub async fn set_networks(
    ctx: &Ctx<'_>,
    id: VendorTrunkId,
    input: InboundNetworksInput,
) -> Result<InboundNetworks, Fault> {
    resource::get::<VendorTrunks>(ctx, id).await?;
    let wanted: Vec<String> = input.networks.0.into_iter().map(|n| n.0).collect();
    let mut problems = Vec::new();
    for (i, network) in wanted.iter().enumerate() {
        if wanted.iter().take(i).any(|other| other == network) {
            problems.push(Problem::new(format!("networks[{i}]"), "taken", "this network is there twice"));
        }
    }
    none_wrong(problems)?;
    let mut tx = ctx.begin().await?;
    match rows::set_networks(&mut tx, id, &wanted).await {
        Err(StoreError::Conflict(_)) => {
            let message = "one of them is another vendor trunk's: a call must have one vendor who is paid";
            return Err(Fault::field("networks", "taken", message));
        }
        other => other?,
    }
    let answer = InboundNetworks { networks: rows::networks(&mut tx, id).await? };
    saved(ctx, tx, None, ("vendor_trunk.inbound", &id.to_string()), answer).await
}

/// Where a trunk takes calls.
pub async fn targets(ctx: &Ctx<'_>, id: TrunkId) -> Result<InboundTargets, Fault> {
    resource::get::<Trunks>(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    Ok(InboundTargets::of(rows::deliver(&mut tx, id).await?))
}

/// Says where a trunk takes calls. Errors: the scope sees no such trunk; an address twice.
pub async fn set_targets(
    ctx: &Ctx<'_>,
    id: TrunkId,
    input: InboundTargetsInput,
) -> Result<InboundTargets, Fault> {
    let trunk = resource::get::<Trunks>(ctx, id).await?;
    let hosts: Vec<String> = input.hosts.0.iter().map(|h| h.0.clone()).collect();
    let addresses: Vec<String> = input.addresses.0.iter().map(|a| a.0.to_string()).collect();
    let mut problems = Vec::new();
    twice(&input.addresses, "addresses", "this address is there twice", &mut problems);
    twice(&input.hosts, "hosts", "this name is there twice", &mut problems);
    none_wrong(problems)?;
    let transport = input.transport.unwrap_or(VendorTransport::Udp).as_str();
    let format = input.number_format.unwrap_or(NumberFormat::PlusE164).as_str();
    let mut tx = ctx.begin().await?;
    rows::set_deliver(&mut tx, id, (&hosts, &addresses), transport, format).await?;
    let answer = InboundTargets {
        hosts,
        addresses,
        transport: transport.to_owned().into(),
        number_format: format.to_owned().into(),
    };
    let customer = trunk.customer_id.parse().ok();
    saved(ctx, tx, customer, ("trunk.inbound", &id.to_string()), answer).await
}
