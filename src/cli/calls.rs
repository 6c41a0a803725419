//! `warp calls list|show|tail`.

mod columns;
mod filter;
mod show;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::columns::{COLUMNS, HEAD, fields, line};
use self::filter::Filter;
use super::client::{Client, MOST, encoded};
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct CallsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Rows; more than one page of the API is fetched as needed. 0: all there are.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One call: legs, decision, price with the sum written out.
    Show {
        /// call_…, or the SIP Call-ID.
        id: String,
    },
    /// Calls as they end; Ctrl-C stops.
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// Ends after so many.
        #[arg(long)]
        count: Option<u64>,
    },
}

pub(super) fn run(args: &CallsArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match &args.verb {
        Verb::List { filter, limit } => {
            let query = filter.query(&client)?;
            let vendors = Vendors::of(&client);
            let out = Output::new(common, COLUMNS);
            out.heading(HEAD);
            let wanted = if *limit == 0 { usize::MAX } else { *limit };
            client.either(|of| {
                let mut left = wanted;
                client.walk(&format!("{of}/calls?expand=rating{query}"), wanted.min(MOST), |call| {
                    vendors.print(&out, call);
                    left -= 1;
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            })?;
            Ok(0)
        }
        Verb::Show { id } => {
            let call = one(&client, id)?;
            let vendors = Vendors::of(&client);
            Output::new(common, COLUMNS).item(
                || call.clone(),
                || fields(&call, &vendors),
                || show::text_of(&call, &vendors),
            );
            Ok(0)
        }
        Verb::Tail { filter, count } => tail(&client, &filter.query(&client)?, *count, common),
    }
}

/// A call by its id, or the newest one with this SIP Call-ID.
fn one(client: &Client, id: &str) -> Result<Value, Failure> {
    client.either(|of| {
        if id.starts_with("call_") {
            return client.get(&format!("{of}/calls/{}", encoded(id)));
        }
        let found = client.page(&format!("{of}/calls?limit=1&call_id={}", encoded(id)))?.items;
        let Some(id) = found.first().and_then(|call| call["id"].as_str()) else {
            return Err(Failure::new(format!("there is no call with the Call-ID {id:?}")).with_code(3));
        };
        client.get(&format!("{of}/calls/{}", encoded(id)))
    })
}

fn tail(client: &Client, query: &str, count: Option<u64>, common: &Common) -> Result<u8, Failure> {
    let vendors = Vendors::of(client);
    let out = Output::new(common, COLUMNS);
    out.heading(HEAD);
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut first = true;
    let mut shown = 0u64;
    loop {
        let mut fresh: Vec<Value> = client
            .either(|of| client.page(&format!("{of}/calls?expand=rating&limit=200{query}")))?
            .items
            .into_iter()
            .filter(|call| !seen.contains_key(call["id"].as_str().unwrap_or_default()))
            .collect();
        // Records come in the order of their beginning; people want the order of their end.
        fresh.sort_by(|a, b| text(a, "end_at").cmp(text(b, "end_at")));
        for call in fresh {
            seen.insert(text(&call, "id").to_owned(), ());
            if first {
                continue;
            }
            vendors.print(&out, call);
            shown += 1;
            if count.is_some_and(|count| shown >= count) {
                return Ok(0);
            }
        }
        while seen.len() > 5_000 {
            seen.pop_first();
        }
        first = false;
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

/// Slugs of the vendors by id; customers are not told them.
struct Vendors(BTreeMap<String, String>);

impl Vendors {
    fn of(client: &Client) -> Self {
        let mut slugs = BTreeMap::new();
        // Without the right to see them, ids stand in their place.
        let _ = client.walk("/admin/vendors", MOST, |vendor| {
            slugs.insert(text(&vendor, "id").to_owned(), text(&vendor, "slug").to_owned());
            ControlFlow::Continue(())
        });
        Self(slugs)
    }

    /// The slug where it is known, the id otherwise, nothing where there is none.
    fn name(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    fn print(&self, out: &Output<'_>, call: Value) {
        out.item(|| call.clone(), || fields(&call, self), || line(&call, self));
    }
}
