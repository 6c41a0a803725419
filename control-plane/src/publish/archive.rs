//! Published snapshots are kept: the manifest by snapshot id, its sections by content address. With them the decision of a
//! CDR can be repeated ([`load`], then `warp_policy::replay`).

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use warp_model::{DeckId, Secret, TrunkId, hex};
use warp_policy::directory::Trunk;
use warp_policy::inbound::{NumberBook, Page};
use warp_policy::{Cidr, DirectoryBuilder, LcrIndex, NumberPlan, RateList, Snapshot, SnapshotId};

use super::PublishError;
use super::compile::{Compiled, Manifest, load_deck};
use crate::store::published::{Section, page_of};
use crate::store::seal::section_place;
use crate::store::{Scope, Store, Tx, snapshots as rows};

/// A section of a directory in its stored form.
pub struct Part {
    /// The name of the section: `customers/12`, `vendors` …
    pub name: String,
    /// Content address of its JSON.
    pub sha256: String,
    /// It holds vendors' passwords and customers' digests, because nodes need them: sealed before it is stored.
    json: Secret<Vec<u8>>,
}

/// What a section holds: some rows of a directory; addresses stand apart from the trunks that they lead to.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Content {
    rows: DirectoryBuilder,
    #[serde(default)]
    addresses: BTreeMap<TrunkId, Vec<Cidr>>,
}

/// The sections of a directory and the pages of numbers, without those that are empty.
pub fn split(snapshot: &Snapshot) -> Result<Vec<Part>, PublishError> {
    let rows = snapshot.directory.rows();
    let mut parts: BTreeMap<String, Content> = BTreeMap::new();
    for row in &rows.customers {
        let name = Section::Customers(page_of(&row.id.to_string())).to_string();
        parts.entry(name).or_default().rows.customers.push(row.clone());
    }
    for row in &rows.trunks {
        let name = Section::Customers(page_of(&row.customer.to_string())).to_string();
        let bare = Trunk { acl: Vec::new(), ..row.clone() };
        parts.entry(name).or_default().rows.trunks.push(bare);
        if !row.acl.is_empty() {
            let addresses = &mut parts.entry(Section::Addresses.to_string()).or_default().addresses;
            addresses.insert(row.id, row.acl.clone());
        }
    }
    let vendors = DirectoryBuilder {
        vendors: rows.vendors.clone(),
        vendor_trunks: rows.vendor_trunks.clone(),
        blocks: rows.blocks.clone(),
        emergency_route: rows.emergency_route.clone(),
        ..DirectoryBuilder::default()
    };
    parts.insert(Section::Vendors.to_string(), Content { rows: vendors, ..Content::default() });
    let partitions = DirectoryBuilder { partitions: rows.partitions.clone(), ..DirectoryBuilder::default() };
    parts.insert(Section::Partitions.to_string(), Content { rows: partitions, ..Content::default() });
    let rules = DirectoryBuilder {
        overrides: rows.overrides.clone(),
        call_blocks: rows.call_blocks.clone(),
        exchange_rates: rows.exchange_rates.clone(),
        ..DirectoryBuilder::default()
    };
    if rules != DirectoryBuilder::default() {
        parts.insert(Section::Rules.to_string(), Content { rows: rules, ..Content::default() });
    }
    let part = |(name, content): (String, Content)| {
        let json = serde_json::to_vec(&content).map_err(|e| PublishError::Compile(e.to_string()))?;
        Ok(Part { name, sha256: hex::encode(&Sha256::digest(&json)), json: Secret::new(json) })
    };
    let pages = snapshot.numbers.pages().map(|(page, content)| {
        let json = Secret::new(content.to_bytes());
        Ok(Part { name: Section::Numbers(page).to_string(), sha256: hex::encode(&content.key()), json })
    });
    parts.into_iter().map(part).chain(pages).collect()
}

/// The page of numbers that a section of this name is.
fn page_of_numbers(name: &str) -> Option<u8> {
    name.strip_prefix("numbers/")?.parse().ok()
}

/// A directory from its sections.
fn join(parts: Vec<Secret<Vec<u8>>>) -> Result<DirectoryBuilder, String> {
    let mut out = DirectoryBuilder::default();
    let mut addresses: BTreeMap<TrunkId, Vec<Cidr>> = BTreeMap::new();
    for json in parts {
        let Content { rows, addresses: some } =
            serde_json::from_slice(json.reveal()).map_err(|e| e.to_string())?;
        out.customers.extend(rows.customers);
        out.trunks.extend(rows.trunks);
        out.vendors.extend(rows.vendors);
        out.vendor_trunks.extend(rows.vendor_trunks);
        out.blocks.extend(rows.blocks);
        out.emergency_route.extend(rows.emergency_route);
        out.partitions.extend(rows.partitions);
        out.overrides.extend(rows.overrides);
        out.call_blocks.extend(rows.call_blocks);
        out.exchange_rates.extend(rows.exchange_rates);
        addresses.extend(some);
    }
    for trunk in &mut out.trunks {
        trunk.acl = addresses.remove(&trunk.id).unwrap_or_default();
    }
    Ok(out)
}

/// Keeps a snapshot: its manifest, and those of its sections that are not kept yet. Doing it again changes nothing.
pub async fn keep(store: &Store, compiled: &Compiled) -> Result<(), PublishError> {
    let snapshot = &compiled.snapshot;
    let plan = compiled.manifest.number_plan.as_str();
    let mut wanted: Vec<&str> = compiled.parts.iter().map(|p| p.sha256.as_str()).collect();
    wanted.push(plan);
    let mut tx = store.begin(Scope::Operator("publish")).await?;
    tx.allow_long_statements().await?;
    let known = rows::known(&mut tx, &wanted).await?;
    for part in compiled.parts.iter().filter(|p| !known.contains(&p.sha256)) {
        let sealed = store.seal().seal(&section_place(&part.sha256), part.json.reveal());
        let sealed = sealed.map_err(|e| PublishError::Compile(e.to_string()))?;
        let kind = part.name.split('/').next().unwrap_or("");
        rows::keep_section(&mut tx, &part.sha256, kind, &sealed).await?;
    }
    if !known.iter().any(|k| k == plan) {
        let text = snapshot.number_plan.text().as_bytes().to_vec();
        rows::keep_section(&mut tx, plan, "number_plan", &text).await?;
    }
    let manifest =
        serde_json::to_value(&compiled.manifest).map_err(|e| PublishError::Compile(e.to_string()))?;
    rows::keep(&mut tx, &snapshot.id.to_string(), manifest).await?;
    tx.commit().await?;
    Ok(())
}

/// Makes a kept snapshot again. `None`: it was never published here, or a part of it is gone.
pub async fn load(store: &Store, id: SnapshotId) -> Result<Option<Snapshot>, PublishError> {
    let mut tx = store.begin_consistent(Scope::Operator("replay")).await?;
    tx.allow_long_statements().await?;
    let Some(manifest) = rows::manifest(&mut tx, &id.to_string()).await? else { return Ok(None) };
    let manifest: Manifest = serde_json::from_value(manifest)
        .map_err(|e| PublishError::Compile(format!("manifest of {id}: {e}")))?;
    // Version 1 kept the directory in one piece.
    let whole = manifest.sections.is_empty();
    let sections: Vec<(Option<u8>, &str)> = match whole {
        true => vec![(None, manifest.directory.as_str())],
        false => manifest.sections.iter().map(|(name, key)| (page_of_numbers(name), key.as_str())).collect(),
    };
    let keys: Vec<&str> = sections.iter().map(|(_, key)| *key).collect();
    let kept = rows::sections(&mut tx, &keys).await?;
    let mut opened = Vec::with_capacity(sections.len());
    let mut pages = Vec::new();
    for (page, sha256) in sections {
        let Some(sealed) = kept.get(sha256) else { return Ok(None) };
        let json = store.seal().unseal(&section_place(sha256), sealed);
        let json = json.map_err(|e| PublishError::Compile(format!("directory of {id}: {e}")))?;
        match page {
            Some(page) => pages.push((page, json)),
            None => opened.push(json),
        }
    }
    let Some(plan) = rows::section(&mut tx, &manifest.number_plan).await? else { return Ok(None) };
    let (Some(buy), Some(sell)) =
        (lists(&mut tx, &manifest.buy).await?, lists(&mut tx, &manifest.sell).await?)
    else {
        return Ok(None);
    };
    drop(tx);
    let at = manifest.index_at;
    let made = tokio::task::spawn_blocking(move || -> Result<Snapshot, String> {
        let rows: DirectoryBuilder = match (whole, opened.first()) {
            (true, Some(json)) => serde_json::from_slice(json.reveal()).map_err(|e| e.to_string())?,
            _ => join(opened)?,
        };
        let directory = rows.build().map_err(|e| format!("{e:?}"))?;
        let plan = String::from_utf8(plan).map_err(|e| e.to_string())?;
        let plan = NumberPlan::parse(&plan).map_err(|e| e.message)?;
        let lcr = LcrIndex::build(&buy, &sell, &plan, at).map_err(|e| e.to_string())?;
        let mut numbers = NumberBook::default();
        for (page, json) in pages {
            let content = Page::from_bytes(page, json.reveal()).map_err(|e| e.to_string())?;
            numbers.put(page, Arc::new(content));
        }
        Ok(Snapshot::of(Arc::new(directory), Arc::new(lcr), Arc::new(plan), Arc::new(numbers)))
    });
    let snapshot =
        made.await.map_err(|e| PublishError::Compile(e.to_string()))?.map_err(PublishError::Compile)?;
    if snapshot.id == id {
        Ok(Some(snapshot))
    } else {
        Err(PublishError::Compile(format!("snapshot {id} came out as {}", snapshot.id)))
    }
}

async fn lists(tx: &mut Tx, lists: &[Vec<(DeckId, i32)>]) -> Result<Option<Vec<RateList>>, PublishError> {
    let mut out = Vec::with_capacity(lists.len());
    for ids in lists {
        let mut list = RateList::default();
        for (id, number) in ids {
            match load_deck(tx, *id, *number).await? {
                Some(deck) => list.decks.push(Arc::new(deck)),
                None => return Ok(None),
            }
        }
        out.push(list);
    }
    Ok(Some(out))
}
