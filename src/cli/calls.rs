//! `warp calls list|show|tail|live|hang-up`.

mod columns;
mod filter;
mod live;
mod show;

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use self::columns::{By, COLUMNS, fields, heading, line};
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
    /// Calls in the air, with what they cost so far; on a terminal again and again, Ctrl-C stops.
    Live(live::LiveArgs),
    /// Ends a call in the air by BYE both ways, on whichever node it is.
    #[command(visible_alias = "kill")]
    HangUp {
        /// The call's id: call_….
        id: String,
        /// Why; it stands in the audit log.
        #[arg(long)]
        reason: String,
    },
    /// Calls as they end; Ctrl-C stops. With --since those that began since then and have ended come first.
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// Ends after so many; 0: goes on.
        #[arg(long)]
        count: Option<u64>,
    },
}

pub(super) fn run(args: &CallsArgs, common: &Common) -> Result<u8, Failure> {
    ask(args, common).map_err(|why| why.renamed(filter::FLAGS))
}

fn ask(args: &CallsArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match &args.verb {
        Verb::List { filter, limit } => {
            let query = filter.query(&client)?;
            let vendors = Vendors::of(&client);
            let out = Output::new(common, COLUMNS);
            out.heading(&heading(By::Begin));
            let wanted = if *limit == 0 { usize::MAX } else { *limit };
            client.either(|of| {
                let mut left = wanted;
                client.walk(&format!("{of}/calls?expand=rating{query}"), wanted.min(MOST), |call| {
                    vendors.print(&out, call, By::Begin);
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
        Verb::Live(args) => live::live(args, &client, common),
        Verb::HangUp { id, reason } => live::hang_up(id, reason, &client, common),
        Verb::Tail { filter, count } => {
            if filter.has_end() {
                return Err(Failure::new("a tail goes on, so --until has no meaning for it")
                    .with_code(2)
                    .hint("warp calls list --until …"));
            }
            let query = filter.query(&client)?;
            let count = count.filter(|count| *count > 0);
            tail(&Vendors::of(&client), &client, &query, filter.has_begin(), count, common)
        }
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

fn tail(
    vendors: &Vendors,
    client: &Client,
    query: &str,
    from_since: bool,
    count: Option<u64>,
    common: &Common,
) -> Result<u8, Failure> {
    let out = Output::new(common, COLUMNS);
    out.heading(&heading(By::End));
    let mut tail = match from_since {
        true => Tail::from_beginning(client, query)?,
        false => Tail::from_now(client, query)?,
    };
    let mut shown = 0u64;
    let mut away = false;
    loop {
        let (calls, more) = match tail.further(client) {
            Ok(read) => read,
            // It restarts: the cursor says where to go on, so nothing is lost and nothing comes twice.
            Err(why) if why.code == UNAVAILABLE => {
                if !away && !common.quiet {
                    let _ = writeln!(std::io::stderr(), "warp: {why}; waiting for it");
                }
                away = true;
                std::thread::sleep(AWAY);
                continue;
            }
            Err(why) => return Err(why),
        };
        away = false;
        for call in calls {
            vendors.print(&out, call, By::End);
            shown += 1;
            if count.is_some_and(|count| shown >= count) {
                return Ok(0);
            }
        }
        if !more {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

/// Exit code of an API that does not answer now.
const UNAVAILABLE: u8 = 6;
/// Pause before an API that was away is asked again.
const AWAY: Duration = Duration::from_secs(1);

fn list_of(of: &str, query: &str) -> String {
    format!("{of}/calls?expand=rating&sort=posted_at&limit={MOST}{query}")
}

/// Where a reader of calls stands who reads them as they are posted: a call of hours comes when it ends, like any other.
struct Tail {
    /// The list, of the side that the key is of, with the filters.
    list: String,
    after: Option<String>,
}

impl Tail {
    /// Before everything that the filters let pass.
    fn from_beginning(client: &Client, query: &str) -> Result<Self, Failure> {
        client.either(|of| {
            client.page(&format!("{of}/calls?limit=1{query}"))?;
            Ok(Self { list: list_of(of, query), after: None })
        })
    }

    /// Behind what is posted now.
    fn from_now(client: &Client, query: &str) -> Result<Self, Failure> {
        client.either(|of| {
            let newest = client.page(&format!("{of}/calls?sort=-posted_at&limit=1{query}"))?;
            Ok(Self { list: list_of(of, query), after: newest.last })
        })
    }

    /// What was posted since, a page at most, and whether there is more already.
    fn further(&mut self, client: &Client) -> Result<(Vec<Value>, bool), Failure> {
        let after = self.after.as_deref().map_or_else(String::new, |at| format!("&cursor={}", encoded(at)));
        let page = client.page(&format!("{}{after}", self.list))?;
        if page.last.is_some() {
            self.after = page.last;
        }
        Ok((page.items, page.next.is_some()))
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

    fn print(&self, out: &Output<'_>, call: Value, by: By) {
        out.item(|| call.clone(), || fields(&call, self), || line(&call, self, by));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::api;
    use super::*;

    /// A call that began an hour ago is far down the list of begins when it ends; it is the next one by posting.
    #[test]
    fn a_tail_goes_on_from_the_last_posted_record() {
        let (client, asked) = api(vec![
            r#"{"data":[{"id":"call_9"}],"meta":{"next_cursor":"x","last_cursor":"5.call_9"}}"#,
            r#"{"data":[],"meta":{"next_cursor":null,"last_cursor":"5.call_9"}}"#,
            r#"{"data":[{"id":"call_1"}],"meta":{"next_cursor":"6.call_1","last_cursor":"6.call_1"}}"#,
            r#"{"data":[],"meta":{"next_cursor":null,"last_cursor":"6.call_1"}}"#,
        ]);
        let mut tail = Tail::from_now(&client, "&outcome=answered").unwrap();
        assert_eq!(tail.further(&client).unwrap(), (Vec::new(), false));
        let (calls, more) = tail.further(&client).unwrap();
        assert_eq!((calls[0]["id"].as_str(), more), (Some("call_1"), true));
        assert!(tail.further(&client).unwrap().0.is_empty());
        let list = "/api/v1/admin/calls?expand=rating&sort=posted_at&limit=200&outcome=answered&cursor=";
        let wanted = [
            "/api/v1/admin/calls?sort=-posted_at&limit=1&outcome=answered".to_owned(),
            format!("{list}5.call_9"),
            format!("{list}5.call_9"),
            format!("{list}6.call_1"),
        ];
        assert_eq!(asked.join().unwrap(), wanted);
    }

    /// A tail that begins earlier reads the list of posted records from its beginning, with the filter on the begin.
    #[test]
    fn a_tail_since_a_time_begins_with_what_has_ended_since() {
        let (client, asked) = api(vec![
            r#"{"data":[],"meta":{"next_cursor":null}}"#,
            r#"{"data":[{"id":"call_1"}],"meta":{"next_cursor":null,"last_cursor":"6.call_1"}}"#,
        ]);
        let mut tail = Tail::from_beginning(&client, "&setup_at%5Bgte%5D=T").unwrap();
        assert_eq!(tail.further(&client).unwrap().0.len(), 1);
        let wanted = "/api/v1/admin/calls?expand=rating&sort=posted_at&limit=200&setup_at%5Bgte%5D=T";
        assert_eq!(asked.join().unwrap()[1], wanted);
    }

    /// Who looks on while the server restarts goes on from the last record that was shown.
    #[test]
    fn a_tail_outlives_a_restart_of_the_server() {
        let (client, asked) = api(vec![
            r#"{"data":[],"meta":{"next_cursor":null,"last_cursor":"5.call_9"}}"#,
            "502",
            r#"{"data":[{"id":"call_1"}],"meta":{"next_cursor":null,"last_cursor":"6.call_1"}}"#,
        ]);
        // Of the vendors' names this API knows nothing.
        let common = Common { quiet: true, ..Common::default() };
        let shown = tail(&Vendors(BTreeMap::new()), &client, "", false, Some(1), &common);
        assert_eq!(shown, Ok(0));
        let asked = asked.join().unwrap();
        assert_eq!(asked[1], asked[2]);
    }

    /// Where nothing was posted yet, everything that comes is news.
    #[test]
    fn a_tail_of_an_empty_ledger_begins_at_its_beginning() {
        let (client, asked) = api(vec![
            r#"{"data":[],"meta":{"next_cursor":null}}"#,
            r#"{"data":[{"id":"call_1"}],"meta":{"next_cursor":null,"last_cursor":"6.call_1"}}"#,
        ]);
        let mut tail = Tail::from_now(&client, "").unwrap();
        assert_eq!(tail.further(&client).unwrap().0.len(), 1);
        assert_eq!(tail.after.as_deref(), Some("6.call_1"));
        assert!(asked.join().unwrap()[1].ends_with("limit=200"));
    }

    /// A list of more rows than a page of the API holds goes on with the cursor, and asks for no page that is not wanted.
    #[test]
    fn a_list_is_read_past_the_first_page_as_far_as_it_is_wanted() {
        let page = |first: usize, rows: usize, next: &str| -> &'static str {
            let rows: Vec<String> =
                (first..first + rows).map(|n| format!(r#"{{"id":"call_{n}"}}"#)).collect();
            let text = format!(r#"{{"data":[{}],"meta":{{"next_cursor":{next}}}}}"#, rows.join(","));
            Box::leak(text.into_boxed_str())
        };
        let none = page(0, 0, "null");
        let list = |limit: usize, answers: Vec<&'static str>| {
            let (client, asked) = api(answers);
            let common = Common {
                api_url: Some(client.base().to_owned()),
                api_key: Some("k".to_owned()),
                quiet: true,
                ..Common::default()
            };
            let args = CallsArgs { verb: Verb::List { filter: Filter::default(), limit } };
            assert_eq!(run(&args, &common), Ok(0));
            // The first question is for the vendors' names.
            asked.join().unwrap().split_off(1)
        };
        let all = "/api/v1/admin/calls?expand=rating&limit=200";
        let asked = list(201, vec![none, page(1, 200, r#""p2""#), page(201, 1, "null")]);
        assert_eq!(asked, [all.to_owned(), format!("{all}&cursor=p2")]);
        let asked =
            list(0, vec![none, page(1, 200, r#""p2""#), page(201, 200, r#""p3""#), page(401, 7, "null")]);
        assert_eq!(asked, [all.to_owned(), format!("{all}&cursor=p2"), format!("{all}&cursor=p3")]);
        assert_eq!(list(200, vec![none, page(1, 200, r#""p2""#)]), [all]);
        assert_eq!(list(3, vec![none, page(1, 3, r#""p2""#)]), ["/api/v1/admin/calls?expand=rating&limit=3"]);
    }
}
