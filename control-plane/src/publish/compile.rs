//! The compiler: rows and decks to a snapshot, with what has not changed taken from the last one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use warp_model::{DeckId, TrunkId, Wall, hex};
use warp_policy::deck::Deck;
use warp_policy::directory::{Customer, Override, Partition, Trunk, Vendor, VendorTrunk};
use warp_policy::inbound::{NumberBook, Page};
use warp_policy::numbers::PAGES as NUMBER_PAGES;
use warp_policy::{Cidr, Directory, DirectoryBuilder, LcrIndex, NumberPlan, RateList, Snapshot};

use super::PublishError;
use super::archive::Part;
use crate::store::published::{self, DeckRef, InboundRows, NO_PARTITION, PageRows, Section, VendorRows};
use crate::store::rules::{self, RuleRows};
use crate::store::{Scope, Store, Tx, decks};

/// What a snapshot was made from: enough to make it again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub version: u16,
    /// Content address of the directory's JSON.
    pub directory: String,
    /// Content address of the number plan's text.
    pub number_plan: String,
    /// Moment that the index was built for.
    pub index_at: Wall,
    /// Buy lists: decks with their versions, in order.
    pub buy: Vec<Vec<(DeckId, i32)>>,
    /// The decks of each sell list, with their versions, in order.
    pub sell: Vec<Vec<(DeckId, i32)>>,
    /// Content addresses of the directory's sections, by name; empty in version 1, which kept the directory in one piece.
    #[serde(default)]
    pub sections: BTreeMap<String, String>,
}

/// A snapshot with its manifest.
pub struct Compiled {
    /// What the shards decide by.
    pub snapshot: Arc<Snapshot>,
    /// What names its parts, for the archive and the disk.
    pub manifest: Manifest,
    /// To answer for other times.
    pub sources: Sources,
    /// The sections of its directory, to keep those that are new.
    pub parts: Vec<Part>,
    /// The sections that were read again for it.
    pub touched: Vec<Section>,
}

/// What an index was built from.
#[derive(Clone)]
pub struct Sources {
    /// Moment that the index was built for.
    pub at: Wall,
    /// Buy lists, in the order of columns.
    pub buy: Vec<RateList>,
    /// The sell lists, compiled.
    pub sell: Vec<RateList>,
    /// The number plan that numbers are read by.
    pub plan: Arc<NumberPlan>,
}

impl Sources {
    /// An index for another moment, of the rows that a number can be priced by.
    pub fn index_at(&self, at: Wall, number: warp_policy::Code) -> Result<LcrIndex, PublishError> {
        let narrowed = |all: &[RateList]| -> Vec<RateList> {
            let list = |l: &RateList| RateList {
                decks: l.decks.iter().map(|d| Arc::new(d.covering(number))).collect(),
            };
            all.iter().map(list).collect()
        };
        LcrIndex::build(&narrowed(&self.buy), &narrowed(&self.sell), &self.plan, at)
            .map_err(|e| PublishError::Compile(format!("prefix index: {e}")))
    }
}

/// Keeps what the next compilation can share.
pub struct Compiler {
    plan: Arc<NumberPlan>,
    decks: HashMap<(DeckId, i32), Arc<Deck>>,
    index: Option<Index>,
    rows: KnownRows,
    /// What was compiled last is not published yet.
    pending: BTreeSet<Section>,
}

/// Rows by section, as they were read last.
#[derive(Default)]
struct KnownRows {
    read: bool,
    versions: BTreeMap<Section, i64>,
    pages: BTreeMap<i32, PageRows>,
    vendors: VendorRows,
    partitions: BTreeMap<String, Partition>,
    addresses: HashMap<TrunkId, Vec<Cidr>>,
    decks: Vec<DeckRef>,
    inbound: InboundRows,
    rules: RuleRows,
    numbers: NumberBook,
}

impl KnownRows {
    /// Reads what has another version than is known. Gives the sections that were read.
    async fn refresh(&mut self, tx: &mut Tx, store: &Store) -> Result<BTreeSet<Section>, PublishError> {
        let versions = published::versions(tx).await?;
        let touched: BTreeSet<Section> = match self.read {
            true => {
                let newer = versions.iter().filter(|(s, v)| self.versions.get(s) != Some(v)).map(|(s, _)| *s);
                let gone = self.versions.keys().filter(|s| !versions.contains_key(s)).copied();
                newer.chain(gone).collect()
            }
            false => {
                let others = [
                    Section::Vendors,
                    Section::Partitions,
                    Section::Addresses,
                    Section::Decks,
                    Section::Inbound,
                    Section::Rules,
                ];
                let numbers = (0..NUMBER_PAGES as u8).map(Section::Numbers);
                (0..published::PAGES).map(Section::Customers).chain(others).chain(numbers).collect()
            }
        };
        let mut faults = Vec::new();
        let pages: Vec<i32> = touched
            .iter()
            .filter_map(|s| if let Section::Customers(page) = s { Some(*page) } else { None })
            .collect();
        if !pages.is_empty() {
            let mut read = published::pages(tx, &pages, &mut faults).await?;
            for page in pages {
                match read.remove(&page) {
                    Some(rows) => self.pages.insert(page, rows),
                    None => self.pages.remove(&page),
                };
            }
        }
        self.read_numbers(tx, &touched, &mut faults).await?;
        for section in &touched {
            match section {
                Section::Customers(_) | Section::Numbers(_) => {}
                Section::Rules => self.rules = rules::rules(tx, &mut faults).await?,
                Section::Inbound => self.inbound = published::inbound(tx, &mut faults).await?,
                Section::Vendors => self.vendors = published::vendors(tx, store.seal(), &mut faults).await?,
                Section::Partitions => self.partitions = published::partitions(tx, &mut faults).await?,
                Section::Addresses => self.addresses = published::addresses(tx).await?,
                Section::Decks => self.decks = published::decks_in_force(tx, &mut faults).await?,
            }
        }
        for fault in faults {
            tracing::error!(fault, "a row is left out of the snapshot");
        }
        (self.versions, self.read) = (versions, true);
        Ok(touched)
    }

    /// Reads the pages of numbers that were touched; the others are shared.
    async fn read_numbers(
        &mut self,
        tx: &mut Tx,
        touched: &BTreeSet<Section>,
        faults: &mut Vec<String>,
    ) -> Result<(), PublishError> {
        let page = |s: &Section| if let Section::Numbers(page) = s { Some(*page) } else { None };
        let pages: Vec<u8> = touched.iter().filter_map(page).collect();
        if pages.is_empty() {
            return Ok(());
        }
        let mut read = published::numbers(tx, &pages, faults).await?;
        for page in pages {
            let rows = read.remove(&page).unwrap_or_default();
            match Page::build(page, rows) {
                Ok(content) => self.numbers.put(page, Arc::new(content)),
                Err(e) => faults.push(format!("numbers of page {page}: {e}")),
            }
        }
        Ok(())
    }

    /// All rows together.
    fn directory(&self) -> DirectoryBuilder {
        let vendors = self.vendors.vendors.iter().map(|v| Vendor {
            inbound: self.inbound.vendors.get(&v.id).cloned().unwrap_or_default(),
            ..v.clone()
        });
        let vendor_trunks = self.vendors.vendor_trunks.iter().map(|t| VendorTrunk {
            inbound_networks: self.inbound.networks.get(&t.id).cloned().unwrap_or_default(),
            ..t.clone()
        });
        let mut out = DirectoryBuilder {
            vendors: vendors.collect(),
            vendor_trunks: vendor_trunks.collect(),
            blocks: self.vendors.blocks.clone(),
            emergency_route: self.vendors.emergency_route.clone(),
            partitions: self.partitions.values().cloned().collect(),
            overrides: self.overrides(),
            call_blocks: self.rules.blocks.clone(),
            exchange_rates: self.rules.exchange_rates.clone(),
            ..DirectoryBuilder::default()
        };
        for page in self.pages.values() {
            out.customers.extend(page.customers.iter().map(|c| Customer {
                inbound: self.inbound.customers.get(&c.id).cloned().unwrap_or_default(),
                ..c.clone()
            }));
            out.trunks.extend(page.trunks.iter().map(|t| {
                let partition = self.partitions.get(&t.partition).map(|p| p.name.clone());
                Trunk {
                    acl: self.addresses.get(&t.id).cloned().unwrap_or_default(),
                    partition: partition.unwrap_or_else(|| NO_PARTITION.to_owned()),
                    deliver: self.inbound.trunks.get(&t.id).cloned().unwrap_or_default(),
                    ..t.clone()
                }
            }));
        }
        out
    }

    /// Overrides with the names of their partitions.
    fn overrides(&self) -> Vec<Override> {
        let named = |o: &Override| {
            let partition = self.partitions.get(&o.partition)?.name.clone();
            Some(Override { partition, ..o.clone() })
        };
        self.rules.overrides.iter().filter_map(named).collect()
    }

    /// Decks in force that a trunk or vendor uses.
    fn used_decks(&self) -> Vec<DeckRef> {
        let sell = self.pages.values().flat_map(|p| &p.trunks).flat_map(|t| &t.sell_decks);
        let buy = self.vendors.vendors.iter().flat_map(|v| &v.buy_decks);
        let terms = self.inbound.customers.values().chain(self.inbound.vendors.values());
        let inbound = terms.flat_map(|t| &t.decks);
        let numbers = self.numbers.pages().flat_map(|(_, p)| p.rows()).flat_map(|n| &n.sell_decks);
        let used: HashSet<DeckId> = sell.chain(buy).chain(inbound).chain(numbers).copied().collect();
        self.decks.iter().filter(|d| used.contains(&d.id)).cloned().collect()
    }
}

struct Index {
    lcr: Arc<LcrIndex>,
    at: Wall,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new()
    }
}

impl Compiler {
    /// Nothing shared yet; the built-in number plan.
    pub fn new() -> Self {
        Self {
            plan: Arc::new(NumberPlan::seed()),
            decks: HashMap::new(),
            index: None,
            rows: KnownRows::default(),
            pending: BTreeSet::new(),
        }
    }

    /// When the index must be built again because rows of a deck begin or end.
    pub fn next_change(&self) -> Option<Wall> {
        self.index.as_ref().and_then(|i| i.lcr.next_change())
    }

    /// Decks in memory with their rows.
    pub fn decks(&self) -> Vec<(String, usize)> {
        self.decks.iter().map(|((id, _), deck)| (id.to_string(), deck.len())).collect()
    }

    /// Reads the sections that were touched and makes a snapshot, for calls from `at` on. `None`: nothing was touched since the
    /// last one was published, and no row of a deck begins or ends.
    pub async fn compile(&mut self, store: &Store, at: Wall) -> Result<Option<Compiled>, PublishError> {
        let mut tx = store.begin_consistent(Scope::Operator("publish")).await?;
        // The bytes of a large deck take their time.
        tx.allow_long_statements().await?;
        let touched = self.rows.refresh(&mut tx, store).await?;
        self.pending.extend(touched);
        let due = self.next_change().is_some_and(|change| change <= at);
        if self.pending.is_empty() && !due && self.index.is_some() {
            return Ok(None);
        }
        let decks = self.rows.used_decks();
        self.load_decks(&mut tx, &decks).await?;
        drop(tx);
        let mut directory = self.rows.directory();
        let numbers = Arc::new(self.rows.numbers.clone());
        let (buy, sell) = self.lists(&mut directory, &numbers, &decks);
        let lists = |all: &[Vec<(DeckId, i32)>]| -> Vec<RateList> {
            let list = |ids: &Vec<(DeckId, i32)>| RateList {
                decks: ids.iter().filter_map(|id| self.decks.get(id).cloned()).collect(),
            };
            all.iter().map(list).collect()
        };
        let (buy_lists, sell_lists) = (lists(&buy), lists(&sell));
        let (plan, buy_decks, sell_decks) = (self.plan.clone(), buy_lists.clone(), sell_lists.clone());
        let index = self.index(buy_lists, sell_lists, at).await?;
        let sources = Sources { at: index.1, buy: buy_decks, sell: sell_decks, plan };
        let directory = tokio::task::spawn_blocking(move || build(directory)).await;
        let directory = directory.map_err(|e| PublishError::Compile(e.to_string()))??;
        let (plan, lcr) = (self.plan.clone(), index.0.clone());
        let snapshot =
            tokio::task::spawn_blocking(move || Snapshot::of(Arc::new(directory), lcr, plan, numbers)).await;
        let snapshot = Arc::new(snapshot.map_err(|e| PublishError::Compile(e.to_string()))?);
        let parts = {
            let snapshot = snapshot.clone();
            tokio::task::spawn_blocking(move || super::archive::split(&snapshot)).await
        };
        let parts = parts.map_err(|e| PublishError::Compile(e.to_string()))??;
        let manifest = Manifest {
            version: 2,
            directory: hex::encode(&snapshot.directory.hash()),
            number_plan: hex::encode(&self.plan.hash()),
            index_at: index.1,
            buy,
            sell,
            sections: parts.iter().map(|p| (p.name.clone(), p.sha256.clone())).collect(),
        };
        let touched = self.pending.iter().copied().collect();
        Ok(Some(Compiled { snapshot, manifest, sources, parts, touched }))
    }

    /// What was compiled last is published.
    pub fn published(&mut self) {
        self.pending.clear();
    }

    /// Loads decks that are not in memory, drops those that nobody uses any more.
    async fn load_decks(
        &mut self,
        tx: &mut crate::store::Tx,
        wanted: &[DeckRef],
    ) -> Result<(), PublishError> {
        let keys: BTreeSet<(DeckId, i32)> = wanted.iter().map(|d| (d.id, d.number)).collect();
        self.decks.retain(|key, _| keys.contains(key));
        for (id, number) in keys {
            if self.decks.contains_key(&(id, number)) {
                continue;
            }
            match load_deck(tx, id, number).await? {
                Some(deck) => {
                    self.decks.insert((id, number), Arc::new(deck));
                }
                None => tracing::error!(deck = %id, number, "a deck version cannot be read; it is left out"),
            }
        }
        Ok(())
    }

    /// The lists that trunks and vendors use. Decks of another currency than the first of a list are taken out of it.
    #[allow(clippy::type_complexity)]
    fn lists(
        &self,
        directory: &mut DirectoryBuilder,
        numbers: &NumberBook,
        decks: &[DeckRef],
    ) -> (Vec<Vec<(DeckId, i32)>>, Vec<Vec<(DeckId, i32)>>) {
        let number: HashMap<DeckId, i32> = decks.iter().map(|d| (d.id, d.number)).collect();
        let clean = |ids: &mut Vec<DeckId>| -> Option<Vec<(DeckId, i32)>> {
            let deck = |id: &DeckId| self.decks.get(&(*id, *number.get(id)?));
            ids.retain(|id| deck(id).is_some());
            let currency = ids.first().and_then(deck)?.meta().currency;
            ids.retain(|id| deck(id).is_some_and(|d| d.meta().currency == currency));
            Some(ids.iter().filter_map(|id| Some((*id, *number.get(id)?))).collect())
        };
        let mut sell: BTreeSet<_> =
            directory.trunks.iter_mut().filter_map(|t| clean(&mut t.sell_decks)).collect();
        // What prices inbound calls is looked up singly on both sides, as what customers pay is.
        sell.extend(directory.customers.iter_mut().filter_map(|c| clean(&mut c.inbound.decks)));
        sell.extend(directory.vendors.iter_mut().filter_map(|v| clean(&mut v.inbound.decks)));
        let own: BTreeSet<Vec<DeckId>> =
            numbers.pages().flat_map(|(_, p)| p.rows()).map(|n| n.sell_decks.clone()).collect();
        sell.extend(own.into_iter().filter(|list| !list.is_empty()).filter_map(|mut list| clean(&mut list)));
        let buy: BTreeSet<_> = directory.vendors.iter_mut().filter_map(|v| clean(&mut v.buy_decks)).collect();
        (buy.into_iter().collect(), sell.into_iter().collect())
    }

    /// The index of these lists: the last one when nothing changed.
    async fn index(
        &mut self,
        buy: Vec<RateList>,
        sell: Vec<RateList>,
        at: Wall,
    ) -> Result<(Arc<LcrIndex>, Wall), PublishError> {
        let key = LcrIndex::key_of(&buy, &sell, &self.plan, at);
        if let Some(last) = &self.index
            && last.lcr.key() == key
        {
            return Ok((last.lcr.clone(), last.at));
        }
        let plan = self.plan.clone();
        let built = tokio::task::spawn_blocking(move || LcrIndex::build(&buy, &sell, &plan, at)).await;
        let lcr = built
            .map_err(|e| PublishError::Compile(e.to_string()))?
            .map_err(|e| PublishError::Compile(format!("prefix index: {e}")))?;
        let lcr = Arc::new(lcr);
        self.index = Some(Index { lcr: lcr.clone(), at });
        Ok((lcr, at))
    }
}

/// A version's canonical bytes, read.
pub(super) async fn load_deck(
    tx: &mut crate::store::Tx,
    id: DeckId,
    number: i32,
) -> Result<Option<Deck>, PublishError> {
    let Some(content) = decks::content(tx, id, number).await? else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || Deck::from_bytes(&content)).await;
    let read = read.map_err(|e| PublishError::Compile(e.to_string()))?;
    if let Err(e) = &read {
        tracing::error!(deck = %id, number, error = %e, "a stored deck is damaged");
    }
    Ok(read.ok())
}

/// Builds the directory; rows that it refuses are left out, as often as needed.
fn build(mut rows: DirectoryBuilder) -> Result<Directory, PublishError> {
    for _ in 0..16 {
        let errors = match rows.clone().build() {
            Ok(directory) => return Ok(directory),
            Err(errors) => errors,
        };
        let mut bad = BTreeSet::new();
        for e in errors {
            tracing::error!(row = e.row, fault = e.message, "a row is left out of the snapshot");
            bad.insert(e.row);
        }
        rows.customers.retain(|r| !bad.contains(&r.id.to_string()));
        rows.trunks.retain(|r| !bad.contains(&r.id.to_string()));
        rows.vendors.retain(|r| !bad.contains(&r.id.to_string()));
        rows.vendor_trunks.retain(|r| !bad.contains(&r.id.to_string()));
        rows.partitions.retain(|r| !bad.contains(&format!("partition {}", r.name)));
        rows.blocks.retain(|r| !bad.contains(&format!("block {}", r.id)));
        rows.overrides.retain(|r| !bad.contains(&format!("override {}", r.id)));
        rows.call_blocks.retain(|r| !bad.contains(&format!("call block {}", r.id)));
        rows.exchange_rates.retain(|r| !bad.contains(&format!("exchange rate {} {}", r.from, r.to)));
        if bad.contains("emergency route") {
            let known: BTreeSet<_> = rows.vendor_trunks.iter().map(|t| t.id).collect();
            rows.emergency_route.retain(|id| known.contains(id));
        }
        // Vendors that went must go from the partitions too.
        let vendors: BTreeSet<_> = rows.vendors.iter().map(|v| v.id).collect();
        for p in &mut rows.partitions {
            p.vendors.retain(|v| vendors.contains(&v.vendor));
        }
    }
    Err(PublishError::Compile("the directory cannot be built".into()))
}
