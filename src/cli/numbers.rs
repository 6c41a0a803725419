//! `warp numbers list|show|make|change|assign|release|delete`: the numbers that can be called, and who has them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use warp_control_plane::noun::customer::CUSTOMER;
use warp_control_plane::noun::vendor::VENDOR;

use super::client::{Client, encoded};
use super::names::{self, id_of};
use super::nouns::fields::{forms_of, row, whole};
use super::nouns::{Body, print_list};
use super::output::Output;
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct NumbersArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Numbers, newest first; with a customer's key its own.
    List {
        /// Only numbers of this customer, by id or name (operators only).
        #[arg(long, value_name = "WHOSE")]
        customer: Option<String>,
        /// Only numbers whose calls this vendor brings, by id, slug or name (operators only).
        #[arg(long)]
        vendor: Option<String>,
        /// Only numbers that stand there: inventory, assigned or ageing (operators only).
        #[arg(long)]
        state: Option<String>,
        /// Rows at most; all there are when absent or 0.
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// A number.
    Show {
        #[command(flatten)]
        what: What,
    },
    /// Add a number to the inventory: number=+12025550177 vendor_id=…, with customer_id= it is somebody's at once.
    Make {
        #[command(flatten)]
        body: Body,
    },
    /// Say where calls to a number go: targets='[{"trunk_id": "trk_…"}]', cnam=ACME.
    Change {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        body: Body,
    },
    /// Give a number to a customer.
    Assign {
        #[command(flatten)]
        what: What,
        /// Who gets it, by id or name.
        #[arg(long, value_name = "WHOSE")]
        customer: String,
    },
    /// Take a number back from its customer; it ages before somebody else may have it.
    Release {
        #[command(flatten)]
        what: What,
    },
    /// Take a number that nobody has out of the inventory.
    Delete {
        #[command(flatten)]
        what: What,
    },
}

#[derive(Args, Debug)]
struct What {
    /// num_…, or the number itself.
    number: String,
}

impl What {
    fn id(&self, client: &Client) -> Result<String, Failure> {
        names::id(client, &["num"], &self.number)
    }
}

const COLUMNS: &[&str] = &[
    "id",
    "number",
    "state",
    "customer_id",
    "vendor_id",
    "sell_deck_id",
    "targets",
    "cnam",
    "e911_address",
    "released_at",
    "created_at",
];

pub(super) fn run(args: &NumbersArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let one = |id: &str| {
        let id = encoded(id);
        move |of: &str| format!("{of}/numbers/{id}")
    };
    match &args.verb {
        Verb::List { customer, vendor, state, limit } => {
            let customer = customer.as_ref().map(|named| id_of(&client, &CUSTOMER, named)).transpose()?;
            let vendor = vendor.as_ref().map(|named| id_of(&client, &VENDOR, named)).transpose()?;
            let all = [("customer", customer), ("vendor", vendor), ("state", state.clone())];
            let given = all.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
            let query: Vec<String> =
                given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
            let glue = if query.is_empty() { "" } else { "?" };
            let list = format!("numbers{glue}{}", query.join("&"));
            print_list(&client, (COLUMNS, HEAD), None, &list, *limit, common, line)?;
        }
        Verb::Show { what } => {
            let path = one(&what.id(&client)?);
            print(&client.either(|of| client.get(&path(of)))?, common);
        }
        Verb::Make { body } => {
            let body = body.read(&client, &forms_of("NewNumberInput"), "numbers", None)?;
            print(&client.json("POST", "/admin/numbers", &body)?, common);
        }
        Verb::Change { what, body } => {
            let path = one(&what.id(&client)?);
            let body = body.read(&client, &forms_of("NumberInput"), "numbers", None)?;
            print(&client.either(|of| client.json("PATCH", &path(of), &body))?, common);
        }
        Verb::Assign { what, customer } => {
            let path = one(&what.id(&client)?)("/admin");
            let body = json!({ "customer_id": id_of(&client, &CUSTOMER, customer)? });
            print(&client.json("POST", &format!("{path}/assign"), &body)?, common);
        }
        Verb::Release { what } => {
            let path = one(&what.id(&client)?)("/admin");
            print(&client.json("POST", &format!("{path}/release"), &json!({}))?, common);
        }
        Verb::Delete { what } => {
            let id = what.id(&client)?;
            client.delete(&one(&id)("/admin"))?;
            Output::new(common, &["id", "deleted"]).item(
                || json!({ "id": id, "deleted": true }),
                || vec![id.clone(), true.to_string()],
                || format!("deleted {id}"),
            );
        }
    }
    Ok(0)
}

fn print(number: &Value, common: &Common) {
    Output::new(common, COLUMNS).item(|| number.clone(), || row(COLUMNS, number), || whole(number, COLUMNS));
}

const HEAD: &[&str] = &["id", "number", "state", "customer_id", "goes to", "cnam"];

fn line(number: &Value) -> Vec<String> {
    let text = |name: &str| number[name].as_str().unwrap_or_default().to_owned();
    let targets = number["targets"].as_array().map_or(0, Vec::len);
    let trunks = if targets == 1 { "1 trunk".to_owned() } else { format!("{targets} trunks") };
    vec![text("id"), text("number"), text("state"), text("customer_id"), trunks, text("cnam")]
}
